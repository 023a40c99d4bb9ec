"""A run: the directory that holds the records of its cells and a manifest.

``manifest.json`` says which cells belong to the run and in which sessions they were made, ``plan.json`` which cells
were asked for, started or not, and which reports answer that, ``failures.json`` which cells failed; ``cells/<key>/``
holds a cell, ``features/`` what encoders computed, ``episodes/`` the episode manifests, ``index.sqlite`` an index that
can be rebuilt. Several processes may work on one run directory: they share it cell by cell.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from ..errors import UserError
from ..hashing import sha256_file
from ..results import SCHEMA_VERSION, CellId, FailedCell
from .documents import read_document, write_document
from .features import FeatureStore
from .files import disk_errors, make_folder
from .journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Session(BaseModel):
    """One process that worked on a run."""

    model_config = ConfigDict(frozen=True)

    id: str
    started: str
    """UTC, ISO 8601."""
    command: str
    environment: dict[str, Any]
    """Hardware, versions and git revision (see `harness.measure.hardware`)."""
    kernels: dict[str, str] = {}
    """What computed its answers (see `hardware.kernels`); empty if it computed none."""


class Manifest(BaseModel):
    """``manifest.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    created: str
    sessions: tuple[Session, ...] = ()
    cells: dict[str, CellId] = {}
    """Key -> cell, in the order of the cells, whichever process was first. When a cell is run again under other
    conditions, its new key takes the place of the old one."""
    attached: dict[str, str] = {}
    """File that a task had kept, such as its episodes -> SHA-256."""
    kernels: dict[str, dict[str, str]] = {}
    """Key -> kernels, of cells that were computed by others than another session's: see `Session.kernels`."""


class Planned(BaseModel):
    """``plan.json``."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    cells: tuple[CellId, ...] = ()
    """All that any command asked of this run, started or not, in the order of asking."""
    reports: tuple[str, ...] = ()
    """Reports that answer what its suites ask."""


class Failures(BaseModel):
    """``failures.json``."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    cells: tuple[FailedCell, ...] = ()
    """Cells whose last attempt failed."""


class RunDirectory:
    """One run on disk.

    Args:
        path: The directory; created by `begin`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._known: tuple[tuple[int, ...], Manifest] | None = None
        """The manifest as it was read or written last, and the stamp of its file."""

    @classmethod
    def existing(cls, path: str | Path) -> RunDirectory:
        """Open a run that is there already."""
        run = cls(path)
        if not run.started:
            meant = Path("runs", path)
            todo = f"did you mean {meant}?" if (meant / "manifest.json").is_file() else "`adaptbench run` makes one"
            raise UserError("not a run directory: it has no manifest.json", where=str(path), todo=todo)
        return run

    @classmethod
    def within(cls, path: str | Path) -> list[RunDirectory]:
        """Open a run, or all runs below a folder, by their paths. A run is what holds a manifest, whatever its name.

        Raises:
            UserError: There is no run.
        """
        found = [] if (Path(path) / "manifest.json").is_file() else list(_runs_below(Path(path)))
        return found or [cls.existing(path)]

    @property
    def _manifest_path(self) -> Path:
        return self.path / "manifest.json"

    @property
    def started(self) -> bool:
        """Whether there is a manifest."""
        return self._manifest_path.is_file()

    def manifest(self) -> Manifest:
        """Read the manifest.

        Raises:
            UserError: It cannot be read, or the run was made by a version that stores something else.
        """
        stamp = self._stamp()
        if self._known is None or self._known[0] != stamp:
            todo = "restore it, or choose another run directory"
            manifest = read_document(self._manifest_path, Manifest, todo)
            if manifest is None:
                raise UserError("there is no manifest", where=str(self._manifest_path), todo=todo)
            self._known = stamp, manifest
        return self._known[1]

    def _stamp(self) -> tuple[int, ...]:
        """What tells whether another process has written the manifest: each time, that is another file."""
        try:
            stat = self._manifest_path.stat()
        except OSError:  # reading it will say why
            return ()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def begin(self, session: Session) -> None:
        """Create the directory if need be and note a session."""
        make_folder(self.path)
        self._update(lambda m: m.model_copy(update={"sessions": (*m.sessions, session)}), created=session.started)

    def compute_with(self, kernels: Mapping[str, str], session: str) -> list[dict[str, str]]:
        """Note the kernels that a session computes with, and return those of the other sessions."""
        sessions = list(self.manifest().sessions)
        place = max(place for place, other in enumerate(sessions) if other.id == session)
        own = sessions.pop(place)
        if own.kernels != kernels:
            now = own.model_copy(update={"kernels": dict(kernels)})
            self._update(
                lambda m: m.model_copy(update={"sessions": (*m.sessions[:place], now, *m.sessions[place + 1 :])})
            )
        return [other.kernels for other in sessions]

    def note_kernels(self, key: str, kernels: Mapping[str, str]) -> None:
        """Note what computed a cell, as sessions of this run have different kernels."""
        if self.manifest().kernels.get(key) != kernels:
            self._update(lambda m: m.model_copy(update={"kernels": {**m.kernels, key: dict(kernels)}}))

    def claim(self, key: str, cell: CellId) -> Journal:
        """Note a cell in the manifest and return its journal."""
        if self.manifest().cells.get(key) != cell:
            self.note({key: cell})
        return self.journal(key)

    def note(self, cells: Mapping[str, CellId]) -> None:
        """Note cells in the manifest, by their keys; each takes the place of the same cell under another key."""
        self._update(lambda m: m.model_copy(update={"cells": _with(m.cells, cells)}))

    def ask_for(self, cells: Iterable[CellId], reports: Iterable[str] = ()) -> None:
        """Note what a command asks for, so that a run that was stopped can tell how much is left, and its reports."""
        make_folder(self.path)
        with disk_errors(self.path), FileLock(self.path / ".lock"):
            if not self.started:
                self._refuse_strangers()
            known = self._planned()
            asked = Planned(
                cells=tuple(dict.fromkeys((*known.cells, *cells))),
                reports=tuple(dict.fromkeys((*known.reports, *reports))),
            )
            if asked != known:
                write_document(self.path / "plan.json", asked)

    def planned(self) -> tuple[CellId, ...]:
        """What was asked of this run; of a run of an earlier version, what it began.

        Raises:
            UserError: The file cannot be read.
        """
        return tuple(dict.fromkeys((*self._planned().cells, *self.manifest().cells.values())))

    def reports(self) -> tuple[str, ...]:
        """The reports that answer what its suites ask.

        Raises:
            UserError: The file cannot be read.
        """
        return self._planned().reports

    def _planned(self) -> Planned:
        todo = "remove the file and run the same command again"
        return read_document(self.path / "plan.json", Planned, todo) or Planned()

    def failures(self) -> dict[CellId, str]:
        """Why the last attempts at cells failed.

        Raises:
            UserError: The file cannot be read.
        """
        found = read_document(self.path / "failures.json", Failures, "remove the file and run the same command again")
        return {} if found is None else {failed.cell: failed.reason for failed in found.cells}

    def note_attempt(self, cell: CellId, failure: str = "") -> None:
        """Note that an attempt at a cell failed, or, without a reason, that it did not."""
        if not failure and cell not in self.failures():
            return
        with disk_errors(self.path), FileLock(self.path / ".lock"):
            known = {**self.failures(), cell: failure}
            left = tuple(FailedCell(cell=one, reason=why) for one, why in known.items() if why)
            write_document(self.path / "failures.json", Failures(cells=left))

    def journal(self, key: str) -> Journal:
        """The journal of a cell."""
        return Journal(self.path / "cells" / key)

    def journals(self) -> list[Journal]:
        """The journals of the run's cells, in the order of the cells: model, task, budget, seed."""
        return [self.journal(key) for key in self.manifest().cells]

    def features(self, encoder: str) -> FeatureStore:
        """The features of an encoder."""
        return FeatureStore(self.path / "features", encoder)

    def attach(self, name: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` make the file ``name`` below the run, unless that was done before.

        Raises:
            UserError: The file is not what was written.
        """
        path = self.path / name
        with disk_errors(self.path), FileLock(self.path / ".lock"):
            manifest = self.manifest()
            if name in manifest.attached and path.exists():
                self._check_attached(name, manifest.attached[name])
                return
            make_folder(path.parent)
            write(path)
            attached = dict(sorted({**manifest.attached, name: sha256_file(path)}.items()))
            self._write(manifest.model_copy(update={"attached": attached}))

    def changed(self) -> Iterator[UserError]:
        """Yield what is wrong with each file that a task had kept and that is not what was written."""
        for name, digest in self.manifest().attached.items():
            try:
                self._check_attached(name, digest)
            except UserError as error:
                yield error

    def _check_attached(self, name: str, digest: str) -> None:
        path = self.path / name
        with disk_errors(path, "read"):
            if sha256_file(path) != digest:
                todo = "restore it, or move it away and run the same command again"
                raise UserError("it was damaged or edited", where=str(path), todo=todo)

    def _write(self, manifest: Manifest) -> None:
        manifest = manifest.model_copy(update={"schema_version": SCHEMA_VERSION})
        write_document(self._manifest_path, manifest)
        self._known = self._stamp(), manifest

    def _update(self, change: Callable[[Manifest], Manifest], created: str = "") -> None:
        with disk_errors(self.path), FileLock(self.path / ".lock"):
            if self.started:
                manifest = self.manifest()
            else:
                self._refuse_strangers()
                manifest = Manifest(name=self.path.resolve().name, created=created)
            self._write(change(manifest))

    def _refuse_strangers(self) -> None:
        """Refuse to make a run of a folder that holds something; a run killed at its very start left only dot files."""
        names = [path.name for path in self.path.iterdir() if path.name[0] != "." and path.name != "plan.json"]
        if "cells" in names:
            raise UserError(
                "the folder holds cells but no manifest.json",
                where=str(self.path),
                todo="put it back, or choose another --out and copy cells/ and features/ there",
            )
        if names:
            raise UserError(
                "the folder is not empty and not a run directory", where=str(self.path), todo="choose another --out"
            )


def _runs_below(folder: Path) -> Iterator[RunDirectory]:
    """The runs below a folder; what is in a run is not looked through."""
    for path, names, files in os.walk(folder):
        if "manifest.json" in files and _is_manifest(Path(path, "manifest.json")):
            names.clear()
            yield RunDirectory(path)
        names.sort()


def _is_manifest(path: Path) -> bool:
    """Whether a file is a run's, and not another tool's of the same name."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.keys() >= {"schema_version", "cells"}


def _with(known: Mapping[str, CellId], cells: Mapping[str, CellId]) -> dict[str, CellId]:
    """The cells with some more, or under other keys than before, in their order."""
    new = set(cells.values())
    kept = {key: cell for key, cell in known.items() if cell not in new} | dict(cells)
    return dict(sorted(kept.items(), key=lambda item: (item[1].model, item[1].task, item[1].budget, item[1].seed)))
