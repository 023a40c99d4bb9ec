"""The four settings of a pair of simple tasks beside each other, for each model (dissertation, Table 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import vega, wording
from .files import render
from .pairs import SETTINGS, brief, find_pairs, pairs_of
from .panels import SERIES, Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...harness.cards import Metric
    from ...harness.outputs import FigureRequest
    from ...harness.results import Estimate
    from ..board import Board
    from ..charts import Palette
    from ..vega import Spec
    from .pairs import Pair

COLOURS = dict(zip(SETTINGS.values(), SERIES, strict=False))
"""Setting, as figures call it -> its colour in every figure."""
WIDTH, BAR, LONGEST = 340, 11, 28
"""Of the plot and of a bar in pixels, and of a row's name in letters."""
_AIR = 12


class Row(NamedTuple):
    """A row of bars.

    Attributes:
        bars: Setting, as figures call it -> its score.
        note: Stands at the end of the row.
    """

    name: str
    bars: Mapping[str, Estimate]
    note: str = ""


def compositional(request: FigureRequest, *, metric: str = "") -> str | bytes:
    """Draw them: a panel for each pair, a row for each model.

    Args:
        request: Runs of pairs, such as those of the suite ``compositional-logical``.
        metric: Default the one that ranks.

    Raises:
        UserError: There is no pair, or no such metric.
    """
    panels = [settings_panel(pair, metric) for pair in find_pairs(request, "compositional")]
    return render(Drawing("Two simple tasks and their composite", panels), request.form)


def settings_panel(pair: Pair, metric: str = "") -> Panel:
    """The panel of a pair."""
    chosen, names = pair.metric(metric), brief(pair.parts)
    rows = [
        Row(names[model], {SETTINGS[name]: parts[name].metrics[chosen.name] for name in SETTINGS if name in parts})
        for model, parts in pair.parts.items()
    ]
    return Panel(pair.title, lambda palette: bars(rows, chosen, palette), "With 95 % intervals.", WIDTH)


def on_board(board: Board) -> list[Panel]:
    """The panels of a board."""
    return [settings_panel(pair) for pair in pairs_of(board.sections)]


def bars(rows: Sequence[Row], metric: Metric, palette: Palette) -> Any:
    """The chart of some rows: a bar with its interval for each setting, and the note of the row behind them."""
    factor, top = wording.scale(metric), highest(metric, [score for row in rows for score in row.bars.values()])
    drawn = [setting for setting in SETTINGS.values() if any(setting in row.bars for row in rows)]
    values = [
        {
            "row": row.name,
            "setting": setting,
            "value": factor * score.value,
            "low": max(0.0, factor * (score.value if score.low is None else score.low)),
            "high": min(top, factor * (score.value if score.high is None else score.high)),
            "text": f"{wording.estimate(score, metric)} {metric.unit}".rstrip(),
        }
        for row in rows
        for setting, score in row.bars.items()
    ]
    x = vega.number("value", scale={"domain": [0, top], "nice": False}, axis=value_axis(metric))
    colour = vega.name(
        "setting",
        scale={"domain": drawn, "range": [COLOURS[setting] for setting in drawn]},
        legend={"columns": 2, "symbolType": "square", "symbolOpacity": 1},
    )
    place = {
        "y": row_axis([row.name for row in rows]),
        "yOffset": vega.name("setting", sort=drawn, scale={"domain": drawn}),
    }
    told = {"tooltip": [vega.name(field) for field in ("row", "setting", "text")]}
    ends = {"x": vega.number("low"), "x2": {"field": "high"}}
    parts = [
        vega.mark("bar", place | {"x": x, "color": colour} | told, height=BAR - 2),
        vega.mark("tick", place | {"x": x, "color": colour}, thickness=2, size=BAR - 2, opacity=1),
        vega.mark("rule", place | ends, color=palette.ink, strokeWidth=1.2),
        _notes(rows, palette),
    ]
    return vega.layers(parts, WIDTH, len(rows) * (BAR * len(drawn) + _AIR), values)


def highest(metric: Metric, scores: Iterable[Estimate]) -> float:
    """Where the axis of some scores ends, as they are shown: at the best share there is, or where the worst lies."""
    factor = wording.scale(metric)
    if metric.unit == "%" and metric.better == "higher":
        return factor
    return factor * max(1.0, *(score.value if score.high is None else score.high for score in scores))


def row_axis(names: Sequence[str]) -> Spec:
    """The vertical axis of a chart of rows."""
    labels = {"labelLimit": 220, "domain": False, "ticks": False, "title": None}
    return vega.name("row", sort=list(names), axis=labels, scale={"paddingInner": 0.18, "paddingOuter": 0.05})


def value_axis(metric: Metric) -> Spec:
    """The horizontal axis of a metric."""
    return {"title": wording.with_unit(metric), "tickCount": 5, "domain": False, "ticks": False}


def _notes(rows: Sequence[Row], palette: Palette) -> Spec:
    """The labels in the margin, after the rows."""
    values = [{"row": row.name, "note": row.note} for row in rows if row.note]
    channels = {"x": {"value": "width"}, "y": row_axis([row.name for row in rows]), "text": vega.name("note")}
    return vega.mark("text", channels, values, align="left", baseline="middle", dx=8, fontSize=11, color=palette.ink)
