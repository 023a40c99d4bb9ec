"""The verdict as one table: for the terminal, and as Markdown for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..columns import columns, printable
from ..markdown import markdown_table, plain

if TYPE_CHECKING:
    from .verdict import Finding, Verdict

HEADS = ("check", "cell", "base", "head", "reason", "")
_MARKS = {"fail": "FAILED", "refused": "cannot be judged", "pass": "ok"}
_MOST_BYTES = 900_000
"""GitHub drops the whole summary of a step that is larger than 1 MiB; rows are left out before that."""


def rows(verdict: Verdict) -> list[list[str]]:
    """Return the findings as texts, what does not pass first."""
    return [_row(finding) for finding in verdict.in_order]


def _row(finding: Finding) -> list[str]:
    mark = _MARKS[finding.status]
    texts = (finding.kind, finding.cell, finding.base, finding.head, f"{mark}: {finding.code}", finding.detail)
    return [printable(text) for text in texts]


def text(verdict: Verdict) -> str:
    """Return the verdict as a table of plain text."""
    return "\n".join([printable(verdict.headline), *columns([list(HEADS), *rows(verdict)])])


def markdown(verdict: Verdict) -> str:
    """Return the verdict as GitHub-flavoured Markdown, small enough for the summary of a step."""
    sign = "✅" if verdict.exit_code == 0 else "❌"
    head = f"### {sign} {plain(printable(verdict.headline))}\n\n"
    notes = "".join(f"- {plain(printable(note))}\n" for note in verdict.notes)
    kept: list[list[str]] = []
    size = len((head + notes).encode())
    for row in rows(verdict):
        escaped = [plain(text) for text in row]
        size += sum(len(text.encode()) + 3 for text in escaped) + 2
        if size > _MOST_BYTES:
            break
        kept.append(escaped)
    left = len(verdict.findings) - len(kept)
    more = f"\n{left} more rows are left out: they would not fit into a summary.\n" if left else ""
    table = markdown_table(HEADS, kept) + "\n" if kept else ""
    return f"{head}{table}{more}\n{notes}"
