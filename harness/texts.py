"""Texts of strangers, such that any page, table or terminal may hold them."""

from __future__ import annotations

import re
from typing import Any

_UNSHOWN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Controls, marks that turn the direction of what stands around them, and halves of characters."""


def printable(text: str) -> str:
    """A text that any page may hold, with what it may not hold written as an escape."""
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def utf8(text: str) -> bytes:
    """A text as it is written to any file: halves of characters, which UTF-8 cannot hold, as JSON's escapes."""
    return text.encode("utf-8", "backslashreplace")


def all_printable(value: Any) -> Any:
    """The same for every text of a value that JSON can hold."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: all_printable(item) for name, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value
