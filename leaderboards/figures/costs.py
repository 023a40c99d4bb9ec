"""Costs as stacked bars: FLOPs by phase, and the predicted time on every accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .. import vega
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.costing import Cost
    from ...harness.outputs import FigureRequest
    from ..charts import Palette
    from ..vega import Spec

    Bars = Mapping[str, Mapping[str, float]]

_PHASES = ("vision", "projector", "text", "prefill", "head")
_WIDTH, _BAR = 460, 26
_NAMES = {  # of a path, the end says more than the beginning
    "labelLimit": 300,
    "labelExpr": "length(datum.label) > 44 ? '\u2026' + slice(datum.label, -43) : datum.label",
    "domain": False,
    "ticks": False,
}


def costs(request: FigureRequest) -> str | bytes:
    """Draw the costs of a request.

    Raises:
        UserError: It has none.
    """
    if not request.costs:
        raise UserError("this figure shows costs, not runs", where="costs", todo="adaptbench cost SPEC --out FILE")
    return render(drawing(request.costs, request.title), request.form)


def drawing(costs: Sequence[Cost], title: str) -> Drawing:
    """The figure: a panel of FLOPs, and one of time for each accelerator, all on one scale of time."""
    phases = [phase for phase in _PHASES if any(phase in cost.flops for cost in costs)]
    flops = {cost.spec: cost.flops for cost in costs}
    panels = [_panel("FLOPs of one input", flops, phases, "FLOPs", _longest(flops))]
    chips = list(dict.fromkeys(name for cost in costs for name in cost.predicted))
    times = {chip: {cost.spec: _milliseconds(cost.predicted[chip]) for cost in costs} for chip in chips}
    longest = max(map(_longest, times.values()), default=0.0)
    panels += [_panel(f"Predicted time on {chip}", bars, phases, "ms", longest) for chip, bars in times.items()]
    return Drawing(title, panels, columns=1)


def _milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Predicted time up to the first token; that of the head is in the prefill's."""
    return {part: 1e3 * value for part, value in seconds.items() if part != "token"}


def _longest(bars: Bars) -> float:
    return max(sum(parts.values()) for parts in bars.values())


def _panel(title: str, bars: Bars, phases: Sequence[str], unit: str, longest: float) -> Panel:
    return Panel(title, lambda palette: _stacked(bars, phases, unit, longest, palette), width=_WIDTH)


def _stacked(bars: Bars, phases: Sequence[str], unit: str, longest: float, palette: Palette) -> Spec:
    """One stacked bar a spec, in the order of the specs, with its sum behind it."""
    values = [
        {"spec": spec, "phase": phase, "value": parts[phase], "order": place}
        for spec, parts in bars.items()
        for place, phase in enumerate(phases)
        if phase in parts
    ]
    sums = [{"spec": spec, "value": sum(parts.values())} for spec, parts in bars.items()]
    style = "~r" if unit == "ms" else "~s"
    number = f".3{style}"
    ticks = {"format": style, "grid": False, "tickCount": 5}
    x = vega.number("value", title=unit, scale={"domain": [0, 1.25 * longest]}, axis=ticks)
    y = vega.name("spec", title=None, sort=list(bars), axis=_NAMES)
    colours = dict(zip(_PHASES, ("#e08a1e", "#7a9e3f", "#8f6bb3", palette.accent, palette.ink), strict=True))
    scale = {"domain": list(phases), "range": [colours[phase] for phase in phases]}
    stacked = {
        "x": x | {"stack": "zero"},
        "y": y,
        "color": vega.name("phase", scale=scale, legend={"direction": "horizontal"}),
        "order": vega.number("order"),
        "tooltip": [vega.name("spec"), vega.name("phase"), vega.number("value", title=unit, format=number)],
    }
    named = {"x": x, "y": y, "text": vega.number("value", format=number)}
    parts = [
        vega.mark("bar", stacked, values, height=0.62 * _BAR),
        vega.mark("text", named, sums, align="left", dx=5, color=palette.ink, fontSize=11),
    ]
    return vega.layers(parts, _WIDTH, _BAR * len(bars))
