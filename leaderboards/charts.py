"""Accuracy against cost as Vega-Lite charts: for the page, and as SVG or PDF files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.texts import all_printable
from . import vega, wording
from .axes import KINDS, plots
from .board import need
from .families import lines
from .frame import HEIGHT, NARROW, WIDTH, Frame, frame, names, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .axes import Plot
    from .board import Board
    from .labels import Side
    from .vega import Spec

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


def chart(plot: Plot, palette: Palette) -> Spec:
    """The chart of a plot that has points: budget curves, frontier, intervals, marks and names."""
    axes = frame(plot)
    values = _values(plot, axes)
    x = vega.number(
        "cost",
        scale={"type": "log" if axes.log else "linear", "domain": [axes.left, axes.right], "nice": False},
        axis={
            "title": axes.title, "format": "~s" if plot.name == "flops" else ",~r", "tickCount": 5, "grid": False,
            "labelOverlap": True, **({"values": axes.ticks} if axes.ticks else {}),
        },
    )  # fmt: skip
    y = vega.number(
        "score",
        scale={"domain": [axes.bottom, axes.top], "nice": False, "reverse": not axes.upwards},
        axis=vertical(wording.with_unit(plot.section.metric)),
    )
    place: Spec = {"x": x, "y": y}
    muted: Spec = {"color": palette.muted, "strokeWidth": 1}
    parts = [
        vega.mark("line", place | {"detail": vega.name("line")}, _curves(values, plot), opacity=0.6, **muted),
        vega.mark(
            "line", place, _frontier(plot, axes), color=palette.accent, strokeWidth=1.5, opacity=0.7,
            interpolate="step-after",
        ),
        vega.mark("rule", {"x": x, "y": vega.number("low"), "y2": {"field": "high"}}, **muted),
        vega.mark("rule", {"y": y, "x": vega.number("cost_low"), "x2": {"field": "cost_high"}}, **muted),
        vega.mark("point", place | _looks(palette), size=75, strokeWidth=1.6, opacity=1),
        *(vega.mark("text", place | {"text": vega.name(f"{name}.text")}, **look) for name, look in _names(palette)),
    ]  # fmt: skip
    return vega.layers(parts, WIDTH, HEIGHT, values)


def vertical(title: str) -> Spec:
    """A vertical axis with its title above it."""
    return {
        "title": title, "tickCount": 5, "domain": False, "ticks": False, "titleAngle": 0, "titleAlign": "left",
        "titleAnchor": "start", "titleX": 0, "titleY": -12, "titleBaseline": "bottom",
    }  # fmt: skip


def page_spec(plot: Plot) -> Spec:
    """The Vega-Lite specification of a plot for the page, in the page's colours."""
    return styled(chart(plot, PAGE), PAGE)


def svg(spec: Spec) -> str:
    """Render a specification to SVG, without a browser or the network."""
    text: str = need("vl_convert").vegalite_to_svg(spec, allowed_base_urls=[])
    return text


def still(spec: Spec, form: str) -> str | bytes:
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


def figure(board: Board) -> Spec:
    """One specification with a row of charts for each task, for print.

    Raises:
        UserError: No cell has a cost to be drawn against.
    """
    drawn = [
        [chart(plot, FILE) | {"title": section.title} for plot in plots(section) if plot.points]
        for section in board.sections
    ]
    rows = list(filter(None, drawn))
    if not rows:
        raise UserError(
            "there is nothing to draw: no comparable cell has FLOPs or a time",
            todo="write .html or .md, which say why",
        )
    shared = {"resolve": {"scale": dict.fromkeys(("fill", "stroke", "shape"), "shared")}}
    return styled(vega.rows(rows, 40) | shared, FILE)


def styled(spec: Spec, palette: Palette) -> Spec:
    """A chart with the looks that all of ours have, and with no text that a page may not hold."""
    config = {
        "background": palette.paper,
        "font": palette.font,
        "view": {"stroke": None},
        "axis": {
            "labelColor": palette.muted, "titleColor": palette.muted, "titleFontWeight": "normal", "titleFontSize": 12,
            "labelFontSize": 11, "gridColor": palette.rule, "domainColor": palette.rule, "tickColor": palette.rule,
        },
        "title": {"color": palette.ink, "fontSize": 14, "anchor": "start", "offset": 8},
        "legend": {
            "orient": "bottom", "title": None, "labelColor": palette.ink, "labelLimit": 420, "direction": "vertical"
        },
    }  # fmt: skip
    printable: Spec = all_printable(vega.whole(spec, config))
    return printable


def _curves(values: Sequence[Spec], plot: Plot) -> list[Spec]:
    """What joins the cells of one model at several budgets, and those that differ in one number of a method."""
    line_of = {
        cell.name: name
        for name, cells in lines(point.standing for point in plot.points).items()
        for cell in cells
        if len(cells) > 1
    }
    fields = ("name", "cost", "score")
    return [
        {field: value[field] for field in fields} | {"line": line_of[value["name"]]}
        for value in values
        if value["name"] in line_of
    ]


def _frontier(plot: Plot, axes: Frame) -> list[Spec]:
    """A step from each point of the frontier to the next: the best that a given cost has bought."""
    steps = [
        {"cost": axes.cost(point.cost.value), "score": point.score} for point in plot.points if point.kind == "frontier"
    ]
    return [*steps, {"cost": axes.right, "score": steps[-1]["score"]}] if steps else []


def _looks(palette: Palette) -> Spec:
    """How a mark tells its kind, and what it says when the mouse rests on it."""
    legend: Spec | None = None if palette is PAGE else {}
    ranges = {"fill": palette.fills(), "stroke": palette.strokes(), "shape": [_SHAPES[kind] for kind in KINDS]}
    kinds = {
        channel: vega.name("kind", scale={"domain": list(KINDS.values()), "range": shown}, legend=legend)
        for channel, shown in ranges.items()
    }
    return kinds | {"tooltip": [vega.name(field, title=title) for field, title in _TOOLTIP.items()]}


def _names(palette: Palette) -> list[tuple[str, Spec]]:
    """The names beside the points: in a file one layer; on the page one for a narrow window too."""
    enough = f"width > {WIDTH * 0.8:g}"
    seen: dict[str, Any] = {"wide": 1}
    if palette is PAGE:
        seen = {"narrow": {"expr": f"{enough} ? 0 : 1"}, "wide": {"expr": f"{enough} ? 1 : 0"}}
    return [
        (
            name,
            {part: {"expr": f"datum.{name}.{part}"} for part in ("dx", "dy", "align")}
            | {"baseline": "middle", "opacity": opacity, "color": palette.ink, "fontSize": 11},
        )
        for name, opacity in seen.items()
    ]


def _label(name: str, side: Side | None, width: int) -> Spec:
    """A name and where it stands; without a side it is left out."""
    return {"text": short(name, width), **side._asdict()} if side else {"text": "", "dx": 0, "dy": 0, "align": "left"}


def _values(plot: Plot, axes: Frame) -> list[Spec]:
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
