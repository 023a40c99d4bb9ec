"""The command ``adaptbench``. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import TyperException

INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    What the user can fix - a `UserError`, a misspelt option - is one line on standard error and exit status 2, or a
    traceback with ``--debug``. Ctrl-C exits with status 130.
    """
    from typer import TyperException

    from ..columns import printable
    from ..errors import UserError
    from .app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any text can be shown, whatever the terminal can
    # It may come before or after the command.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debugging = len(arguments) < len(sys.argv) - 1
    try:
        status = app(arguments, prog_name="adaptbench", standalone_mode=False)
    except (UserError, TyperException) as error:
        if debugging:
            raise
        message = str(error) if isinstance(error, UserError) else _usage(error)
        sys.stderr.write(f"error: {printable(message)}\n")
        status = 2
    if status == INTERRUPTED:
        sys.stderr.write("stopped; the same command goes on where it stopped\n")
    sys.exit(status)


def _usage(error: TyperException) -> str:
    """Say in a line what is wrong with the options, and where to read about them."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "adaptbench"
    return f"{' '.join(error.format_message().split()).rstrip('.')}; see `{command} --help`"
