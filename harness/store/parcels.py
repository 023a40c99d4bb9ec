"""Cells of a run as a value, for a machine that does not share the file system: they go there and come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from .files import disk_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..results import CellId
    from .run import RunDirectory, Session

_LAST = "result.json"
"""Whoever sees it sees a complete cell."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Some cells of a run.

    Attributes:
        cells: By their keys.
        files: Path below the run -> content, of the cells and of what their tasks had kept.
        failures: Why the last attempts at cells failed.
        sessions: Those that made them, as far as is known.
    """

    cells: Mapping[str, CellId] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    failures: Mapping[CellId, str] = field(default_factory=dict)
    sessions: tuple[Session, ...] = ()


def pack(run: RunDirectory, cells: Collection[CellId]) -> Parcel:
    """Read cells, as far as they were done; an empty parcel if the run has none of them.

    Raises:
        UserError: A file cannot be read.
    """
    if not run.started:
        return Parcel()
    manifest, failures = run.manifest(), run.failures()
    keys = {key: cell for key, cell in manifest.cells.items() if cell in cells}
    folders = [run.journal(key).folder for key in keys]
    paths = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.name[0] != "."]
    paths += [run.path / name for name in manifest.attached]
    with disk_errors(run.path, "read"):
        files = {path.relative_to(run.path).as_posix(): path.read_bytes() for path in paths if path.is_file()}
    failed = {cell: why for cell, why in failures.items() if cell in cells}
    return Parcel(keys, files, failed, manifest.sessions)


def unpack(run: RunDirectory, parcel: Parcel) -> None:
    """Write cells, but for those that are complete by now.

    Raises:
        UserError: A file cannot be written.
    """
    known = {session.id for session in run.manifest().sessions} if run.started else set()
    for session in parcel.sessions:
        if session.id not in known:
            run.begin(session)
    run.note(parcel.cells)
    for key in parcel.cells:
        journal = run.journal(key)
        journal.acquire(wait=True)
        try:
            if not journal.ended:
                own = [name for name in parcel.files if name.startswith(f"cells/{key}/")]
                for name in sorted(own, key=lambda name: name.endswith(_LAST)):
                    write_atomic(run.path / name, parcel.files[name])
        finally:
            journal.release()
    for name, content in parcel.files.items():
        if not name.startswith("cells/"):
            run.attach(name, partial(write_atomic, data=content))
    for cell in parcel.cells.values():
        run.note_attempt(cell, parcel.failures.get(cell, ""))
