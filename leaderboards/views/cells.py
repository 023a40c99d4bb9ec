"""What tables have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .. import wording
from ..wording import Cell

if TYPE_CHECKING:
    from ...harness.cards import Metric
    from ...harness.results import Estimate


class TableRow(NamedTuple):
    """A row of the overview or of a task's table; ``aside`` if it has no rank."""

    name: str
    cells: list[Cell]
    aside: bool
    rank: Cell
    remarks: list[str]
    reason: str


def score_cell(score: Estimate | None, metric: Metric) -> Cell:
    """A score with its interval."""
    if score is None:
        return Cell(wording.MISSING)
    return Cell(wording.estimate(score, metric), score.value, hint=score.method)
