"""Models over many runs: what changed from one to the next, by date and git revision.

``adaptbench report RUNS --table history`` writes it as a table, ``adaptbench figure history RUNS`` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.comparison import compare_cells
from ..harness.errors import UserError
from ..harness.stats import holm
from . import wording
from .collect import collect
from .study import Number, Study, Table, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.cards import Metric
    from ..harness.comparison import TaskComparison
    from ..harness.outputs import ReportRequest
    from ..harness.results import CellId
    from ..harness.store import RunDirectory
    from .collect import Row
    from .study import Item

_NOTES = (
    "Runs are in the order in which they began. A change is against the run before it that has the same model, budget, "
    "task and seed: paired sample by sample, with its 95 % interval. It is called better or worse if its p value, "
    "adjusted for all changes on this page (Holm), is at most 0.05.",
    "A revision is that of the git folder in which the run was started; -dirty: with uncommitted changes. Times "
    "of different runs were measured in different sessions, so they show no small change.",
)


class Entry(NamedTuple):
    """A cell in one run.

    Attributes:
        number: Of the run, from 1, the oldest first.
        change: Since the entry before; ``None`` for the first.
    """

    number: int
    row: Row
    change: TaskComparison | None

    @property
    def date(self) -> str:
        """When its session began, in UTC, to the minute."""
        session = self.row.session
        return (session.started if session else self.row.run.manifest.created)[:16].replace("T", " ")

    @property
    def revision(self) -> str:
        """The git revision; empty if it is not known."""
        session = self.row.session
        return str(session.environment.get("git_revision", "")) if session else ""


@dataclass(frozen=True, slots=True)
class Series:
    """A model at a budget on a task over the runs that have it, the oldest first."""

    cell: CellId
    metric: Metric
    entries: Sequence[Entry]

    @property
    def model(self) -> str:
        """Its spec, with the budget."""
        return wording.budgeted(self.cell.model, self.cell.budget)

    @property
    def task(self) -> str:
        """The task, with the seed of its samples."""
        return wording.seeded(self.cell.task, self.cell.seed)


def histories(directories: Sequence[RunDirectory]) -> list[Series]:
    """The cells of some runs, each over all runs that have it.

    Raises:
        UserError: A manifest cannot be read, or no cell is complete.
    """
    found: dict[CellId, list[Entry]] = {}
    runs = sorted(directories, key=lambda run: (run.manifest().created, str(run.path)))
    for number, run in enumerate(runs, 1):
        for row in collect([run]).rows:
            before = found.setdefault(row.result.cell, [])
            change = compare_cells(before[-1].row.stored, row.stored) if before else None
            before.append(Entry(number, row, change))
    if not found:
        raise UserError("no cell of these runs is complete", todo="run them again, or name other runs")
    cells = sorted(found, key=lambda cell: (cell.task, cell.seed, cell.model, cell.budget))
    adjusted = iter(holm([e.change.p for cell in cells for e in found[cell] if e.change and e.change.p is not None]))
    return [
        Series(
            cell,
            found[cell][-1].row.result.task_card.metrics[0],
            [
                e._replace(change=e.change.model_copy(update={"p_adjusted": next(adjusted)}))
                if e.change and e.change.p is not None
                else e
                for e in found[cell]
            ],
        )
        for cell in cells
    ]


def history(request: ReportRequest) -> str:
    """Return the tables: one for each task.

    Raises:
        UserError: There is no complete cell.
    """
    found = histories(request.runs)
    tables = []
    for task in dict.fromkeys(series.task for series in found):
        own = [series for series in found if series.task == task]
        score = wording.with_unit(own[0].metric)
        heads = ["model", "began, UTC", "revision", "run", score, "change", "verdict", "FLOPs", "time"]
        tables.append(Table(task, "", heads, [_row(series, entry) for series in own for entry in series.entries]))
    runs, models = {entry.number for series in found for entry in series.entries}, {series.model for series in found}
    counts = ((runs, "run"), (models, "model"), (tables, "task"))
    facts = [", ".join(wording.counted(len(these), noun) for these, noun in counts)]
    values = [_value(series, entry) for series in found for entry in series.entries]
    return render(Study("History", facts, tables, _NOTES, values), request.form)


def _row(series: Series, entry: Entry) -> list[Item]:
    result, timing = entry.row.result, entry.row.timing
    flops = result.flops.value if result.flops else None
    seconds = timing.median / timing.inputs if timing else None
    return [
        series.model,
        entry.date,
        entry.revision or wording.MISSING,
        entry.row.run.name,
        Number(wording.estimate(result.metrics.get(series.metric.name), series.metric)),
        Number(wording.change(entry.change.difference if entry.change else None, series.metric)),
        _verdict(entry.change),
        Number(wording.si(flops, "FLOP")),
        Number(wording.si(seconds, "s")),
    ]


def _verdict(change: TaskComparison | None) -> str:
    if change is None:
        return "first"
    return f"{change.verdict}: {change.refused}" if change.refused else change.verdict


def _value(series: Series, entry: Entry) -> dict[str, Any]:
    """A row for programs."""
    result, timing, change = entry.row.result, entry.row.timing, entry.change
    score = result.metrics.get(series.metric.name)
    difference = change.difference if change else None
    return {
        "task": series.cell.task,
        "seed": series.cell.seed,
        "model": series.cell.model,
        "budget": series.cell.budget,
        "run": entry.row.run.name,
        "began": entry.date,
        "revision": entry.revision,
        "metric": series.metric.name,
        "value": score.value if score else None,
        "low": score.low if score else None,
        "high": score.high if score else None,
        "change": difference.value if difference else None,
        "change_low": difference.low if difference else None,
        "change_high": difference.high if difference else None,
        "verdict": _verdict(change),
        "flops": result.flops.value if result.flops else None,
        "seconds": timing.median / timing.inputs if timing else None,
    }
