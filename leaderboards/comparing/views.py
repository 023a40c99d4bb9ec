"""What a comparison shows, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...harness.cards import Metric
from .. import wording
from ..wording import Cell

if TYPE_CHECKING:
    from ...harness.comparison import Comparison, CostRatio, TaskComparison
    from ...harness.results import CellId

MARKS = {"better": "▲", "worse": "▼", "not told apart": "=", "not comparable": "–"}
"""Every verdict with its mark, which tells it without colour."""
_SHARE = Metric(name="retained")
_NEAR = ("FLOPs", "time")
"""Costs that are shown beside the difference."""
HOW_TO_READ = (
    (
        "Difference",
        "Candidate minus baseline on the same samples, with its 95 % interval. Scores that are shares have intervals "
        "that stay between 0 and 100 % and account for samples that belong together, such as questions on one image.",
    ),
    (
        "p",
        "Of a paired test, adjusted for all rows together (Holm): of right and wrong answers McNemar's exact test, of "
        "other scores a paired t test, or sign flips where few samples differ. Better and worse are said up to 0.05.",
    ),
    ("Retained", "The candidate's score as a share of the baseline's; none where the baseline's is near zero."),
    (
        "Detectable",
        "The least difference that this many samples show with a chance of 90 %, if both models err independently. "
        "A row that is not told apart says no more than that the difference is hardly larger.",
    ),
    ("Costs", "Candidate over baseline. Times count only if both were measured alike, in one session on one machine."),
    ("Lost, gained", "Samples on which the candidate scores lower, and higher, than the baseline."),
)


class Line(NamedTuple):
    """A row of the table: one cell of the candidate against one of the baseline.

    Attributes:
        cells: Numbers, under the heads of the `Table`.
        notes: What its reader must know, such as why a cost is not compared.
    """

    task: str
    model: str
    verdict: str
    cells: list[Cell]
    notes: list[str]

    @property
    def texts(self) -> list[str]:
        """The row as text."""
        return [self.task, self.model, f"{MARKS[self.verdict]} {self.verdict}", *(cell.text for cell in self.cells)]


class Table(NamedTuple):
    """The table."""

    heads: list[str]
    lines: list[Line]


def facts(comparison: Comparison) -> list[str]:
    """What came of it, in a few words."""
    verdicts = [task.verdict for task in comparison.tasks]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in MARKS if verdict in verdicts]
    return [wording.counted(len(verdicts), "comparison"), *counts]


def table(comparison: Comparison) -> Table:
    """All rows, what matters most first: differences, costs, scores."""
    costs = list(dict.fromkeys(cost.name for task in comparison.tasks for cost in task.costs if cost.ratio is not None))
    near, far = [[name for name in costs if (name in _NEAR) == wanted] for wanted in (True, False)]
    numbers = ["difference", "p", *near, "retained", "baseline", "candidate", "lost", "gained", "detectable", *far]
    lines = [_line(task, near, far) for task in comparison.tasks]
    return Table(["task", "model", "verdict", *numbers], lines)


def named(cell: CellId) -> tuple[str, str]:
    """Task and model of a cell."""
    return wording.seeded(cell.task, cell.seed), wording.budgeted(cell.model, cell.budget)


def unpaired(comparison: Comparison) -> list[list[str]]:
    """What has no partner: side, task, model and the reason."""
    return [[one.side, *named(one.cell), one.reason] for one in comparison.unpaired]


def score_name(comparison: Comparison) -> str:
    """The metric, where all rows have the same."""
    names = {wording.with_unit(task.metric) for task in comparison.tasks}
    return names.pop() if len(names) == 1 else "score"


def _line(task: TaskComparison, near: list[str], far: list[str]) -> Line:
    own = {cost.name: cost for cost in task.costs}
    flips, difference = task.flips, task.difference
    cells = [
        Cell(wording.estimate(difference, task.metric, "+"), hint=difference.method if difference else ""),
        Cell(wording.p_value(task.p_adjusted), hint="" if task.p is None else f"{task.p:.3g} before the adjustment"),
        *(_cost(own.get(name)) for name in near),
        Cell(wording.estimate(task.retained, _SHARE)),
        Cell(wording.estimate(task.baseline_score, task.metric)),
        Cell(wording.estimate(task.candidate_score, task.metric)),
        *(Cell(wording.MISSING if task.refused else f"{len(ids):,}") for ids in (flips.lost, flips.gained)),
        Cell(_detectable(task)),
        *(_cost(own.get(name)) for name in far),
    ]
    apart: dict[str, list[str]] = {}
    for cost in task.costs:
        if cost.reason:
            apart.setdefault(cost.reason, []).append(cost.name)
    reasons = [f"{wording.listed(names)} not compared: {reason}" for reason, names in apart.items()]
    notes = [note for note in (task.refused, *task.notes, *reasons) if note]
    return Line(*named(task.candidate), task.verdict, cells, notes)


def _detectable(task: TaskComparison) -> str:
    if task.detectable is None:
        return wording.MISSING
    return f"{wording.scale(task.metric) * task.detectable:.3g}"


def _cost(cost: CostRatio | None) -> Cell:
    if cost is None:
        return Cell(wording.MISSING)
    both = " to ".join(wording.si(value, cost.unit) for value in (cost.baseline, cost.candidate))
    return Cell(wording.ratio(cost.ratio), hint=cost.reason or both)
