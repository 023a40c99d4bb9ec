"""What tells that files were changed, without reading them: their names, sizes and times. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Stamp: TypeAlias = tuple[str, int, int]
_CODE = ("harness", "adapters", "models", "tasks", "leaderboards")


def stamps(folder: str | Path, name: str = "") -> Iterator[Stamp]:
    """Name below ``name``, size and time of each file below a folder, caches aside."""
    for entry in os.scandir(folder):
        inner = f"{name}/{entry.name}"
        if not entry.is_dir():
            stat = entry.stat()
            yield inner, stat.st_size, stat.st_mtime_ns
        elif entry.name != "__pycache__":
            yield from stamps(entry.path, inner)


def installed() -> str:
    """Digest of the package and of which other packages there are."""
    root = Path(__file__).parents[1]
    files = sorted(stamp for folder in _CODE for stamp in stamps(root / folder, folder))
    return digest([files, time_of(sysconfig.get_paths()["purelib"]), sys.version])


def time_of(path: str | Path) -> int:
    """When a file or a folder was changed; 0 if it is not there."""
    with suppress(OSError):
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - a path would have to be made of it
    return 0


def digest(value: object) -> str:
    """Hash of what JSON can hold."""
    return sha256(json.dumps(value).encode()).hexdigest()
