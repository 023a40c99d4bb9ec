"""What tables have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import wording
from ..wording import Cell

if TYPE_CHECKING:
    from ...harness.cards import Metric
    from ...harness.results import Estimate


def score_cell(score: Estimate | None, metric: Metric) -> Cell:
    """A score with its interval."""
    if score is None:
        return Cell(wording.MISSING)
    return Cell(wording.estimate(score, metric), score.value, hint=score.method)
