"""The journal of one cell: its records, appended batch by batch, and its result, written last.

Order of writing: records (fsynced), then ``timing.json``, then ``result.json``. Whoever sees a ``result.json`` sees a
complete cell. A kill between two bytes leaves at most one torn last line, which is cut off when the cell is resumed.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from ..contracts import Record
from ..errors import UserError
from ..hashing import canonical_json, sha256_file
from ..results import CellResult, Timing
from .files import append, disk_errors, make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FIELDS = {field.name for field in dataclasses.fields(Record)}
_Stored = TypeVar("_Stored", bound=BaseModel)


class Journal:
    """The folder of one cell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "records.jsonl"
        self._lock = FileLock(folder / ".lock")

    def acquire(self, *, wait: bool = False) -> bool:
        """Claim the cell for this process; ``False`` if another process works on it. A killed process lets go of it.

        Args:
            wait: Wait until the other process is done.
        """
        make_folder(self.folder)
        try:
            with disk_errors(self.folder):
                self._lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let go of the cell."""
        self._lock.release()

    def resume(self, chunk: int, total: int) -> list[Record]:
        """Return the records that are safe, in order, and cut off what a kill left behind them.

        Besides a torn last line, that is an incomplete chunk: samples are answered and scored together with their
        chunk, so it is done again whole, which makes a resumed cell equal to an uninterrupted one.

        Args:
            chunk: Records that are appended together.
            total: Records of the whole cell; its last chunk may be short.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines(keepends=True)
        whole = sum(line.endswith(b"\n") for line in lines)
        keep = whole if whole == total else whole - whole % chunk
        if keep < len(lines):
            with disk_errors(self.path), self.path.open("r+b") as stream:
                stream.truncate(sum(map(len, lines[:keep])))
        return list(self.records())

    def records(self) -> Iterator[Record]:
        """Read the records.

        Raises:
            UserError: A line is not a record; the message names it.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield _record(json.loads(line))
                except (ValueError, TypeError) as error:
                    raise UserError(
                        f"line {number} is not a record: {error}",
                        where=str(self.path),
                        todo=f"move the folder {self.folder.name} away and run the same command again",
                    ) from error

    def append(self, records: Sequence[Record]) -> None:
        """Add records; on return they are on disk."""
        lines = (canonical_json(dataclasses.asdict(record)) + b"\n" for record in records)
        append(self.path, b"".join(lines))

    def finish(self, result: CellResult, timing: Timing | None) -> None:
        """Complete the cell."""
        if timing is not None:
            write_atomic(self.folder / "timing.json", _pretty(timing))
        write_atomic(self.folder / "result.json", _pretty(result))

    def digest(self) -> str:
        """SHA-256 of the records, as ``result.json`` states it."""
        return sha256_file(self.path)

    def result(self) -> CellResult | None:
        """The result, or ``None`` while the cell is not complete."""
        return _read(self.folder / "result.json", CellResult)

    def timing(self) -> Timing | None:
        """What was timed, or ``None``."""
        return _read(self.folder / "timing.json", Timing)

    def check(self) -> None:
        """Raise a `UserError` unless the records are those that the result was made from."""
        result = self.result()
        if result is not None and (not self.path.exists() or self.digest() != result.records_sha256):
            raise UserError(
                "the records are not those that result.json was made from",
                where=str(self.path),
                todo=f"move the folder {self.folder.name} away and run the same command again",
            )


def _record(fields: Any) -> Record:
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise ValueError("its fields are not those of a record")
    return Record(**fields)


def _pretty(model: BaseModel) -> bytes:
    return (json.dumps(model.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read(path: Path, kind: type[_Stored]) -> _Stored | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"not a valid {path.name}: {where} {first['msg']}",
            where=str(path),
            todo="it was changed by hand or written by another version; move the folder away and run again",
        ) from error
