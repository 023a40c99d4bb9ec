"""A complete cell as it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ..results import CellResult, Timing
    from .index import Index, MetricColumn
    from .journal import Journal


@dataclass(frozen=True, slots=True)
class StoredCell:
    """One complete cell.

    Attributes:
        end_to_end: What was timed from beginning to end; ``timing`` itself where that was.
        scores: The metric that ranks, sample by sample.
        index: Of the run.
    """

    journal: Journal
    result: CellResult
    timing: Timing | None
    end_to_end: Timing | None
    scores: MetricColumn
    index: Index

    def column(self, metric: str) -> MetricColumn:
        """Another metric that is a mean over samples, sample by sample."""
        if metric == self.result.task_card.metrics[0].name:
            return self.scores
        with self.index as index:
            return index.scores(self.journal, metric, self.result)

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.journal.folder.parents[1]

    @property
    def whole_timing(self) -> Timing | None:
        """From beginning to end where that was timed, as it is of every model of images; else as it was timed."""
        return self.end_to_end or self.timing

    @property
    def lacks_groups(self) -> bool:
        """Its samples are grouped, but its records, of an earlier version, do not say which belong together."""
        score = self.result.metrics.get(self.result.task_card.metrics[0].name)
        grouped = score is not None and score.method.endswith("groups")
        return grouped and all(group is None for group in self.scores.groups)


def read_cell(journal: Journal, index: Index) -> StoredCell | None:
    """Read a cell; ``None`` while it is not complete.

    Args:
        journal: Of the cell.
        index: Of its run.

    Raises:
        UserError: A file cannot be read, or the records are not those that the result was made from.
    """
    result = journal.check()
    if result is None:
        return None
    scores = index.scores(journal, result.task_card.metrics[0].name, result)
    timing = journal.timing()
    return StoredCell(journal, result, timing, journal.end_to_end(timing), scores, index)
