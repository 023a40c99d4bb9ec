"""Which blocks, heads and MLP channels ran, by budget and by input (dissertation, Figs. 5.5 and C.5)."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.errors import UserError
from .. import vega
from ..families import by_model
from ..wording import listed, shown
from .cells import record, sections, swept
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ...harness.contracts import Record
    from ...harness.execution import Execution
    from ...harness.outputs import FigureRequest
    from ..board import Board
    from ..charts import Palette
    from ..ranking import Section, Standing
    from ..vega import Spec

    Grid = npt.NDArray[np.float64]
    """[rows, blocks, parts], parts being `_PARTS`: which share of each ran."""

_MOST = 1000
"""Records of a cell that are read: their mean is exact to some percent, and a board is quick."""
_MOST_PANELS = 6
_PARTS = ("Blocks that ran", "Attention heads that ran", "MLP channels that ran")
_ROW, _WIDTH, _LABELLED = 16, 440, 14


class _Shape(NamedTuple):
    """A whole decoder."""

    blocks: int
    heads: int


class _Plans(NamedTuple):
    """What ran of a decoder for a model's first inputs, by budget."""

    shape: _Shape
    by_budget: Mapping[float, list[Execution]]


def plans(request: FigureRequest, *, budget: float | None = None, inputs: int = 24) -> str | bytes:
    """Draw them, for each model and task: what share ran at each budget, and the plans of some inputs.

    Args:
        request: With a ``sample``, only its plans are drawn, at every budget.
        budget: Of the plans by input; default the middle one below 1.
        inputs: How many of the task's first inputs are shown.

    Raises:
        UserError: No record holds a plan, or there is no cell at this budget.
    """
    if inputs < 1:
        raise UserError(f"{inputs} inputs are too few", where="plans", todo="give inputs=1 or more")
    panels = []
    for section in sections(request, unranked=True):
        for model, cells in by_model(section.standings).items():
            drawn = _read(cells)
            if drawn is None:
                continue
            title = f"{model} on {section.title}"
            if request.sample is None:
                panels += [*_shares(title, drawn), *_first_inputs(cells, drawn, budget, inputs)]
            else:
                panels += _one_sample(title, cells, drawn.shape, request.sample)
    if not panels:
        raise UserError(
            "no record of these runs says what ran of the decoder",
            where="plans",
            todo="run a model with a method in its decoder, such as tiny-llava+adallava-l(scheduler=random), "
            "with this version",
        )
    return render(Drawing("Execution plans", panels), request.form)


def on_board(board: Board) -> list[Panel]:
    """The panels of a board: what ran of each block at several budgets, a fold for each task.

    Of a task, at most six panels, of the models that stand highest; the last one names the others.
    """
    return [panel for section in board.sections for panel in _of_task(section)]


def _of_task(section: Section) -> list[Panel]:
    panels: list[Panel] = []
    left_out: list[str] = []
    models = swept(section)
    for model in dict.fromkeys(standing.row.result.cell.model for standing in section.standings):
        drawn = _read(models[model]) if model in models else None
        if drawn is None or len(drawn.by_budget) < 2:
            continue
        shares = _shares(model, drawn)
        if left_out or len(panels) + len(shares) > _MOST_PANELS:
            left_out.append(model)
        else:
            panels += shares
    if left_out:
        others = f"Not shown, but drawn by adaptbench figure plans: {listed(left_out)}."
        panels[-1] = replace(panels[-1], caption=f"{panels[-1].caption} {others}")
    return [replace(panel, fold=f"What ran on {section.title}") for panel in panels]


def _shares(title: str, drawn: _Plans) -> list[Panel]:
    """What ran of each block at each budget: a panel of the blocks, or one of the heads and one of the channels."""
    budgets = sorted(drawn.by_budget, reverse=True)
    grid = np.stack([_grid(drawn.by_budget[budget], drawn.shape).mean(axis=0) for budget in budgets])
    inputs = max(map(len, drawn.by_budget.values()))
    return _panels(title, [f"{budget:g}" for budget in budgets], grid, ("budget", f"Mean over {inputs:,} inputs."))


def _one_sample(title: str, cells: Sequence[Standing], shape: _Shape, sample: str) -> list[Panel]:
    """The plans of one sample at every budget."""
    falling = sorted(cells, key=lambda cell: -cell.row.result.cell.budget)
    rows = [(f"{cell.row.result.cell.budget:g}", plan) for cell in falling for plan in _plans(record(cell, sample))]
    if not rows:
        return []
    names = _distinct([name for name, _ in rows])
    return _panels(title, names, _grid([plan for _, plan in rows], shape), ("budget", f"Sample {sample}."))


def _first_inputs(cells: Sequence[Standing], drawn: _Plans, budget: float | None, count: int) -> list[Panel]:
    """The plans of several inputs at one budget."""
    known = sorted(drawn.by_budget)
    below = [found for found in known if found < 1] or known
    budget = below[len(below) // 2] if budget is None else budget
    if budget not in known:
        choice = ", ".join(f"{found:g}" for found in known)
        raise UserError(
            f"no plans at budget {budget:g}", where=cells[0].row.label, todo=f"choose budget= from {choice}"
        )
    cell = next(cell for cell in cells if cell.row.result.cell.budget == budget)
    every = ((found.sample, plan) for found in cell.row.journal.records() for plan in _plans(found))
    rows = list(islice(every, count))
    names = _distinct([name for name, _ in rows])
    grid = _grid([plan for _, plan in rows], drawn.shape)
    return _panels(cell.row.label, names, grid, ("input", "The first inputs of the task."))


def _panels(title: str, names: Sequence[str], grid: Grid, words: tuple[str, str]) -> list[Panel]:
    """Heat maps of a grid [rows, blocks, parts]: one if blocks run whole or not at all, else one for each part."""
    whole = bool(np.all(grid == grid[:, :, :1]))
    axis, caption = words
    return [
        _panel(title, names, grid[:, :, part], (axis, f"{_PARTS[part]}. {caption}"))
        for part in ((0,) if whole else (1, 2))
    ]


def _panel(title: str, names: Sequence[str], shares: Grid, words: tuple[str, str]) -> Panel:
    axis, caption = words
    return Panel(title, lambda palette: _heat(names, shares, axis, palette), caption, _WIDTH)


def _heat(names: Sequence[str], shares: Grid, axis: str, palette: Palette) -> Spec:
    """A cell for each row and block, the more opaque the more of it ran."""
    values = [
        {"row": name, "block": block, "share": round(float(share), 4), "text": f"{100 * share:.0f}"}
        for name, line in zip(names, shares, strict=True)
        for block, share in enumerate(line)
    ]
    y = vega.name(
        "row", sort=list(names), title=axis,
        axis={"labelLimit": 130, "domain": False, "ticks": False, "titleAngle": 0, "titleAlign": "right",
              "titleX": -6, "titleY": -10},
    )  # fmt: skip
    ticks = {"labelAngle": 0, "labelOverlap": True, "domain": False, "ticks": False}
    x = {"field": "block", "type": "ordinal", "title": "block", "axis": ticks}
    opacity = vega.number(
        "share",
        scale={"domain": [0, 1], "range": [0.04, 1]},
        legend={"values": [0, 0.25, 0.5, 0.75, 1], "format": "~%", "symbolType": "square", "direction": "horizontal",
                "symbolFillColor": palette.accent, "symbolStrokeWidth": 0, "symbolSize": 160},
    )  # fmt: skip
    tooltip = [
        vega.name("row", title=axis), {"field": "block", "type": "ordinal"}, vega.number("share", format=".0%")
    ]  # fmt: skip
    channels = {"x": x, "y": y, "opacity": opacity, "tooltip": tooltip}
    parts = [vega.mark("rect", channels, color=palette.accent, stroke=palette.paper, strokeWidth=1)]
    partly = bool(np.any((shares > 0) & (shares < 1)))
    if partly and shares.shape[1] <= _LABELLED:
        ink = {"condition": {"test": "datum.share > 0.7", "value": palette.paper}, "value": palette.ink}
        parts.append(vega.mark("text", {"x": x, "y": y, "text": vega.name("text"), "color": ink}, fontSize=10))
    row = max(_ROW, 24 if len(names) < 8 else 0)
    return vega.layers(parts, _WIDTH, row * len(names), values)


def _read(cells: Sequence[Standing]) -> _Plans | None:
    """The plans of a model's cells; ``None`` if there are none."""
    found: dict[float, list[Execution]] = {}
    for cell in cells:
        if plans_of := _first_plans(cell):
            found[cell.row.result.cell.budget] = plans_of
    if not found:
        return None
    language = cells[0].row.result.language
    if language is not None:
        return _Plans(_Shape(language.stack.layers, language.stack.heads), found)
    layers = [layer for plans_of in found.values() for plan in plans_of for layer in plan.layers]
    return _Plans(_Shape(1 + max(w.layer for w in layers), max(1, *(w.heads for w in layers))), found)


def _first_plans(cell: Standing) -> list[Execution]:
    """The plans of a cell's first records; where its result tells of none, only if the first one has some."""
    records = islice(cell.row.journal.records(), _MOST)
    found = [plan for one in islice(records, 1) for plan in _plans(one)]
    if found or cell.row.result.spending:
        found += [plan for one in records for plan in _plans(one)]
    return found


def _plans(found: Record) -> list[Execution]:
    """What ran for each input of a record that tells it."""
    return [cost.ran for cost in found.costs if cost.ran]


def _grid(every: Sequence[Execution], shape: _Shape) -> Grid:
    """What ran of each block: [executions, blocks, parts]."""
    grid = np.zeros((len(every), shape.blocks, len(_PARTS)))
    for row, execution in enumerate(every):
        for work in execution.layers:
            grid[row, work.layer] = 1.0, work.heads / shape.heads, work.mlp
    return grid


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that are short and told apart."""
    cut = [shown(name, 20) for name in names]
    return [f"{name} #{cut[:place].count(name) + 1}" if cut.count(name) > 1 else name for place, name in enumerate(cut)]
