"""Tables of hundreds of rows: the page shows the first ones, and its script makes all of them from plain values.

As elements, the 48,000 rows of a board of 200 models, 40 tasks and 6 budgets would keep a browser busy for a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..harness.texts import all_printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .wording import Cell, TableRow

LONG = 200
"""Rows, up to which a table is written whole."""
FIRST = 25
"""Rows that are written of a longer one."""


def written(rows: Sequence[TableRow]) -> Sequence[TableRow]:
    """The rows that a page has as elements."""
    return rows if len(rows) <= LONG else rows[:FIRST]


def packed(rows: Sequence[TableRow]) -> dict[str, Any]:
    """All rows of a long table for the script: each hint once, and a cell without what it does not have.

    Returns:
        ``hints``: texts. ``rows``: name, whether it stands aside, cells, and in a task's table the rank with what it is
        sorted by, remarks, and which of them is the reason that it has no rank. A cell is its text, what it is sorted
        by, the place of its hint or -1, its note, and whether it is the best.
    """
    hints: dict[str, int] = {}

    def short(cell: Cell) -> list[Any]:
        hint = hints.setdefault(cell.hint, len(hints)) if cell.hint else -1
        found = [cell.text, cell.order, hint, cell.note, int(cell.best)]
        empty = ["", "", -1, "", 0]
        while len(found) > 1 and found[-1] == empty[len(found) - 1]:
            found.pop()
        return found

    found = [
        [row.name, int(row.aside), [short(cell) for cell in row.cells]]
        + ([[row.rank.text, row.rank.order], row.remarks, row.reason] if row.rank.text else [])
        for row in rows
    ]
    shown: dict[str, Any] = all_printable({"hints": list(hints), "rows": found})
    return shown
