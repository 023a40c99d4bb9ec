"""Markdown that shows every text as it is, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .texts import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\|`*_[]#~"} | {"<": "&lt;", "&": "&amp;", "\n": " ", "\r": " "})


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table of GitHub-flavoured Markdown; the rows are escaped, columns in ``numbers`` are right-aligned."""
    rule = ["---:" if column in numbers else "---" for column in range(len(heads))]
    lines = [[plain(head) for head in heads], rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return printable(text).translate(_SPECIAL)
