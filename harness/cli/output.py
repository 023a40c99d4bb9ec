"""Writing to standard output: JSON for programs, aligned columns for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence


def write_json(value: Any) -> None:
    """Write one JSON document, in ASCII so that every terminal and pipe can carry it."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def write_columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> None:
    """Write rows as aligned columns, of which the last may be long. Control characters are shown escaped."""
    shown = [[printable(text) for text in row] for row in rows]
    if not shown:
        return
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)]
        typer.echo((indent + "  ".join([*cells, row[-1]])).rstrip())


def printable(text: str) -> str:
    """Return a text with its control characters escaped: what a file or a model says must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
