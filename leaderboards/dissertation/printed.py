"""What the dissertation prints of its models on pairs (Tables 4.4 and B.2), as lines beside those of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..figures.curves import Curve, Spot
from ..figures.pairs import COMPOSITE, GOLD, SETTINGS
from .published import read

if TYPE_CHECKING:
    from ...harness.cards import Metric
    from ..figures.pairs import Pair

PUBLISHED = "Tables 4.4 and B.2 have A+B, A+C, A+F, B+D, B+E, D+F and G+H by word match"
PRINTED = ", printed"
"""What the names of the dissertation's families end in."""
_TABLES = ("4.4", "B.2")
_TASKS = ("capitalization", "swap", "twosum", "pasttense", "opposite", "plusone", "modular", "twosumplus")
"""The simple tasks A to H as the tables call them, without blanks and in lower case."""
_COMPOSED = {"Compose": COMPOSITE, "Com. in-context": GOLD}
_MIXTURE = {"8x7B": 46.7e9}
"""Sizes that are not what their names say: experts share a part."""


def printed(pair: Pair, metric: Metric) -> list[Curve]:
    """The lines of a pair, a family's as `scale` has them; none if the tables do not have it by this metric.

    What the text calls exact match is `word match` here. A size is what the model is called by: ``70B`` is 70e9.
    """
    letters = pair.kind.partition(",")[0].split("+")
    if metric.name != "word match" or len(letters) != 2:
        return []
    found: dict[tuple[str, str], list[Spot]] = {}
    for cell in (cell for table in _TABLES for cell in read(table)):
        of, _, row = cell.row.partition(" | ")
        if of == "({}) + ({})".format(*letters) and isinstance(cell.value, float):
            name, _, size = cell.column.partition(" | ")
            text = f"{name} {size}{PRINTED}: {cell.printed} %"
            point = Spot(_parameters(size), cell.value, cell.value, cell.value, text)
            found.setdefault((_setting(row, letters), name), []).append(point)
    return [
        Curve(SETTINGS[setting], spots, mark=f"{name}{PRINTED}")
        for setting in SETTINGS
        for (own, name), spots in sorted(found.items())
        if own == setting
    ]


def _setting(row: str, letters: list[str]) -> str:
    """The setting of a row: the tables do not always print the first task first."""
    task = row.replace(" ", "").lower()
    if task not in _TASKS:
        return _COMPOSED[row]
    return list(SETTINGS)[letters.index("ABCDEFGH"[_TASKS.index(task)])]


def _parameters(size: str) -> float:
    return _MIXTURE.get(size) or 1e9 * float(size.removesuffix("B"))
