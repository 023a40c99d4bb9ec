"""The dissertation's results tables as data: one CSV a table, and an index that says what is odd about each.

The dissertation is Zhuoyan Xu, "Towards Better Foundation Models: Theory and Methods for Adaptation and Deployment",
University of Wisconsin-Madison, 2026; the tables were read from a text conversion of it.

Values are transcribed as printed, never corrected: the note of a table in ``tables/index.csv`` names what looks like a
misprint or is ambiguous in the conversion. Labels are as printed too, less citations and
footnote marks, their levels joined by `` | ``: row labels from left to right, column headings from top to bottom. A row
with "w/" or "+" belongs to the base above it: ``LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-7B | 85``. A printed dash is a cell
without a value; a blank is not a cell.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from ...harness.errors import UserError
from ...harness.specs import did_you_mean


@dataclass(frozen=True, slots=True)
class PublishedCell:
    """A printed cell.

    Args:
        row: The row's label.
        column: The column's label.
        value: The number in `unit`; None where the table prints a dash; the text of a text table.
        spread: The number printed after a plus-minus sign or in parentheses, in `unit`: the half-width of a 95 %
            interval for images, a standard deviation over five splits for language.
        unit: ``%``, ``TFLOPs``, ``ms``, ``score`` (a number other than a share) or ``text``.
        printed: The cell as printed, markup removed.
    """

    row: str
    column: str
    value: float | str | None
    spread: float | None
    unit: str
    printed: str


def tables() -> list[str]:
    """Return the names of the tables, such as ``5.1`` and ``A.12``, in the order of the dissertation."""
    return [line["table"] for line in _lines("index.csv")]


def read(table: str) -> list[PublishedCell]:
    """Return the cells of a table, row by row.

    Raises:
        UserError: There is no such table.
    """
    known = tables()
    if table not in known:
        raise UserError(
            f"no published table '{table}'{did_you_mean(table, known)}", todo=f"choose one of {', '.join(known)}"
        )
    return [_cell(line) for line in _lines(f"table-{table}.csv")]


def _lines(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader((files(__package__) / "tables" / file).read_text(encoding="utf-8").splitlines()))


def _cell(line: dict[str, str]) -> PublishedCell:
    value = line["value"] if line["unit"] == "text" else _number(line["value"])
    return PublishedCell(line["row"], line["column"], value, _number(line["spread"]), line["unit"], line["printed"])


def _number(text: str) -> float | None:
    return float(text) if text else None
