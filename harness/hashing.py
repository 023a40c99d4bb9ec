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

_CODE = ("harness", "tasks", "models", "adapters")


def canonical_json(value: Any) -> bytes:
    """Return the one UTF-8 JSON text of a value: sorted keys, no blanks, tuples as lists.

    Raises:
        ValueError: A float is not finite, a key is no string, or a type is not JSON's; the message names the place.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise ValueError(_fault(value, "value") or str(error)) from error


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
    """Return the hash of an array's type, shape and content, the same on machines of either byte order."""
    import numpy as np

    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return sha256_hex(little.dtype.str.encode(), str(little.shape).encode(), little.tobytes())


def image_digest(image: Image) -> str:
    """Return the hash of a PIL image's mode, size and pixels."""
    return sha256_hex(image.mode.encode(), str(image.size).encode(), image.tobytes())


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


def _fault(value: Any, place: str) -> str:
    """Say where a value stops being JSON; empty if it does not."""
    if isinstance(value, dict):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            return f"{place} has the key {wrong!r}, which is no text"
        return next(filter(None, (_fault(item, f"{place}.{key}") for key, item in value.items())), "")
    if isinstance(value, list | tuple):
        return next(filter(None, (_fault(item, f"{place}[{i}]") for i, item in enumerate(value))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place} is {value}, which is no finite number"
    if value is None or isinstance(value, bool | int | float | str):
        return ""
    return f"{place} is a {type(value).__name__}, which JSON cannot hold"
