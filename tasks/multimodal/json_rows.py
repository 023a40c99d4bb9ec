"""The rows of a large JSON file one at a time, so that neither the text nor the rows are in memory whole."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
"""Characters read at a time, at first; a value that does not end within them is read in ever larger pieces."""
_MOST_OBJECTS = 8
"""A file that begins with more named objects than this has no list of rows: it is an object of rows."""


def streamed(stream: TextIO) -> Iterator[Any]:
    """Yield the items of a list, or of all lists in an object that begin with an object; nothing if it is neither.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    text = _Text(stream)
    if text.next() == "[":
        yield from text.items()
    elif text.next() == "{":
        yield from _of_object(text)


def _of_object(text: _Text) -> Iterator[Any]:
    objects = found = 0
    for _ in text.members():
        kind = text.next()
        if kind == "[":
            items = text.items()
            first = next(items, None)
            if isinstance(first, dict):
                found += 1
                yield first
                yield from items
            else:
                deque(items, maxlen=0)
        else:
            text.value()
            objects += kind == "{"
            if objects > _MOST_OBJECTS and not found:
                return


class _Text:
    """A JSON text that is read as far as it is asked for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._size = stream, _CHUNK
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder()

    def next(self) -> str:
        """The next character that is not blank, which stays; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """Take the next value."""
        self.next()
        self._size = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():  # a number may go on
                continue
            self._at = end
            return value

    def items(self) -> Iterator[Any]:
        """Take a list, item by item."""
        return (self.value() for _ in self._parts("[", "]"))

    def members(self) -> Iterator[str]:
        """Take an object name by name; the value of each is to be taken before the next name."""
        for _ in self._parts("{", "}"):
            name = self.value()
            self._take(":")
            yield name

    def _parts(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.next() != closing:
            yield
            while self.next() == ",":
                self._take(",")
                yield
        self._take(closing)

    def _take(self, mark: str) -> None:
        if self.next() != mark:
            raise json.JSONDecodeError(f"Expecting {mark!r}", self._text, self._at)
        self._at += 1

    def _more(self) -> bool:
        chunk = self._stream.read(self._size)
        self._text, self._at = self._text[self._at :] + chunk, 0
        self._size *= 2
        return bool(chunk)
