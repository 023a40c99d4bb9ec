"""Hashing values so that equal things have equal digests on every platform."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

_TEXT = frozenset((str,))
_LEAVES = frozenset((type(None), bool, int, str))
_TYPES = _LEAVES | {float, dict, list, tuple}
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
        text = _quick_json(value)
        if text is None:
            if fault := _fault(value, name):
                raise ValueError(fault)
            long = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            text = long.encode("utf-8", "backslashreplace")
    except RecursionError as error:
        raise ValueError(f"{name} holds itself, or is nested too deeply") from error
    return text


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


def _quick_json(value: Any) -> bytes | None:
    """Return the text as msgspec writes it, in a tenth of the time; ``None`` if `json` would write another or none."""
    import msgspec

    try:
        text = msgspec.json.encode(value, order="sorted")
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return None
    pending: list[Any] = [[value]]
    seen = set()
    for items in pending:
        if type(items) is dict:
            if not _TEXT.issuperset(map(type, items)):
                return None
            items = items.values()  # noqa: PLW2901 - its keys are fine
        if _LEAVES.issuperset(map(type, items)):  # as those of most lists are
            continue
        for item in items:
            kind = type(item)
            if kind not in _TYPES or (kind is float and item and not 1e-4 <= abs(item) < 1e16):  # exponents differ
                return None
            if kind is not float and kind not in _LEAVES and id(item) not in seen:
                seen.add(id(item))  # as what was parsed often is the output itself
                pending.append(item)
    return text


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
