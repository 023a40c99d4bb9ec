"""Averages as printed, computed again by the rule that gives most of them.

A rule is a mean of ratios to the whole model's row, in %, or a mean of scores, each over what it is divided by.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from .printed import AVERAGE, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .printed import PrintedRow

_SIX = ("VQAv2", "GQA", "SQA", "TextVQA", "MME", "MMB")
_TEN = (*_SIX, "VizWiz", "POPE", "MMB-CN", "OCRB")


class Rule(NamedTuple):
    """How an average is made.

    Attributes:
        scores: Task -> what its score is divided by; empty for ratios to the whole model.
    """

    columns: Sequence[str]
    scores: Mapping[str, float] = {}

    @property
    def text(self) -> str:
        """In words."""
        if not self.scores:
            return f"mean of {len(self.columns)} ratios"
        scaled = ", ".join(f"{name}/{by:g}" for name, by in self.scores.items() if by != 1)
        return f"mean of {len(self.columns)} scores, {scaled}"

    def average(self, row: PrintedRow, whole: PrintedRow) -> float | None:
        """Return what the rule makes of a row; ``None`` if a cell of it has no number."""
        own, base = ([one.value(column) for column in self.columns] for one in (row, whole))
        by = [self.scores.get(column, 1.0) for column in self.columns] if self.scores else base
        parts = [a / b for a, b in zip(own, by, strict=True) if a is not None and b]
        if len(parts) < len(self.columns):
            return None
        return (1 if self.scores else 100) * statistics.fmean(parts)


class Recomputed(NamedTuple):
    """An average beside what it comes to.

    Attributes:
        where: The table that prints it.
    """

    where: str
    row: PrintedRow
    rule: Rule
    printed: float
    found: float

    @property
    def agrees(self) -> bool:
        """Whether it is the printed one, rounded as that is."""
        return abs(self.found - self.printed) <= 0.05 + 1e-9


RULES = {
    "restore-1": Rule(("VQAv2", "GQA", "SQA", "TextVQA", "POPE", "MME", "MMB", "SEED")),
    "eadp-1": Rule(("VQAv2", "GQA", "SQA", "TextVQA", "POPE", "MME-P", "MMB", "MMB-CN", "MMVet"), {"MME-P": 20}),
    "mmtok-3": Rule(("GQA", "MMB", "MME", "POPE", "TextVQA")),
    "restore-3": Rule(("MMB", "MME", "POPE", "SQA", "TextVQA")),
    "dart-4": Rule(("GQA", "MMB", "MME", "POPE", "SQA", "TextVQA")),
}
"""Table -> the rule."""
_ELSEWHERE = (
    ("TwigVLM Table 1", ("64", "SparseVLM v1"), Rule(_SIX), 89.9),
    ("DART Table 1", ("192", "PDrop"), Rule(_TEN), 96.7),
    ("DART Table 1", ("64", "HiRED"), Rule(_TEN), 87.0),
)
"""Averages that tables print which are not here; the scores are those of the copied lineage."""


class Unknown(NamedTuple):
    """Averages of a table that cannot be computed again here.

    Attributes:
        which: What is printed of them, as far as it is at hand.
    """

    where: str
    which: str
    why: str


UNKNOWN = (
    Unknown("MMTok Table 1", "none at hand", "of its nine ratios that to MMMU (36.3) is not here"),
    Unknown("V2Drop Table 1", "none at hand", "neither its six scores nor its averages are here"),
    Unknown("TwigVLM Table 1", "all but one", "only the average that does not follow was noted"),
    Unknown("TwigVLM Table 3", "95.2 and 97.2", "seven of its twelve columns are here; their means are 95.1 and 97.3"),
    Unknown("DART Table 1", "FitPrune, ToMe", "cells are missing, so that nothing is printed"),
    Unknown("DART Table 1", "all but two", "only the averages that do not follow were noted"),
    Unknown("DART Table 4", "DART at 33.3 %", "its TextVQA and its average could not be read"),
    Unknown("S2Prune Table 1", "15", "averages alone are here"),
    Unknown("IDPruner Table 1", "10", "averages alone are here"),
)
"""In the order of their tables. RESTORE's Table 2 and DiffPrune's Table 3 are here without averages."""


def recomputed() -> Iterator[Recomputed]:
    """Compute every average again that can be."""
    known = tables()
    for name, rule in RULES.items():
        table, whole = known[name], known[name].whole
        for row in table.rows:
            printed, found = row.value(AVERAGE), rule.average(row, whole) if whole else None
            if printed is not None and found is not None and row is not whole:
                yield Recomputed(row.source, row, rule, printed, found)
    table = known["lineage"]
    for where, place, rule, printed in _ELSEWHERE:
        row, whole = table.row(*place), table.whole
        found = rule.average(row, whole) if whole else None
        if found is not None:
            yield Recomputed(where, row, rule, printed, found)
