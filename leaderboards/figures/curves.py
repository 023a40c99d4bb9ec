"""Lines over budgets with their intervals: what several figures draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...harness.cards import Metric
from ...harness.errors import UserError
from .. import vega, wording
from ..charts import vertical
from ..frame import HEIGHT, WIDTH
from .panels import series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.results import Estimate
    from ..charts import Palette
    from ..vega import Spec

PERCENT = Metric(name="share")
_DODGE = 0.006
"""How far lines are shifted sideways, as a share of the axis: intervals at one budget would hide each other."""


class Spot(NamedTuple):
    """A point of a line, scaled as it is shown.

    Attributes:
        text: For the tooltip.
    """

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line with its points, by rising ``x``; with ``band`` its spread is an area instead of whiskers.

    Attributes:
        name: Decides its colour.
        mark: Decides the shape of its points; if no line has one, the name does.
    """

    name: str
    spots: Sequence[Spot]
    band: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Plane:
    """What curves are drawn on.

    Attributes:
        x: Title of the horizontal axis.
        form: Its number format, in Vega's words.
        ticks: Where it has its ticks; none leaves it to the library.
        span: From where to where it goes; ``None`` as the points say.
        apart: Move the lines apart sideways.
        ceiling: Points of a frontier, by rising cost.
        height: From where to where the vertical axis goes; ``None`` as the intervals say.
        line: What a line is.
    """

    x: str
    y: str
    form: str = "~%"
    ticks: Sequence[float] = ()
    span: tuple[float, float] | None = None
    log: bool = False
    upwards: bool = True
    apart: bool = False
    ceiling: Sequence[tuple[float, float]] = ()
    height: tuple[float, float] | None = None
    line: str = "model"


def spot(score: Estimate | None, x: float, metric: Metric) -> Spot:
    """A score with its interval at ``x``.

    Raises:
        UserError: There is none.
    """
    if score is None:
        raise UserError(f"there is no {metric.name}", todo="leave the model out with --model")
    factor = wording.scale(metric)
    low, high = (score.value if end is None else end for end in (score.low, score.high))
    text = f"{wording.estimate(score, metric)} {metric.unit}".rstrip()
    return Spot(x, factor * score.value, factor * low, factor * high, text)


def lines(curves: Sequence[Curve], plane: Plane, palette: Palette) -> Spec:
    """The chart of some curves."""
    span = plane.span or _span(curves)
    values = _values(curves, span, plane)
    names = list(dict.fromkeys(curve.name for curve in curves))
    colour = series("colour", names)
    marks = list(dict.fromkeys(curve.mark for curve in curves if curve.mark))
    shape = series("shape", names)
    if marks:
        shape = series("shape", marks, "mark", symbolFillColor=palette.muted, symbolStrokeColor=palette.muted)
    place = {"x": _across(plane, span), "y": _upwards(plane, values)}
    between = {"x": place["x"], "y": vega.number("low"), "y2": {"field": "high"}, "color": colour}
    ordered = {"detail": vega.name("line"), "order": vega.number("x")}
    told = {"name": plane.line, "place": "at", "text": "is"}
    tooltip = [vega.name(field, title=title) for field, title in told.items()]
    parts = [
        vega.mark("line", place, _ceiling(plane, span), color=palette.muted, strokeWidth=1, strokeDash=[4, 3],
                  interpolate="step-after"),
        vega.mark("area", between, opacity=0.18) | {"transform": [{"filter": "datum.band === 1"}]},
        vega.mark("rule", between, strokeWidth=1.2, opacity=0.55) | {"transform": [{"filter": "datum.band === 0"}]},
        vega.mark("line", place | ordered | {"color": colour}, strokeWidth=1.8),
        vega.mark("point", place | {"color": colour, "shape": shape, "tooltip": tooltip}, size=60, filled=True,
                  opacity=1),
    ]  # fmt: skip
    return vega.layers(parts, WIDTH, HEIGHT, values)


def _across(plane: Plane, span: tuple[float, float]) -> Spec:
    ticks = {"values": list(plane.ticks)} if plane.ticks else {"tickCount": 6}
    return vega.number(
        "x",
        scale={"domain": list(span), "nice": False, "type": "log" if plane.log else "linear"},
        axis={"title": plane.x, "format": plane.form, "grid": False, "labelOverlap": True, **ticks},
    )


def _upwards(plane: Plane, values: Sequence[Spec]) -> Spec:
    scale = {"domain": list(plane.height or _height(values)), "nice": False, "reverse": not plane.upwards}
    return vega.number("y", scale=scale, axis=vertical(plane.y))


def _ceiling(plane: Plane, span: tuple[float, float]) -> list[Spec]:
    steps = [{"x": x, "y": y} for x, y in plane.ceiling]
    return [*steps, {"x": span[1], "y": steps[-1]["y"]}] if steps else []


def _span(curves: Sequence[Curve]) -> tuple[float, float]:
    places = [spot.x for curve in curves for spot in curve.spots]
    air = 0.06 * (max(places) - min(places)) or 0.05
    return min(places) - air, max(places) + air


def _height(values: Sequence[Spec]) -> tuple[float, float]:
    low, high = min(value["low"] for value in values), max(value["high"] for value in values)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - air, high + air


def _values(curves: Sequence[Curve], span: tuple[float, float], plane: Plane) -> list[Spec]:
    names = list(dict.fromkeys(curve.name for curve in curves))

    def moved(x: float, name: str) -> float:
        share = _DODGE * (names.index(name) - (len(names) - 1) / 2) * plane.apart
        return x * (span[1] / span[0]) ** share if plane.log else x + (span[1] - span[0]) * share

    return [
        {
            "name": curve.name,
            "mark": curve.mark,
            "line": place,
            "x": moved(spot.x, curve.name),
            "y": spot.y,
            "low": spot.low,
            "high": spot.high,
            "band": int(curve.band),
            "place": f"{spot.x:.4g}",
            "text": spot.text,
        }
        for place, curve in enumerate(curves)
        for spot in curve.spots
    ]
