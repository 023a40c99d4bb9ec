"""Whose fault it is: what a plugin does wrong becomes one line that names the plugin."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import UserError
from .process_state import left_as_it_was

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


OUTSIDE = (Exception, SystemExit, GeneratorExit)
"""What a plugin's code may raise. Ctrl-C is the user's."""


@contextmanager
def blamed_on(who: str, where: str | Callable[[], str]) -> Iterator[None]:
    """Turn any exception of a plugin's code into a `UserError`, and warn of what it changed of the process.

    Args:
        who: The model or task whose code runs: ``model pixels``.
        where: The cell that it runs for, or nothing; or what returns it when something is wrong.
    """
    try:
        with left_as_it_was(who):
            yield
    except UserError as error:
        place = ", ".join(filter(None, (_place(where), error.where)))
        raise type(error)(error.what, where=place, todo=error.todo) from error
    except OUTSIDE as error:
        raise UserError(
            f"{who} failed with {told(error)}",
            where=_place(where),
            todo="fix it and run the same command again (--debug shows the traceback)",
        ) from error


def _place(where: str | Callable[[], str]) -> str:
    return where if isinstance(where, str) else where()


def told(error: BaseException, *, whole: bool = False) -> str:
    """An exception in a line: its type, and the first line of what it says, or the whole, if that can be had."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - a plugin's own ``__str__``
        lines = ["its message cannot be shown"]
    said = " ".join(lines if whole else lines[:1])
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
