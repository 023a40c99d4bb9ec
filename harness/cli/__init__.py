"""The command ``adaptbench``. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import sys

from ..errors import UserError

INTERRUPTED = 130


def main() -> None:
    """Run the command line; a `UserError` is one line on standard error and exit status 2."""
    from .app import app

    arguments = [
        argument for argument in sys.argv[1:] if argument != "--debug"
    ]  # it may stand before or after the command
    debugging = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments)
    except UserError as error:
        if debugging:
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on where it stopped\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader has gone, as in `adaptbench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
