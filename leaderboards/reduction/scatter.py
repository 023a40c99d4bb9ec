"""``adaptbench figure 'retained(against=tokens)'``: what models keep against what they read or cost, by family."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .. import vega, wording
from ..charts import vertical
from ..figures import Panel
from ..labels import Spot, place
from .ranks import typical
from .settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.results import Estimate
    from ..charts import Palette
    from .lines import Family, Found, Line, Measure

AXES = {
    "tokens": "visual tokens, on average over the language model's blocks",
    "flops": "FLOPs of an answer, of the whole model's, %",
}
"""What is drawn against -> the title of that axis."""
_WIDTH, _HEIGHT = 720, 430
_MARGIN, _ROOM = 0.2, 5
"""Free room at the sides of the points, as a share of the axis, and above and below them, in per cent."""
_APART = 12
"""Least distance of two points from side to side, in pixels."""
_KINDS = {False: "method", True: "baseline"}


class _Point(NamedTuple):
    """A model in the plane.

    Attributes:
        name: What stands beside it.
        x: Tokens, or FLOPs in per cent: the median of all that have about as many.
    """

    line: Line
    name: str
    x: float
    kept: Estimate


def panels(found: Found, measure: Measure, unit: str, against: str, wanted: set[str]) -> list[Panel]:
    """A panel for each family with models whose tokens or FLOPs are known; all have the same axes."""
    names = {
        line.label: setting.name
        for setting, models in settings(found).items()
        for lines in models.values()
        for line in lines
    }
    every = {family.whole: _points(family, measure, against, names, wanted) for family in found.families}
    points = [point for own in every.values() for point in own]
    if not points:
        return []
    plane = _Plane.around(points, unit, AXES[against])
    return [_panel(whole, own, plane) for whole, own in every.items() if own]


def _points(family: Family, measure: Measure, against: str, names: Mapping[str, str], wanted: set[str]) -> list[_Point]:
    """From the fewest tokens or FLOPs to the most, best first."""
    found = []
    for line in family.lines:
        kept, tokens, flops = line.mean(family.averaged, measure), line.tokens(), line.flops()
        x = (tokens.average if tokens else None) if against == "tokens" else flops and 100 * flops
        if kept and x and (not wanted or line.label in wanted):
            found.append(_Point(line, names[line.label], x, kept))
    places = typical({point.line.label: point.x for point in found})
    placed = [point._replace(x=places[point.line.label]) for point in found]
    return sorted(placed, key=lambda point: (point.x, -point.kept.value))


class _Plane(NamedTuple):
    """Both axes; the horizontal one is logarithmic."""

    left: float
    right: float
    bottom: float
    top: float
    across: str
    up: str

    @classmethod
    def around(cls, points: Sequence[_Point], up: str, across: str) -> _Plane:
        xs = [math.log(point.x) for point in points]
        margin = _MARGIN * (max(xs) - min(xs)) or 0.5
        values = [100 * point.kept.value for point in points]
        low, high = min(values) - _ROOM, max(*values, 100.0) + _ROOM
        return cls(math.exp(min(xs) - margin), math.exp(max(xs) + margin), low, high, across, up)

    def spots(self, points: Sequence[_Point]) -> list[Spot]:
        """Where points are, in pixels from the left and from above; `_APART` or more from side to side."""
        span = math.log(self.right / self.left)
        across = spread([_WIDTH * math.log(point.x / self.left) / span for point in points], _APART)
        return [Spot(x, self.y(100 * point.kept.value), point.name) for x, point in zip(across, points, strict=True)]

    def y(self, value: float) -> float:
        """Pixels from above, within the panel."""
        return _HEIGHT * min(1.0, max(0.0, (self.top - value) / (self.top - self.bottom)))


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move rising places so little that no two are closer than a gap: clusters stay about their middle."""
    clusters: list[list[float]] = []
    for one in places:
        clusters.append([one])
        while len(clusters) > 1 and _start(clusters[-1], gap) < _start(clusters[-2], gap) + gap * len(clusters[-2]):
            last = clusters.pop()
            clusters[-1] += last
    return [_start(own, gap) + gap * i for own in clusters for i in range(len(own))]


def _start(cluster: Sequence[float], gap: float) -> float:
    """Where the first one of a cluster stands, for the others to follow at the gap."""
    return sum(cluster) / len(cluster) - gap * (len(cluster) - 1) / 2


def _panel(whole: str, points: Sequence[_Point], plane: _Plane) -> Panel:
    caption = (
        f"Means over tasks in {plane.up}, with 95 % intervals; what differs by at most 5 % stands side by side, "
        "the best first, below the median. Hollow: baselines. Dashed: the whole model."
    )
    return Panel(whole, lambda palette: _chart(points, plane, palette), caption, _WIDTH, grows=False)


def _chart(points: Sequence[_Point], plane: _Plane, palette: Palette) -> vega.Spec:
    spots = plane.spots(points)
    best = sorted(range(len(points)), key=lambda i: (points[i].line.baseline, -points[i].kept.value))
    chosen = dict(zip(best, place([spots[i] for i in best], [], _WIDTH, _HEIGHT), strict=True))
    values = []
    for i, (point, spot) in enumerate(zip(points, spots, strict=True)):
        side, kept = chosen[i], point.kept
        ends = [kept.value if end is None else end for end in (kept.low, kept.high)]
        values.append(
            {
                "model": point.line.label, "text": point.name if side else "", "is": _KINDS[point.line.baseline],
                "x": spot.x, "y": spot.y, "low": plane.y(100 * ends[0]), "high": plane.y(100 * ends[1]),
                "dx": side.dx if side else 0, "dy": side.dy if side else 0, "align": side.align if side else "left",
                "kept": wording.share(kept), "read": f"{point.x:.3g}",
            }
        )  # fmt: skip
    pixels = {"scale": {"domain": [0, _WIDTH], "range": [0, _WIDTH]}, "axis": _ticks(plane)}
    x, y = vega.number("x", **pixels), vega.number("y", **_heights(plane))
    kinds = {"domain": list(_KINDS.values())}
    look = {
        "fill": vega.name("is", scale=kinds | {"range": [palette.accent, palette.paper]}, legend=None),
        "stroke": vega.name("is", scale=kinds | {"range": [palette.accent, palette.muted]}, legend=None),
        "tooltip": [vega.name("model"), vega.name("kept", title="kept, %"), vega.name("read", title=plane.across)],
    }
    anchor: vega.Spec = {part: {"expr": f"datum.{part}"} for part in ("dx", "dy", "align")}
    parts = [
        vega.mark("rule", {"y": {"datum": plane.y(100), "type": "quantitative", **_heights(plane)}}, [{}],
                  color=palette.muted, strokeDash=[4, 3]),
        vega.mark("text", {"x": x, "text": vega.name("median")}, _medians(points, spots), y=-4, color=palette.muted),
        vega.mark("line", {"x": x, "y": y, "detail": vega.name("text")}, _same(points, spots), color=palette.rule),
        vega.mark("rule", {"x": x, "y": vega.number("low", **_heights(plane)), "y2": {"field": "high"}},
                  color=palette.rule, strokeWidth=1.5),
        vega.mark("point", {"x": x, "y": y, **look}, size=60, strokeWidth=1.6, opacity=1),
        vega.mark("text", {"x": x, "y": y, "text": vega.name("text")}, color=palette.ink, fontSize=11,
                  baseline="middle", **anchor),
    ]  # fmt: skip
    return vega.layers(parts, _WIDTH, _HEIGHT, values)


def _medians(points: Sequence[_Point], spots: Sequence[Spot]) -> list[vega.Spec]:
    """What stands above the points that stand side by side."""
    groups: dict[float, list[float]] = {}
    for point, spot in zip(points, spots, strict=True):
        groups.setdefault(point.x, []).append(spot.x)
    return [{"x": sum(own) / len(own), "median": f"{x:.3g}"} for x, own in groups.items()]


def _same(points: Sequence[_Point], spots: Sequence[Spot]) -> list[vega.Spec]:
    """What joins one method at several numbers of tokens."""
    return [
        {"text": point.name, "x": spot.x, "y": spot.y}
        for point, spot in zip(points, spots, strict=True)
        if len({round(other.x) for other in points if other.name == point.name}) > 1 and not point.line.baseline
    ]


def _ticks(plane: _Plane) -> vega.Spec:
    """Every ten per cent, or powers of two of tokens, where the logarithmic axis has them."""
    span = math.log(plane.right / plane.left)
    marks = range(10, 210, 10) if "%" in plane.across else [2**n for n in range(15)]
    values = {_WIDTH * math.log(mark / plane.left) / span: mark for mark in marks if plane.left < mark < plane.right}
    names = ", ".join(f"'{round(at)}': '{mark}'" for at, mark in values.items())
    label = f"({{{names}}})[round(datum.value)]"
    return {"title": plane.across, "values": list(values), "labelExpr": label, "grid": False}


def _heights(plane: _Plane) -> vega.Spec:
    """A vertical axis in pixels from above, whose ticks say the shares."""
    marks = [mark for mark in range(-100, 210, 10) if plane.bottom < mark < plane.top]
    names = ", ".join(f"'{round(plane.y(mark))}': '{mark}'" for mark in marks)
    label = f"({{{names}}})[round(datum.value)]"
    axis = vertical(plane.up) | {"values": [plane.y(mark) for mark in marks], "labelExpr": label}
    return {"scale": {"domain": [0, _HEIGHT], "range": [0, _HEIGHT]}, "axis": axis}
