"""What the code of plugins must leave as it was: the state of the process that all code shares.

Random generators and filters of warnings are not looked at: libraries change them when they are merely imported, and
the engine draws from generators of its own.
"""

from __future__ import annotations

import json
import locale
import logging
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)
_JSON = (
    (json, "dumps"),
    (json, "loads"),
    (json, "JSONEncoder"),
    (json, "JSONDecoder"),
    (json.JSONEncoder, "default"),
    (json.JSONEncoder, "encode"),
    (json.JSONEncoder, "iterencode"),
    (json.JSONDecoder, "decode"),
    (json.JSONDecoder, "raw_decode"),
)
"""What records and results are written and read with."""
_told: set[tuple[str, str]] = set()
"""Who was warned of, and for what: a warning comes once."""


class _State(NamedTuple):
    folder: str
    locale: str
    json: tuple[object, ...]
    threads: frozenset[threading.Thread]

    @classmethod
    def now(cls) -> Self:
        try:
            folder = os.getcwd()  # noqa: PTH109 - a fifth of the time, before each image
        except OSError:  # it was removed
            folder = ""
        functions = tuple([getattr(owner, name) for owner, name in _JSON])
        return cls(folder, locale.setlocale(locale.LC_ALL), functions, frozenset(threading.enumerate()))


@contextmanager
def left_as_it_was(who: str) -> Iterator[None]:
    """Put back what the code within changed of the process, and warn of it: the next code must not suffer for it.

    Args:
        who: Whose code runs: ``model pixels``.
    """
    before = _State.now()
    try:
        yield
    finally:
        _put_back(who, before)


def _put_back(who: str, before: _State) -> None:
    now = _State.now()
    if now.folder != before.folder and before.folder:
        with suppress(OSError):
            os.chdir(before.folder)
            _warn(who, "changed the current folder; it was put back")
    if now.locale != before.locale:
        locale.setlocale(locale.LC_ALL, before.locale)
        _warn(who, "changed the locale; it was put back")
    if now.json != before.json:
        for (owner, name), own in zip(_JSON, before.json, strict=True):
            setattr(owner, name, own)
        _warn(who, "patched the module json; it was put back")
    running = [thread.name for thread in now.threads - before.threads if thread.is_alive() and not thread.daemon]
    if running:
        _warn(who, "left threads running, which keep the process from ending", f": {min(running)}")


def _warn(who: str, what: str, more: str = "") -> None:
    if (who, what) not in _told:
        _told.add((who, what))
        logger.warning("warning: %s %s%s", who, what, more)
