"""Aligned columns of text, in which nothing steers a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Return rows as lines of aligned columns, of which the last may be long. Control characters are shown escaped."""
    shown = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    padded = [[*(text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)), row[-1]] for row in shown]
    return [f"{indent}{'  '.join(row)}".rstrip() for row in padded]


def printable(text: str) -> str:
    """Return a text with its control characters escaped: what a file or a model says must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
