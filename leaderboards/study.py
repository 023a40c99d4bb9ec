"""Tables over several trainings as files: a page for people, Markdown, and rows for programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..harness.columns import printable
from ..harness.markdown import markdown_table, plain
from .latex import escaped, latex_table
from .offline import environment, policy, text

if TYPE_CHECKING:
    from collections.abc import Sequence

VERDICTS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "not run": "–"}
"""Every verdict with its mark, which tells it without colour."""


_LONGEST = 40
"""Rows of a table that is not folded."""


class Number(NamedTuple):
    """A cell with a number."""

    text: str
    hint: str = ""


class Verdict(NamedTuple):
    """A cell with a verdict."""

    text: str


Item: TypeAlias = "str | Number | Verdict"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        heads: Of the columns.
        rows: Texts, numbers and verdicts.
        aside: Places of rows that others are only held against, such as baselines: quieter on the page.
    """

    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Item]]
    aside: frozenset[int] = frozenset()

    @property
    def long(self) -> bool:
        """Whether the page folds it."""
        return len(self.rows) > _LONGEST

    @property
    def numbers(self) -> list[int]:
        """Columns of numbers."""
        return [place for place in range(len(self.heads)) if any(isinstance(row[place], Number) for row in self.rows)]


@dataclass(frozen=True, slots=True)
class Study:
    """What is written.

    Attributes:
        notes: How to read it, a paragraph each.
        values: The same for programs: one mapping per row.
    """

    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    values: Sequence[dict[str, Any]] = field(default_factory=list)


def render(study: Study, form: str) -> str:
    """Return it as a file of that ending."""
    return {".html": html, ".md": markdown, ".csv": _csv, ".json": _json, ".tex": latex}[form](study)


def markdown(study: Study) -> str:
    """The study as GitHub-flavoured Markdown, with headings one level below a page's own."""
    parts = ["\n".join(f"- {plain(fact)}" for fact in study.facts)]
    for table in study.tables:
        rows = [[plain(cell if isinstance(cell, str) else cell.text) for cell in row] for row in table.rows]
        parts += [f"### {plain(table.title)}", plain(table.caption), markdown_table(table.heads, rows, table.numbers)]
    return "\n\n".join(filter(None, [*parts, *map(plain, study.notes)])) + "\n"


def latex(study: Study) -> str:
    """The tables for a paper, with facts and notes as comments."""
    said = [f"% {printable(text)}" for text in (*study.facts, *study.notes)]
    tables = [
        latex_table(
            table.heads,
            [[escaped(cell if isinstance(cell, str) else cell.text) for cell in row] for row in table.rows],
            table.numbers,
            ". ".join(filter(None, (table.title, table.caption))),
        )
        for table in study.tables
    ]
    return "\n\n".join(["\n".join(said), *tables]) + "\n"


def html(study: Study) -> str:
    """The study as a page that holds all it shows."""
    from markupsafe import Markup

    page: str = (
        environment()
        .get_template("study.html.j2")
        .render(
            css=Markup(text("board.css") + text("study.css")),  # noqa: S704 - our own files
            policy=policy([]),
            study=study,
            kinds={table.title: [_kinds(row) for row in table.rows] for table in study.tables},
            marks=VERDICTS,
        )
    )
    return page


def _kinds(row: Sequence[Item]) -> list[str]:
    return [{Number: "number", Verdict: "verdict"}.get(type(cell), "text") for cell in row]


def _csv(study: Study) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(study.values[0]) if study.values else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(study.values)
    return lines.getvalue()


def _json(study: Study) -> str:
    return json.dumps(list(study.values), indent=1) + "\n"
