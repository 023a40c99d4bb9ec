"""Accuracy against the size of a model, in the four settings of a pair (dissertation, Figs. 4.2, 4.3 and B.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from .. import vega, wording
from ..figures.compositional import highest
from ..figures.curves import Curve, Plane, lines, spot
from ..figures.files import render
from ..figures.pairs import COMPOSITE, SETTINGS, brief, family, find_pairs, is_baseline, size
from ..figures.panels import Drawing, Panel
from ..frame import HEIGHT
from ..wording import shown
from .printed import PRINTED, PUBLISHED, printed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.cards import Metric
    from ...harness.outputs import FigureRequest
    from ..charts import Palette
    from ..figures.curves import Spot
    from ..figures.pairs import Pair
    from ..vega import Spec

BY = ("pair", "family")
_WORDS = {3: "thousands", 6: "millions", 9: "billions", 12: "trillions"}
_AIR = 0.04
_LINE, _LONGEST = 12, 28
"""Height of a baseline's name in pixels, and its length in letters."""


class Level(NamedTuple):
    """What a baseline scores, scaled as it is shown."""

    name: str
    value: float


def scale(request: FigureRequest, *, by: str = "pair", metric: str = "", published: bool = False) -> str | bytes:
    """Draw it: a line for each setting and family of models, over their numbers of parameters.

    Args:
        request: Runs of pairs with models of several sizes, such as those of the suite ``compositional-scale``.
        by: ``pair``: a panel for each pair, where families differ by their marks. ``family``: a row for each pair,
            with a panel for each family, as in Fig. B.1.
        metric: Default the one that ranks.
        published: Whether to add the dissertation's models to those of the runs (see `printed`).

    Raises:
        UserError: There are no two sizes of models, an argument is unknown, or nothing is published of these pairs.
    """
    if by not in BY:
        raise UserError(f"there is no panel for each {by!r}", where="scale", todo=f"use {' or '.join(BY)}")
    panels, columns, known = [], 2, False
    for pair in find_pairs(request, "scale"):
        beside = printed(pair, pair.metric(metric)) if published else []
        known = known or bool(beside)
        curves = [*_curves(pair, pair.metric(metric)), *beside]
        if len({spot.x for curve in curves for spot in curve.spots}) < 2:
            continue
        marks = dict.fromkeys(one.mark for one in curves)
        parted = [[one for one in curves if one.mark == mark] for mark in marks] if by == "family" else [curves]
        panels += [_panel(pair, own, pair.metric(metric)) for own in parted]
        columns = max(columns, len(parted))
    if published and not known:
        raise UserError("nothing is published of these pairs by this metric", where="scale", todo=PUBLISHED)
    if not panels:
        raise UserError(
            "no pair of these runs was asked of models of several sizes",
            where="scale",
            todo="run it with more models; the size of a baseline or of stored predictions is not known",
        )
    return render(Drawing("Accuracy against scale", panels, columns), request.form)


def _curves(pair: Pair, metric: Metric) -> list[Curve]:
    """A line for each setting and family; the family is its mark, and the parameters are where its points stand."""
    names = brief(pair.parts)
    sized = sorted((n, model) for model, parts in pair.parts.items() if (n := size(parts)) and not is_baseline(parts))
    found: dict[tuple[str, str], list[Spot]] = {}
    for parameters, model in sized:
        for setting, part in pair.parts[model].items():
            point = spot(part.metrics[metric.name], parameters, metric)
            point = point._replace(text=f"{names[model]}: {point.text}")
            found.setdefault((SETTINGS[setting], family(names[model])), []).append(point)
    order = list(SETTINGS.values())
    every = sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return [Curve(setting, spots, mark=of) for (setting, of), spots in every]


def _panel(pair: Pair, curves: Sequence[Curve], metric: Metric) -> Panel:
    every = [part.metrics[metric.name] for parts in pair.parts.values() for part in parts.values()]
    sizes = [spot.x for curve in curves for spot in curve.spots]
    power, top = wording.exponent(max(sizes)), highest(metric, every)
    unit, air = 10.0**power, max(1.3, (max(sizes) / min(sizes)) ** 0.06)
    plane = Plane(
        x=f"parameters, {_WORDS[power]}" if power in _WORDS else "parameters",
        y=wording.with_unit(metric),
        form=",~r",
        span=(min(sizes) / unit / air, max(sizes) / unit * air),
        log=True,
        upwards=metric.better == "higher",
        apart=True,
        height=(-_AIR * top, (1 + _AIR) * top),
        line="setting",
    )
    of = sorted({curve.mark for curve in curves})
    placed = [_placed(curve, unit, top, curve.mark if len(of) > 1 else "") for curve in curves]
    levels = _levels(pair, metric)
    title = pair.title if len(of) > 1 else f"{pair.title}, {of[0]}"
    caption = f"With 95 % intervals{', printed scores aside' if any(PRINTED in name for name in of) else ''}."
    if levels:
        caption += " Dashed: what baselines get in the setting composite."
    return Panel(title, lambda palette: _drawn(placed, plane, levels, palette), caption)


def _placed(curve: Curve, unit: float, top: float, mark: str) -> Curve:
    """A line as it is drawn: in the unit of the axis, and no interval leaves it."""
    spots = [one._replace(x=one.x / unit, low=max(0.0, one.low), high=min(top, one.high)) for one in curve.spots]
    return Curve(curve.name, spots, mark=mark)


def _levels(pair: Pair, metric: Metric) -> list[Level]:
    """What baselines score in the composite setting."""
    names = brief(pair.parts)
    return [
        Level(names[model], wording.scale(metric) * parts[COMPOSITE].metrics[metric.name].value)
        for model, parts in pair.parts.items()
        if is_baseline(parts) and COMPOSITE in parts
    ]


def _drawn(curves: Sequence[Curve], plane: Plane, levels: Sequence[Level], palette: Palette) -> Spec:
    """The lines over the levels of baselines, whose names are in the margin."""
    low, high = plane.height or (0.0, 100.0)
    places = _apart([level.value for level in levels], _LINE * (high - low) / HEIGHT, high)
    values = [
        {"value": level.value, "text": shown(level.name, _LONGEST), "place": place}
        for level, place in zip(levels, places, strict=True)
    ]
    rules = vega.mark(
        "rule", {"y": vega.number("value")}, values, color=palette.muted, strokeWidth=1, strokeDash=[4, 3]
    )
    channels = {"x": {"value": "width"}, "y": vega.number("place"), "text": vega.name("text")}
    names = vega.mark("text", channels, values, align="left", baseline="middle", dx=6, fontSize=10, color=palette.muted)
    drawn = lines(curves, plane, palette)
    return drawn | {"layer": [rules, *drawn["layer"], names]}


def _apart(values: Sequence[float], least: float, top: float) -> list[float]:
    """The values, moved so that no two are nearer than ``least``, and none is above ``top`` for it."""
    order = sorted(range(len(values)), key=values.__getitem__)
    places = [0.0] * len(values)
    floor = -float("inf")
    for index in order:
        floor = places[index] = max(values[index], floor + least)
    for index in reversed(order):
        top = places[index] = min(places[index], top)
        top -= least
    return places
