"""The rows of a JSON file, made one at a time: its text is in memory whole, its rows are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.reading import json_value, read_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from msgspec import Raw


def json_rows(path: Path, columns: Any = Any) -> Iterator[tuple[str, dict[str, Any]]] | None:
    """Yield the items of a list, or of the lists of an object that holds rows, each with its place for messages.

    Args:
        path: The file.
        columns: A ``TypedDict``: what else is in a row is not made, which saves time. A row that does not fit it is
            made whole.

    Returns:
        ``None`` if the file is something else: an object of names, JSON lines, or not JSON.

    Raises:
        UserError: The file cannot be read; from the iterator, a row is not JSON to Python, or no object.
    """
    raws = _split(read_bytes(path))
    return None if raws is None else _made(raws, path, columns)


def _split(data: bytes) -> list[Raw] | None:
    """The texts of the rows."""
    import msgspec

    try:
        content = msgspec.json.decode(data, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
        if isinstance(content, list):
            return content
        lists = [msgspec.json.decode(text, type=list[msgspec.Raw]) for text in content.values() if _begins(text, b"[")]
    except (msgspec.MsgspecError, RecursionError):
        return None
    rows = [row for items in lists for row in items]
    return rows if len(lists) == 1 or (lists and all(_begins(row, b"{") for row in rows)) else None


def _begins(text: Raw, mark: bytes) -> bool:
    return memoryview(text)[:1] == mark


def _made(raws: list[Raw], path: Path, columns: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    import msgspec

    decode, file = msgspec.json.Decoder(columns).decode, str(path)
    for number, raw in enumerate(raws, 1):
        place = f"{file}, item {number}"
        try:
            row = decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # it does not fit, or Python alone may read it
            row = json_value(bytes(raw), place)
        yield place, checked_row(row, place)


def checked_row(row: Any, place: str) -> dict[str, Any]:
    """Return a row, which must be an object.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(row, dict):
        raise UserError(f"{shown(row)} is not an object", where=place, todo="write one object per prediction")
    return row
