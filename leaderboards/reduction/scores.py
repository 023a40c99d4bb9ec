"""Published scores of methods that can be run here, beside those of a run on the board.

Only where the sources say what was measured: GQA's accuracy, POPE's F1 in the copied lineage, and MME's perception.
Budgets are what the sources mean by them: tokens that enter the language model, for FastV and DART those after block 2,
and for SparseVLM those of its lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...harness.hooks import PublishedScore
from .printed import WHOLE, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE = "llava:llava-hf/llava-1.5-7b-hf"
_METHODS = {
    "DART": "+dart(beside=true,keep={keep})",
    "DivPrune": "+divprune(keep={keep})",
    "FastV": "+fastv(k=2,keep={keep})",
    "HiRED": "+hired(keep={keep})",
    "SparseVLM v1": "+sparsevlm(target={keep})",
    "VisPruner": "+vispruner(keep={keep})",
    "VisionZip": "+visionzip(contextual={merged},dominant={dominant})",
    WHOLE: "",
}
_DOMINANT = {"192": 162, "128": 108, "64": 54}
"""Tokens that VisionZip keeps of its budget, the CLS token among them; it merges the rest."""


class _Measured(NamedTuple):
    table: str
    column: str
    task: str
    metric: str


_MEASURED = (
    *(_Measured(table, "GQA", "gqa", "accuracy") for table in ("lineage", "restore-1", "eadp-1")),
    _Measured("lineage", "POPE", "pope", "F1"),
    _Measured("eadp-1", "MME-P", "mme", "perception"),
)


def published_scores() -> Iterator[PublishedScore]:
    """The scores of the models that can be run here."""
    for measured in _MEASURED:
        for row in tables()[measured.table].rows:
            value = row.value(measured.column)
            if row.method in _METHODS and value is not None:
                dominant = _DOMINANT.get(row.keep, 0)
                merged = int(row.keep) - dominant
                method = _METHODS[row.method].format(keep=row.keep, dominant=dominant, merged=merged)
                yield PublishedScore(
                    model=_BASE + method,
                    task=measured.task,
                    metric=measured.metric,
                    value=value,
                    source=f"{row.source}, {row.lineage}",
                )
