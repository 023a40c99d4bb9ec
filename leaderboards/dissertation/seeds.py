"""``adaptbench report RUN --table seeds``: methods x budgets over several trainings (Tables 3.2, A.13, 5.1-5.3)."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...harness.cards import Metric
from ...harness.errors import UserError
from .. import wording
from ..board import make_board
from ..study import Number, Study, Table, render
from .contrasts import contrast
from .trainings import Place, clusters, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...harness.outputs import ReportRequest
    from ...harness.registry import Registry
    from ...harness.results import Spending
    from ..board import Board
    from ..ranking import Section
    from ..study import Item
    from .contrasts import Contrast
    from .trainings import Group

AVERAGE = "average"
SPREADS = ("range", "deviation")
_SPENT: dict[str, tuple[str, Callable[[Spending], float | None]]] = {
    "flops": ("FLOPs, % of the base model", lambda spent: spent.of_base),
    "success": ("success, %", lambda spent: spent.units.success.value if spent.units else None),
    "utilisation": ("utilisation, %", lambda spent: spent.units.utilisation.value if spent.units else None),
}
"""What was used -> heading, and where a cell tells it."""
INTERVALS = (
    "81.8 ± 4.0 is a mean over trainings and questions or episodes with the half-width of its 95 % t interval; "
    "brackets are the lowest and the highest training, parentheses the standard deviation over trainings. The "
    "interval has two sources of error, whose variances are added up: episodes, or images, by which questions are "
    "clustered, also across tasks that ask about the same ones; and trainings, by the variance of their means. "
    "Degrees of freedom are Satterthwaite's.",
    "What it can cover: another draw of images or episodes, and another seed of the same training. With one training "
    "it covers the draw alone. With two or three, the variance between trainings is itself known by a factor of "
    "several only, which the t quantile pays for by a wide interval. What it cannot: other data, other recipes, "
    "another base.",
)
"""What the intervals of a table over trainings mean."""
_NOTES = (
    *INTERVALS,
    "The average is over the tasks whose metric is a percentage; retained is its share of the base model's. FLOPs are "
    "the language model's, of the base model without any method on the same questions. Success is the share of answers "
    "within the budget and utilisation the mean share of it that was used, both counted in switches; their brackets "
    "are the lowest and the highest training.",
)


class _Row(NamedTuple):
    """A method at a budget.

    Attributes:
        seeds: Trainings that have all of its tasks.
        scored: Task, or the average -> its score, and those of the trainings.
        spent: What was used -> that of the trainings, averaged over tasks; none where the cells do not tell.
    """

    group: Group
    budget: float
    seeds: Sequence[str]
    scored: dict[str, tuple[Contrast, list[float]]]
    spent: dict[str, list[float]]


def seeds(request: ReportRequest, *, spread: str = "range") -> str:
    """Return the table.

    Args:
        request: The runs.
        spread: What is told of the trainings beside their mean: ``range``, or ``deviation`` as in Table A.13.

    Raises:
        UserError: No cell is complete, or there is no such spread.
    """
    if spread not in SPREADS:
        raise UserError(f"there is no spread {spread!r}", where="seeds", todo=f"use {' or '.join(SPREADS)}")
    board = make_board(request.runs, request.plugins)
    return render(seeds_study(board, request.plugins.registry, spread), request.form)


def seeds_study(board: Board, registry: Registry, spread: str = "range") -> Study:
    """The table of a board, without columns that are empty."""
    metrics = {section.title: section.metric for section in board.sections}
    if len(percentages(board.sections)) > 1:
        metrics[AVERAGE] = Metric(name=AVERAGE)
    rows = list(_rows(board.sections, groups(board.sections, registry), AVERAGE in metrics))
    heads = ["model", "budget, %", "trainings"]
    heads += [title if title == AVERAGE else f"{title}: {m.name}" for title, m in metrics.items()]
    heads += ["retained, %", *(head for head, _ in _SPENT.values())]
    headline = AVERAGE if AVERAGE in metrics else next(iter(metrics))
    base = {row.group.model: row for row in rows if not row.group.methods}
    shown: list[list[Item]] = [
        [
            row.group.name,
            Number(f"{100 * row.budget:g}"),
            Number(str(len(row.seeds)) if row.group.methods else wording.MISSING),
            *(_scored(row, place, metric, spread) for place, metric in metrics.items()),
            _retained(row, base.get(row.group.base), headline, metrics[headline]),
            *(_ranged([100 * value for value in values]) for values in row.spent.values()),
        ]
        for row in rows
    ]
    full = [place for place in range(len(heads)) if any(row[place] != Number(wording.MISSING) for row in shown)]
    caption = "Each row: the same trainings on all tasks."
    table = Table("Methods by budget", caption, [heads[i] for i in full], [[row[i] for i in full] for row in shown])
    values = [value for row in rows for value in _values(row)]
    return Study("Over several trainings", facts(board), [table], _NOTES, values)


def facts(board: Board) -> list[str]:
    """What a table is made from."""
    found = [f"run{'s' if len(board.runs) > 1 else ''} {board.title}"]
    for section in board.sections:
        names = clusters([section]).get(section.title, [])
        noun = "clusters" if len(set(names)) < len(names) else ""
        found.append(f"{section.title}: {len(names)} {section.noun}{f' in {len(set(names))} {noun}' if noun else ''}")
    return found


def percentages(sections: Sequence[Section]) -> list[str]:
    """Tasks whose metric is a percentage that is better if it is higher: those may be averaged."""
    return [s.title for s in sections if s.metric.unit == "%" and s.metric.better == "higher"]


def _rows(sections: Sequence[Section], every: Sequence[Group], averaged: bool) -> Iterator[_Row]:
    """Group by group, by falling budget."""
    names = clusters(sections)
    sets = {section.title: [section.title] for section in sections}
    if averaged:
        sets[AVERAGE] = percentages(sections)
    for group in every:
        for budget in group.budgets:
            tasks = [section.title for section in sections if Place(budget, section.title) in group.cells]
            trained = group.trainings([Place(budget, task) for task in tasks])
            if not trained:
                continue
            scored = {}
            for place, members in sets.items():
                if set(members) <= set(tasks):
                    contrasts = [
                        contrast([group.term(budget, members, s)], names) for s in (trained, *([s] for s in trained))
                    ]
                    scored[place] = contrasts[0], [one.value for one in contrasts[1:]]
            yield _Row(group, budget, trained, scored, _spent(group, budget, tasks, trained))


def _spent(group: Group, budget: float, tasks: Sequence[str], seeds: Sequence[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in _SPENT}
    for seed in seeds:
        told = [group.cells[Place(budget, task)][seed].row.result.spending for task in tasks]
        for name, (_, of) in _SPENT.items():
            values = [share for spending in told if spending and (share := of(spending)) is not None]
            if len(values) == len(tasks):
                found[name].append(float(np.mean(values)))
    return found


def _scored(row: _Row, place: str, metric: Metric, spread: str) -> Number:
    if place not in row.scored:
        return Number(wording.MISSING)
    score, each = row.scored[place]
    factor, form = wording.scale(metric), ".1f" if metric.unit == "%" else ".4g"
    half = score.half()
    text = f"{factor * score.value:{form}}" + ("" if half is None else f" ± {factor * half:{form}}")
    if len(each) > 1 and spread == "deviation":
        text += f" ({factor * statistics.stdev(each):{form}})"
    elif len(each) > 1:
        text += f" [{factor * min(each):{form}}, {factor * max(each):{form}}]"
    return Number(text, ", ".join(f"seed {s}: {factor * v:{form}}" for s, v in zip(row.seeds, each, strict=True) if s))


def _retained(row: _Row, base: _Row | None, place: str, metric: Metric) -> Number:
    """A score as a share of the base model's."""
    if base is None or place not in row.scored or place not in base.scored or metric.better != "higher":
        return Number(wording.MISSING)
    (own, _), (whole, _) = row.scored[place], base.scored[place]
    return Number(f"{100 * own.value / whole.value:.1f}" if whole.value > 0 else wording.MISSING)


def _ranged(values: Sequence[float]) -> Number:
    """The mean, and the range where it is wider than what is shown."""
    if not values:
        return Number(wording.MISSING)
    low, mean, high = (f"{value:.1f}" for value in (min(values), float(np.mean(values)), max(values)))
    return Number(mean if low == high else f"{mean} [{low}, {high}]")


def _values(row: _Row) -> Iterator[dict[str, Any]]:
    """For programs: a mapping for each number, in the metric's own unit or as a share."""
    here = {"model": row.group.model, "trained": " ".join(row.group.told_by), "budget": row.budget}
    here["trainings"] = " ".join(row.seeds)
    for place, (score, each) in row.scored.items():
        low, high = score.ends() or (None, None)
        ends = {"low": low, "high": high, "least": min(each), "most": max(each), "clusters": score.images}
        ends["deviation"] = statistics.stdev(each) if len(each) > 1 else None
        yield {**here, "measure": "score", "task": place, "value": score.value, **ends}
    for name, values in row.spent.items():
        if values:
            ends = {"low": None, "high": None, "least": min(values), "most": max(values), "clusters": None}
            ends["deviation"] = statistics.stdev(values) if len(values) > 1 else None
            yield {**here, "measure": name, "task": AVERAGE, "value": float(np.mean(values)), **ends}
