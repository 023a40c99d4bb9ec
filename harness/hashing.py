"""Hashing values so that equal things have equal digests on every platform."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from PIL.Image import Image

_CONTAINERS = (dict, list, tuple)
_LEAVES = frozenset((type(None), bool, int, float, str))
_CODE = ("harness", "tasks", "models", "adapters")


def canonical_json(value: Any, name: str = "value") -> bytes:
    """Return the one UTF-8 JSON text of a value: sorted keys, no blanks, tuples as lists.

    Half of a surrogate pair, which UTF-8 cannot hold, is written as JSON's escape, so that any text can be stored.

    Args:
        value: What to write.
        name: What messages call it.

    Raises:
        ValueError: A float is not finite, a key is not a string, or a type is not JSON's; the message names the place.
    """
    try:
        try:
            text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        except (ValueError, TypeError) as error:
            raise ValueError(_fault(value, name) or str(error)) from error
        if isinstance(value, _CONTAINERS) and not _keys_are_text(value):
            raise ValueError(_fault(value, name))
    except RecursionError as error:
        raise ValueError(f"{name} holds itself, or is nested too deeply") from error
    return text.encode("utf-8", "backslashreplace")


def sha256_hex(*parts: bytes) -> str:
    """Return the SHA-256 of parts, each with its length before it, so that no two lists of parts run together."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, read in pieces."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def array_digest(array: npt.NDArray[Any]) -> str:
    """Return the hash of an array's type, shape and content, the same on machines of either byte order.

    Raises:
        ValueError: It holds Python objects.
    """
    import numpy as np

    if array.dtype.hasobject:
        raise ValueError("an array of Python objects has no digest")
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return sha256_hex(little.dtype.str.encode(), str(little.shape).encode(), little.tobytes())


def image_digest(image: Image) -> str:
    """Return the hash of a PIL image's mode, size, pixels and, if it has one, palette."""
    palette = image.getpalette()
    colours = () if palette is None else (bytes(palette),)
    return sha256_hex(image.mode.encode(), str(image.size).encode(), image.tobytes(), *colours)


@functools.cache
def package_source_digest() -> str:
    """Return the hash of the package's code that can change an answer: harness, tasks, models and adapters."""
    root = Path(__file__).resolve().parent.parent
    files = sorted(
        (path.relative_to(root).as_posix(), path) for folder in _CODE for path in (root / folder).rglob("*.py")
    )
    return sha256_hex(
        *(part for name, path in files for part in (name.encode(), path.read_bytes().replace(b"\r\n", b"\n")))
    )


def _keys_are_text(value: Iterable[Any]) -> bool:
    """Whether every key is a string: `json` would write a number as one, and two values would have one text."""
    pending = [value]
    for items in pending:
        if isinstance(items, dict):
            if not all(isinstance(key, str) for key in items):
                return False
            items = items.values()  # noqa: PLW2901 - its keys are fine
        if not _LEAVES.issuperset(map(type, items)):  # as those of most lists do, ten times as fast
            pending += [item for item in items if isinstance(item, _CONTAINERS)]
    return True


def _fault(value: Any, place: str) -> str:
    """Say where a value stops being JSON; empty if it does not."""
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            return f"{place} has the key {wrong[0]!r}, which is not text"
        return next(filter(None, (_fault(item, f"{place}.{key}") for key, item in value.items())), "")
    if isinstance(value, list | tuple):
        return next(filter(None, (_fault(item, f"{place}[{i}]") for i, item in enumerate(value))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place} is {value}, which is not finite"
    if value is None or isinstance(value, bool | int | float | str):
        return ""
    return f"{place} is a {type(value).__name__}, which JSON cannot hold"
