"""Published tables of token reduction as data: one CSV per table, and an index that says what is odd about each.

Cells are transcribed as printed, never corrected. A mark behind a number says what is known of it: ``~`` read from
scrambled text, ``*`` of another variant of the task, ``!`` looks exchanged with another cell. ``[?]`` is a value that
is not known, a dash a cell without a value. ``keep`` is what the source calls it: tokens, or a share of them. The
lineage of a row: ``own`` of the method's authors, ``re-run`` by the source, ``copied`` from another paper, ``[?]`` not
known.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AVERAGE = "average"
WHOLE = "none"
"""What the method of a whole model is called."""
_MARKS = "~*!"
_NOTHING = ("-", "[?]")


@dataclass(frozen=True, slots=True)
class PrintedRow:
    """A row.

    Attributes:
        cells: Column -> what is printed.
    """

    keep: str
    method: str
    lineage: str
    source: str
    cells: Mapping[str, str]

    def value(self, column: str) -> float | None:
        """The number in a column; ``None`` if there is none."""
        text = self.cells.get(column, "-")
        return None if text in _NOTHING else float(text.rstrip(_MARKS))


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """A table.

    Attributes:
        model: What all its rows are about.
        note: What must be known to read it.
    """

    name: str
    model: str
    title: str
    note: str
    rows: Sequence[PrintedRow]

    @property
    def columns(self) -> list[str]:
        """What is measured."""
        return list(self.rows[0].cells)

    def row(self, keep: str, method: str) -> PrintedRow:
        """The row of a method, the first of several."""
        return next(row for row in self.rows if (row.keep, row.method) == (keep, method))

    @property
    def whole(self) -> PrintedRow | None:
        """The row of the whole model; ``None`` if it is not printed."""
        return next((row for row in self.rows if row.method == WHOLE and row.keep != "0"), None)


@functools.cache
def tables() -> dict[str, PrintedTable]:
    """The tables by name, in the order of the index."""
    return {
        line["table"]: PrintedTable(line["table"], line["model"], line["title"], line["note"], _rows(line["table"]))
        for line in lines("index")
    }


def lines(name: str) -> list[dict[str, str]]:
    """The lines of a file."""
    text = (files(__package__) / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _rows(name: str) -> list[PrintedRow]:
    return [
        PrintedRow(line.pop("keep"), line.pop("method"), line.pop("lineage"), line.pop("source"), line)
        for line in lines(name)
    ]
