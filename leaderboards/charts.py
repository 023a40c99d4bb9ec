"""Accuracy against cost as Altair charts: for the page, and as SVG or PDF files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.texts import all_printable
from . import wording
from .axes import KINDS, plots
from .board import need
from .families import lines
from .frame import HEIGHT, NARROW, WIDTH, Frame, frame, names, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from .axes import Plot
    from .board import Board
    from .labels import Side

_SHAPES = {"frontier": "circle", "open": "circle", "dominated": "triangle-down", "baseline": "cross"}
_TOOLTIP = {"name": "model", "shown": "score", "interval": "interval", "spent": "cost", "rank": "rank", "kind": "is"}


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as a browser or a renderer reads them."""

    ink: str
    muted: str
    rule: str
    accent: str
    paper: str
    font: str

    def fills(self) -> list[str]:
        """Colour inside the mark of each kind."""
        return [self.accent, self.paper, self.paper, self.muted]

    def strokes(self) -> list[str]:
        """Colour of the outline of each kind."""
        return [self.accent, self.accent, self.muted, self.muted]


PAGE = Palette(
    ink="var(--ink)",
    muted="var(--muted)",
    rule="var(--rule)",
    accent="var(--accent)",
    paper="var(--paper)",
    font="system-ui, sans-serif",
)
"""The page's own variables: one chart serves the light and the dark theme."""
FILE = Palette(ink="#1c2126", muted="#59636e", rule="#d5dae0", accent="#0a5fb4", paper="#ffffff", font="sans-serif")


def chart(plot: Plot, palette: Palette) -> Any:
    """The chart of a plot that has points: budget curves, frontier, intervals, marks and names."""
    alt = need("altair")
    axes = frame(plot)
    values = _values(plot, axes)
    data = alt.Data(values=tuple(values))  # which altair does not copy with every step, as it does a list
    x = alt.X(
        "cost:Q",
        scale=alt.Scale(type="log" if axes.log else "linear", domain=[axes.left, axes.right], nice=False),
        axis=alt.Axis(
            title=axes.title, values=axes.ticks or alt.Undefined, format="~s" if plot.name == "flops" else ",~r",
            tickCount=5, grid=False, labelOverlap=True,
        ),
    )  # fmt: skip
    y = alt.Y(
        "score:Q",
        scale=alt.Scale(domain=[axes.bottom, axes.top], nice=False, reverse=not axes.upwards),
        axis=alt.Axis(
            title=wording.with_unit(plot.section.metric), tickCount=5, domain=False, ticks=False, titleAngle=0,
            titleAlign="left", titleAnchor="start", titleX=0, titleY=-12, titleBaseline="bottom",
        ),
    )  # fmt: skip
    layers = [
        _curves(alt, values, plot, palette).encode(x=x, y=y),
        _frontier(alt, plot, axes, palette).encode(x=x, y=y),
        *_whiskers(alt, data, x, y, palette),
        _marks(alt, data, palette).encode(x=x, y=y),
        *(layer.encode(x=x, y=y) for layer in _names(alt, data, palette)),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def page_spec(plot: Plot) -> dict[str, Any]:
    """The Vega-Lite specification of a plot for the page, in the page's colours."""
    return specification(lambda: styled(chart(plot, PAGE), PAGE))


def specification(draw: Callable[[], Any]) -> dict[str, Any]:
    """The Vega-Lite specification of a chart that ``draw`` makes, with no text that a page may not hold.

    Altair would check each part of each chart against the schema, which takes ten times as long as making it.
    """
    need("altair")
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        spec: dict[str, Any] = all_printable(draw().to_dict(validate=False))
    return spec


def svg(spec: dict[str, Any]) -> str:
    """Render a specification to SVG, without a browser or the network."""
    text: str = need("vl_convert").vegalite_to_svg(spec, allowed_base_urls=[])
    return text


def still(spec: dict[str, Any], form: str) -> str | bytes:
    """Render a specification to a file of that ending: ``.svg``, ``.pdf`` or ``.png``."""
    if form == ".svg":
        return svg(spec)
    convert = need("vl_convert")
    content: bytes
    if form == ".png":
        content = convert.vegalite_to_png(spec, scale=2, allowed_base_urls=[])
    else:
        content = convert.vegalite_to_pdf(spec, allowed_base_urls=[])
    return content


def figure(board: Board) -> dict[str, Any]:
    """One specification with a row of charts for each task, for print.

    Raises:
        UserError: No cell has a cost to be drawn against.
    """
    alt = need("altair")
    rows = []
    for section in board.sections:
        drawn = [chart(plot, FILE).properties(title=section.title) for plot in plots(section) if plot.points]
        if drawn:
            rows.append(alt.hconcat(*drawn, spacing=40))
    if not rows:
        raise UserError(
            "there is nothing to draw: no comparable cell has FLOPs or a time",
            todo="write .html or .md, which say why",
        )
    whole = alt.vconcat(*rows, spacing=40).resolve_scale(fill="shared", stroke="shared", shape="shared")
    return specification(lambda: styled(whole, FILE))


def styled(drawing: Any, palette: Palette) -> Any:
    """A chart with the looks that all of ours have."""
    return (
        drawing.configure(background=palette.paper, font=palette.font)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=palette.muted, titleColor=palette.muted, titleFontWeight="normal", titleFontSize=12,
            labelFontSize=11, gridColor=palette.rule, domainColor=palette.rule, tickColor=palette.rule,
        )
        .configure_title(color=palette.ink, fontSize=14, anchor="start", offset=8)
        .configure_legend(orient="bottom", title=None, labelColor=palette.ink, labelLimit=420, direction="vertical")
    )  # fmt: skip


def _curves(alt: Any, values: list[dict[str, Any]], plot: Plot, palette: Palette) -> Any:
    """Join the cells of one model at several budgets, and those that differ in one number of a method."""
    line_of = {
        cell.name: name
        for name, cells in lines(point.standing for point in plot.points).items()
        for cell in cells
        if len(cells) > 1
    }
    kept = [{**value, "line": line_of[value["name"]]} for value in values if value["name"] in line_of]
    line = alt.Chart(alt.Data(values=kept)).mark_line(color=palette.muted, strokeWidth=1, opacity=0.6)
    return line.encode(detail="line:N")


def _frontier(alt: Any, plot: Plot, axes: Frame, palette: Palette) -> Any:
    """A step from each point of the frontier to the next: the best that a given cost has bought."""
    steps = [
        {"cost": axes.cost(point.cost.value), "score": point.score} for point in plot.points if point.kind == "frontier"
    ]
    if steps:
        steps.append({"cost": axes.right, "score": steps[-1]["score"]})
    line = alt.Chart(alt.Data(values=steps))
    return line.mark_line(color=palette.accent, strokeWidth=1.5, opacity=0.7, interpolate="step-after")


def _whiskers(alt: Any, data: Any, x: Any, y: Any, palette: Palette) -> list[Any]:
    rule = alt.Chart(data).mark_rule(color=palette.muted, strokeWidth=1)
    return [
        rule.encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        rule.encode(y=y, x=alt.X("cost_low:Q"), x2="cost_high:Q"),
    ]


def _marks(alt: Any, data: Any, palette: Palette) -> Any:
    kinds = list(KINDS.values())
    legend = None if palette is PAGE else alt.Legend()

    def scale(values: list[str]) -> Any:
        return alt.Scale(domain=kinds, range=values)

    return (
        alt.Chart(data)
        .mark_point(size=75, strokeWidth=1.6, opacity=1)
        .encode(
            fill=alt.Fill("kind:N", scale=scale(palette.fills()), legend=legend),
            stroke=alt.Stroke("kind:N", scale=scale(palette.strokes()), legend=legend),
            shape=alt.Shape("kind:N", scale=scale([_SHAPES[kind] for kind in KINDS]), legend=legend),
            tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in _TOOLTIP.items()],
        )
    )


def _names(alt: Any, data: Any, palette: Palette) -> list[Any]:
    """The names beside the points: in a file one layer; on the page one for a narrow window too."""
    enough = f"width > {WIDTH * 0.8:g}"
    layers = {"wide": alt.expr(f"{enough} ? 1 : 0") if palette is PAGE else 1}
    if palette is PAGE:
        layers = {"narrow": alt.expr(f"{enough} ? 0 : 1"), **layers}
    return [
        alt.Chart(data)
        .mark_text(
            dx=alt.expr(f"datum.{name}.dx"), dy=alt.expr(f"datum.{name}.dy"), align=alt.expr(f"datum.{name}.align"),
            baseline="middle", opacity=seen, color=palette.ink, fontSize=11,
        )
        .encode(text=f"{name}.text:N")
        for name, seen in layers.items()
    ]  # fmt: skip


def _label(name: str, side: Side | None, width: int) -> dict[str, Any]:
    """A name and where it stands; without a side it is left out."""
    return {"text": short(name, width), **side._asdict()} if side else {"text": "", "dx": 0, "dy": 0, "align": "left"}


def _values(plot: Plot, axes: Frame) -> list[dict[str, Any]]:
    metric = plot.section.metric
    wide, narrow = names(plot, axes), names(plot, axes, NARROW)
    values = []
    for point in plot.points:
        standing, score = point.standing, point.standing.headline
        values.append(
            {
                "name": standing.name,
                "wide": _label(standing.name, wide[standing.name], WIDTH),
                "narrow": _label(standing.name, narrow[standing.name], NARROW),
                "score": point.score,
                "low": point.low,
                "high": point.high,
                "cost": axes.cost(point.cost.value),
                "cost_low": axes.cost(point.cost.low),
                "cost_high": axes.cost(point.cost.high),
                "kind": KINDS[point.kind],
                "shown": f"{metric.name} {wording.estimate(score, metric)} {metric.unit}".rstrip(),
                "interval": score.method if score else "",
                "spent": f"{point.cost.text} per input",
                "rank": standing.rank,
            }
        )
    return values
