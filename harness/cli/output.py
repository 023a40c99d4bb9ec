"""Writing to standard output: JSON for programs, aligned columns for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ..columns import columns, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def echo(text: str | bytes = "", *, err: bool = False, nl: bool = True) -> None:
    """Write a text as it is to standard output or standard error.

    Raises:
        OSError: It takes nothing; unlike Python's, this error names it.
    """
    try:
        typer.echo(text, err=err, nl=nl)
    except OSError as error:
        error.filename = "standard error" if err else "standard output"
        raise


def write_json(value: Any) -> None:
    """Write one JSON document, in ASCII so that every terminal and pipe can carry it."""
    echo(json.dumps(value, indent=1, allow_nan=False))


def say(line: str, *, err: bool = False) -> None:
    """Write a line, its control characters escaped, to standard output or standard error."""
    echo(printable(line), err=err)


def write_columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> None:
    """Write rows as aligned columns, of which the last may be long. Control characters are shown escaped."""
    for line in columns(rows, indent):
        echo(line)
