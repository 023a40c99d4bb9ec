"""What a comparison shows, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...harness.cards import Metric
from .. import wording
from ..wording import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...harness.comparison import Comparison, CostRatio, MetricComparison, TaskComparison
    from ...harness.results import CellId

MARKS = {"better": "▲", "worse": "▼", "different": "≠", "not told apart": "=", "not comparable": "–"}
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
        "Of a paired test, adjusted for all rows of the table together (Holm): of right and wrong answers McNemar's "
        "exact test, of other scores a paired t test, or sign flips where few samples differ. Up to 0.05, better or "
        "worse is said.",
    ),
    (
        "Other metrics",
        "Those of a task after its first one, by which it ranks. Of what is not a mean over samples, such as an F1, "
        "interval and p are of a paired bootstrap: the same samples are drawn for both.",
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
    """A row of a table: one cell of the candidate against one of the baseline.

    Attributes:
        names: Task and model, and of another metric than the first one its name.
        cells: Numbers.
        notes: What its reader must know, such as why a cost is not compared.
    """

    names: tuple[str, ...]
    verdict: str
    cells: list[Cell]
    notes: list[str]

    @property
    def texts(self) -> list[str]:
        """The row as text."""
        return [*self.names, f"{MARKS[self.verdict]} {self.verdict}", *(cell.text for cell in self.cells)]


class Table(NamedTuple):
    """A table.

    Attributes:
        title: Its heading.
        names: Heads of the names.
        numbers: Heads of the numbers.
    """

    title: str
    names: tuple[str, ...]
    numbers: list[str]
    lines: list[Line]

    @property
    def heads(self) -> list[str]:
        """All heads."""
        return [*self.names, "verdict", *self.numbers]

    @property
    def notes(self) -> list[str]:
        """What is noted of its rows, each note once."""
        return list(dict.fromkeys(note for line in self.lines for note in line.notes))


def facts(comparison: Comparison) -> list[str]:
    """What came of it, in a few words."""
    verdicts = [task.verdict for task in comparison.tasks]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in MARKS if verdict in verdicts]
    return [wording.counted(len(verdicts), "comparison"), *counts]


def tables(comparison: Comparison) -> list[Table]:
    """The first metrics with all costs, and where there are any, the other metrics."""
    found = [_first_metrics(comparison), _other_metrics(comparison)]
    return [table for table in found if table.lines]


def _first_metrics(comparison: Comparison) -> Table:
    """What matters most comes first: differences, costs, scores."""
    costs = list(dict.fromkeys(cost.name for task in comparison.tasks for cost in task.costs if cost.ratio is not None))
    near, far = [[name for name in costs if (name in _NEAR) == wanted] for wanted in (True, False)]
    numbers = ["difference", "p", *near, "retained", "baseline", "candidate", "lost", "gained", "detectable", *far]
    lines = [_line(task, near, far) for task in comparison.tasks]
    return Table("Differences and costs", ("task", "model"), numbers, lines)


def _other_metrics(comparison: Comparison) -> Table:
    lines = []
    for task in comparison.tasks:
        names = named(task.candidate)
        for other in task.others:
            reasons = _apart([(other.metric.name, other.refused)])
            lines.append(Line((*names, wording.with_unit(other.metric)), other.verdict, _scores(other), reasons))
    return Table("Other metrics", ("task", "model", "metric"), ["difference", "p", "baseline", "candidate"], lines)


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
    difference, p, *scores = _scores(task)
    cells = [
        difference,
        p,
        *(_cost(own.get(name)) for name in near),
        Cell(wording.estimate(task.retained, _SHARE)),
        *scores,
        *(Cell(wording.MISSING if task.refused else f"{len(ids):,}") for ids in (task.flips.lost, task.flips.gained)),
        Cell(_detectable(task)),
        *(_cost(own.get(name)) for name in far),
    ]
    reasons = _apart((cost.name, cost.reason) for cost in task.costs)
    notes = [note for note in (task.refused, *task.notes, *reasons) if note]
    return Line(named(task.candidate), task.verdict, cells, notes)


def _scores(compared: MetricComparison) -> list[Cell]:
    """Difference, p and both scores."""
    difference, p, metric = compared.difference, compared.p, compared.metric
    return [
        Cell(wording.estimate(difference, metric, "+"), hint=difference.method if difference else ""),
        Cell(wording.p_value(compared.p_adjusted), hint="" if p is None else f"{p:.3g} before the adjustment"),
        Cell(wording.estimate(compared.baseline_score, metric)),
        Cell(wording.estimate(compared.candidate_score, metric)),
    ]


def _apart(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """What is not compared, by the reason, from names with their reasons."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        if reason:
            names.setdefault(reason, []).append(name)
    return [f"{wording.listed(some)} not compared: {reason}" for reason, some in names.items()]


def _detectable(task: TaskComparison) -> str:
    if task.detectable is None:
        return wording.MISSING
    return f"{wording.scale(task.metric) * task.detectable:.3g}"


def _cost(cost: CostRatio | None) -> Cell:
    if cost is None:
        return Cell(wording.MISSING)
    both = " to ".join(wording.si(value, cost.unit) for value in (cost.baseline, cost.candidate))
    return Cell(wording.ratio(cost.ratio), hint=cost.reason or both)
