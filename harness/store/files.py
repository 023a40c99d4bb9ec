"""Writing so that nothing is lost: files appear whole or not at all, and what was appended is on disk."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file may not grow further; raise the limit and run the same command again",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EACCES: "permission denied; choose another --out or change its permissions",
    errno.EPERM: "permission denied; choose another --out or change its permissions",
    errno.ENOTDIR: "a file is where a folder is needed; choose another --out",
    errno.EEXIST: "a file is where a folder is needed; choose another --out",
}


@contextmanager
def disk_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an `OSError` about ``path`` into a `DiskError` that says what to do. What was written before stays."""
    try:
        yield
    except OSError as error:
        todo = _ADVICE.get(error.errno or 0, "fix that and run the same command again; nothing written so far is lost")
        raise DiskError(f"cannot {doing}: {error.strerror or error}", where=str(path), todo=todo) from error


def make_folder(path: Path) -> Path:
    """Create a folder with its parents, and return it; on return it is on disk."""
    if not path.is_dir():
        make_folder(path.parent)
        with disk_errors(path):
            path.mkdir(exist_ok=True)
            _sync_folder(path.parent)
    return path


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole file: readers see the old content or the new one.

    The draft always has the same name, so that a killed process leaves nothing that the next one does not replace.
    Whoever calls this in a folder that processes share holds a lock.

    Args:
        path: The file.
        data: Its new content.
        durable: Whether it must survive a power failure after return.
    """
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        try:
            with draft.open("wb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        if durable:
            _sync_folder(path.parent)


def append(path: Path, data: bytes, *, durable: bool = True) -> int:
    """Append to a file, and return where the data begins. If it does not fit, the file is cut back to what it was.

    Args:
        path: The file.
        data: What to append.
        durable: Whether it must survive a power failure after return.
    """
    with disk_errors(path), path.open("ab", buffering=0) as stream:
        before = stream.seek(0, os.SEEK_END)
        try:
            view = memoryview(data)
            while view:
                view = view[stream.write(view) :]
            if durable:
                os.fsync(stream.fileno())
                if before == 0:
                    _sync_folder(path.parent)
        except OSError:
            if path.is_file():
                stream.truncate(before)
            raise
    return before


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
