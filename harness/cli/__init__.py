"""The command ``adaptbench``. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from typing import TextIO

    from typer import TyperException

INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    What the user can fix - a `UserError`, a misspelt option, an output that takes nothing - is one line on standard
    error and exit status 2, or a traceback with ``--debug``. Ctrl-C exits with status 130.
    """
    from typer import TyperException

    from ..columns import printable
    from .app import app

    # A stream that is closed is None.
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any text can be shown, whatever the terminal can
    # It may come before or after the command.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debugging = len(arguments) < len(sys.argv) - 1
    try:
        status = app(arguments, prog_name="adaptbench", standalone_mode=False)
        sys.stdout.flush()
    except (UserError, TyperException, OSError) as error:
        if debugging:
            raise
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: {printable(_told(error))}\n")
        status = 2
        if isinstance(error, OSError):  # what is still to be written would fail again at the end of the process
            _discard(sys.stdout)
    if status == INTERRUPTED:
        sys.stderr.write("stopped; the same command goes on where it stopped\n")
    sys.exit(status)


def _told(error: UserError | TyperException | OSError) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        where = error.filename or ("current folder" if _is_lost() else "a file that the system does not name")
        return f"{where}: {error.strerror or error}"
    return _usage(error)


def _is_lost() -> bool:
    """Whether the current folder was removed; an error of it names no file."""
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: TyperException) -> str:
    """Say in a line what is wrong with the options, and where to read about them."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "adaptbench"
    return f"{' '.join(error.format_message().split()).rstrip('.')}; see `{command} --help`"
