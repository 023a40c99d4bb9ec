"""Costs as stacked bars: FLOPs by phase, and the predicted time on every accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..harness.store.files import write_atomic
from .board import need
from .charts import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..harness.costing import Cost

    Bars = Mapping[str, Mapping[str, float]]

_COLOURS = {"vision": "#e08a1e", "projector": "#7a9e3f", "prefill": FILE.accent, "head": FILE.ink}
_WIDTH, _BAR = 460, 26


def write_chart(costs: Sequence[Cost], title: str, out: Path) -> None:
    """Draw costs and write them to a file, as its ending says: ``.svg``, ``.pdf``, ``.png`` or ``.html``.

    Nothing is loaded from the network, neither now nor when the page is opened.
    """
    convert, spec = need("vl_convert"), specification(costs, title)
    match out.suffix.lower():
        case ".html":
            content = convert.vegalite_to_html(spec, bundle=True).encode()
        case ".svg":
            content = convert.vegalite_to_svg(spec, allowed_base_urls=[]).encode()
        case ".png":
            content = convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[])
        case _:
            content = convert.vegalite_to_pdf(spec, allowed_base_urls=[])
    write_atomic(out, content)


def specification(costs: Sequence[Cost], title: str) -> dict[str, Any]:
    """The Vega-Lite specification: a panel of FLOPs, and one of time for each accelerator, all on one scale of time."""
    alt = need("altair")
    drawn = [phase for phase in _COLOURS if any(phase in cost.flops for cost in costs)]
    colours = alt.Scale(domain=drawn, range=[_COLOURS[phase] for phase in drawn])
    flops = {cost.spec: cost.flops for cost in costs}
    panels = [_panel(alt, flops, colours, "FLOPs").properties(title="FLOPs of one input")]
    chips = list(dict.fromkeys(name for cost in costs for name in cost.predicted))
    times = {chip: {cost.spec: _milliseconds(cost.predicted[chip]) for cost in costs} for chip in chips}
    longest = max((sum(parts.values()) for bars in times.values() for parts in bars.values()), default=0.0)
    for chip, bars in times.items():
        panels.append(_panel(alt, bars, colours, "ms", longest).properties(title=f"Predicted time on {chip}"))
    heading = alt.Title(title, anchor="start", fontSize=12, fontWeight="normal", color=FILE.muted, offset=14)
    whole = alt.vconcat(*panels, spacing=26, title=heading)
    spec: dict[str, Any] = _styled(whole).to_dict()
    return spec


def _milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Predicted time up to the first token; that of the head is in the prefill's."""
    return {part: 1e3 * value for part, value in seconds.items() if part != "token"}


def _panel(alt: Any, bars: Bars, colours: Any, unit: str, longest: float = 0.0) -> Any:
    """One stacked bar a spec, in the order of the specs, with its sum behind it."""
    values = [
        {"spec": spec, "phase": phase, "value": parts[phase], "order": place}
        for spec, parts in bars.items()
        for place, phase in enumerate(_COLOURS)
        if phase in parts
    ]
    sums = [{"spec": spec, "value": sum(parts.values())} for spec, parts in bars.items()]
    longest = longest or max(sum(parts.values()) for parts in bars.values())
    style = "~r" if unit == "ms" else "~s"
    number = f".3{style}"
    x = alt.X("value:Q", title=unit, scale=alt.Scale(domain=[0, 1.15 * longest]), axis=alt.Axis(format=style))
    y = alt.Y("spec:N", title=None, sort=list(bars), axis=alt.Axis(labelLimit=420, domain=False, ticks=False))
    colour = alt.Color("phase:N", scale=colours)
    tooltip = [alt.Tooltip("spec:N"), alt.Tooltip("phase:N"), alt.Tooltip("value:Q", title=unit, format=number)]
    stacked = alt.Chart(alt.Data(values=values)).mark_bar(height=0.62 * _BAR)
    named = alt.Chart(alt.Data(values=sums)).mark_text(align="left", dx=5, color=FILE.ink, fontSize=11)
    return alt.layer(
        stacked.encode(x=x.stack("zero"), y=y, color=colour, order="order:Q", tooltip=tooltip),
        named.encode(x=x, y=y, text=alt.Text("value:Q", format=number)),
    ).properties(width=_WIDTH, height=alt.Step(_BAR))


def _styled(drawing: Any) -> Any:
    return (
        drawing.configure(background=FILE.paper, font=FILE.font)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=FILE.muted, titleColor=FILE.muted, titleFontWeight="normal", labelFontSize=11, grid=False,
            tickCount=5,
        )
        .configure_title(color=FILE.ink, fontSize=14, anchor="start", offset=8)
        .configure_legend(orient="bottom", title=None, labelColor=FILE.ink)
    )  # fmt: skip
