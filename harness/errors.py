"""The one error that a user is meant to read."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
"""Where an object is in memory, which is different each time."""


class UserError(Exception):
    """Something the user can fix: what went wrong, where, and what to do about it.

    The command line prints it as one line and exits with status 2; the traceback shows only with ``--debug``.

    Args:
        what: What is wrong, as a sentence without its full stop. Addresses of objects are left out of it, so that what
            is recorded is the same each time.
        where: The file, option or name that it is about.
        todo: What to do next, in the imperative.
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        what = _ADDRESS.sub("", what)
        self.what, self.where, self.todo = what, where, todo
        place = f"{where}: " if where else ""
        advice = f"; {todo}" if todo else ""
        super().__init__(" ".join(f"{place}{what}{advice}".split()))


class DiskError(UserError):
    """A file cannot be read or written, as on a disk that is full: what comes next would fare no better."""


class BadSample(UserError):
    """One input cannot be used, such as an image that is cut off: its sample is not scored, and the run goes on."""


class MissingArgument(UserError):
    """A factory needs an argument that it was not given: nothing is wrong with what it makes."""
