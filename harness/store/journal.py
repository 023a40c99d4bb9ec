"""The journal of one cell: its records, appended batch by batch, and its result, written last.

Order of writing: records (fsynced), then ``timing.json`` and ``end-to-end.json``, then ``result.json``. Whoever sees a
``result.json`` sees a complete cell. A kill between two bytes leaves at most one torn last line, which is cut off when
the cell is resumed.

A line is a record as JSON, with a field ``check`` at its end: the CRC-32 of the name of the cell's folder, which is its
key, and the text before the field. So a damaged line is found, and one of another cell, before a cell is complete too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import zlib
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ..contracts import Record
from ..errors import UserError
from ..hashing import canonical_json, sha256_file
from ..prefill_cost import PrefillCost
from ..results import END_TO_END, CellResult, Timing
from .documents import read_document, write_document
from .files import append, disk_errors, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FIELDS = {field.name for field in dataclasses.fields(Record)}
_TAIL = b',"check":"%08x"}\n'
_TAIL_LENGTH = len(_TAIL % 0)
_CHANGED = "it was changed by hand or written by another version; move the folder away and run again"


class Journal:
    """The folder of one cell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "records.jsonl"

    @functools.cached_property
    def _own(self) -> int:
        """What checksums begin with."""
        return zlib.crc32(self.folder.name.encode())

    @functools.cached_property
    def _lock(self) -> FileLock:
        return FileLock(self.folder / ".lock")

    def acquire(self, *, wait: bool = False) -> bool:
        """Claim the cell for this process; ``False`` if another process works on it. A killed process lets go of it.

        Args:
            wait: Wait until the other process is done.
        """
        make_folder(self.folder)
        with disk_errors(self.folder):
            try:
                self._lock.acquire(timeout=-1 if wait else 0)
            except Timeout:  # an OSError too
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
        with disk_errors(self.path, "read"):
            data = self.path.read_bytes()
        lines = data.split(b"\n")[:-1]  # what follows the last line feed is torn
        keep = len(lines) if len(lines) == total else len(lines) - len(lines) % chunk
        safe = sum(len(line) + 1 for line in lines[:keep])
        if safe < len(data):
            with disk_errors(self.path), self.path.open("r+b") as stream:
                stream.truncate(safe)
        return list(self.records())

    def records(self) -> Iterator[Record]:
        """Read the records.

        Raises:
            UserError: A line is not a record; the message names it.
        """
        if not self.path.exists():
            return
        with disk_errors(self.path, "read"), self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    record = _record(line, self._own)
                except (ValueError, TypeError) as error:
                    raise UserError(
                        f"line {number} is not a record: {error}", where=str(self.path), todo=self._advice
                    ) from error
                yield record

    def append(self, records: Sequence[Record]) -> None:
        """Add records; on return they are on disk.

        Raises:
            UserError: A record holds what JSON cannot, such as NaN; or the disk is full: then none of them is added.
        """
        append(self.path, b"".join(_line(record, self._own) for record in records))

    def finish(self, result: CellResult, timing: Timing | None, end_to_end: Timing | None = None) -> None:
        """Complete the cell.

        Args:
            result: What it came to.
            timing: What was timed.
            end_to_end: The same inputs from beginning to end, where ``timing`` is of a part.
        """
        for name, timed in (("timing", timing), ("end-to-end", end_to_end)):
            if timed is not None:
                write_document(self.folder / f"{name}.json", timed)
        write_document(self.folder / "result.json", result)

    def digest(self) -> str:
        """SHA-256 of the records, as ``result.json`` states it."""
        return sha256_file(self.path)

    @property
    def ended(self) -> bool:
        """Whether there is a result, which may be damaged."""
        return (self.folder / "result.json").exists()

    def result(self) -> CellResult | None:
        """The result, or ``None`` while the cell is not complete."""
        return read_document(self.folder / "result.json", CellResult, _CHANGED)

    def timing(self) -> Timing | None:
        """What was timed, or ``None``."""
        return read_document(self.folder / "timing.json", Timing, _CHANGED)

    def end_to_end(self, timing: Timing | None) -> Timing | None:
        """What was timed from beginning to end, or ``None``; ``timing``, what was timed, where it is that."""
        found = read_document(self.folder / "end-to-end.json", Timing, _CHANGED)
        return timing if found is None and timing is not None and timing.way == END_TO_END else found

    def check(self) -> CellResult | None:
        """Return the result; raise a `UserError` unless the records are those that it was made from."""
        result = self.result()
        if result is not None and (not self.path.exists() or self.digest() != result.records_sha256):
            raise UserError(
                "the records are not those that result.json was made from",
                where=str(self.path),
                todo=self._advice,
            )
        return result

    @property
    def _advice(self) -> str:
        return f"move the folder {self.folder.name} away and run the same command again"


def _line(record: Record, own: int) -> bytes:
    try:
        fields = {name: getattr(record, name) for name in _FIELDS}
        fields["costs"] = [cost.to_json() for cost in record.costs]
        body = canonical_json(fields, "record")[:-1]
    except ValueError as error:
        raise UserError(str(error), where=f"sample {record.sample}", todo="fix the task or the model") from error
    return body + _TAIL % zlib.crc32(body, own)


def _record(line: bytes, own: int) -> Record:
    body = line[:-_TAIL_LENGTH]
    # Earlier versions left the cell's key out.
    if line[-_TAIL_LENGTH:] not in (_TAIL % zlib.crc32(body, own), _TAIL % zlib.crc32(body)):
        raise ValueError("it does not have its checksum, so it was damaged or changed by hand, or is of another cell")
    fields = json.loads(body + b"}")
    if set(fields) != _FIELDS:
        raise ValueError("its fields are not those of a record")
    fields["costs"] = tuple(map(PrefillCost.from_json, fields["costs"]))
    return Record(**fields)
