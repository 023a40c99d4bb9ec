"""Whether anything changed since a command was last done: nothing heavy is imported to find that nothing is to do.

What is installed is known by the names, sizes and times of files. A false "changed" costs the time of doing the work
again; whatever these cannot tell, such as data that a spec names by a path, counts as changed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from .errors import UserError
from .hashing import canonical_json, sha256_hex
from .results import SCHEMA_VERSION, CellId, CellResult
from .specs import parse, parse_call
from .stamps import installed, stamps
from .store.documents import read_document, write_document
from .store.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .identity import Settings
    from .planning import Request
    from .registry import Kind, Registry
    from .samples import SampleLimit
    from .specs import Call
    from .store import RunDirectory

_CELL = ("records.jsonl", "result.json", "timing.json", "end-to-end.json")
BUILTIN = ("adapters", "leaderboards", "models", "tasks")
"""Owners of what comes with the package."""


class FinishedRun(BaseModel):
    """``.finished.json``: the last command that left nothing to do in a run.

    Attributes:
        asked: Digest of what was asked, and of what is installed.
        cells: Key -> cell, in the order of the plan.
        said: What the plan says besides its cells.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    asked: str
    cells: dict[str, CellId]
    said: tuple[str, ...] = ()


def run_content(run: RunDirectory) -> str:
    """Digest of a run's cells, as far as the sizes and times of its files tell."""
    found = []
    manifest = run.manifest()
    cells = (f"cells/{key}/{part}" for key in manifest.cells for part in _CELL)
    for name in ("manifest.json", "plan.json", *manifest.attached, *cells):
        with suppress(OSError):
            stat = (run.path / name).stat()
            found.append([name, stat.st_size, stat.st_mtime_ns])
    return sha256_hex(canonical_json([str(run.path.resolve()), found]))


def records_size(run: RunDirectory) -> int:
    """Bytes of all records of a run."""
    size = 0
    for key in run.manifest().cells:
        with suppress(OSError):
            size += (run.path / "cells" / key / _CELL[0]).stat().st_size
    return size


def asked_for(registry: Registry, request: Request, settings: Settings, limit: SampleLimit) -> str:
    """Digest of what a run is asked; empty if it depends on more than this package."""
    try:
        specs = [parse(model) for model in request.models]
        calls: list[tuple[Kind, Call]] = [("task", parse_call(task)) for task in request.tasks]
    except (TypeError, UserError):  # Python objects; or planning will say what is wrong
        return ""
    calls += [("model", spec.base) for spec in specs]
    calls += [("method", method) for spec in specs for method in spec.methods]
    if not all(_own(registry, kind, call) for kind, call in calls):
        return ""
    asked = [asdict(request), str(limit), settings.answering(), settings.waive, installed()]
    return sha256_hex(canonical_json(asked))


def finished(run: RunDirectory, asked: str) -> tuple[FinishedRun, tuple[CellResult, ...]] | None:
    """What a run came to, if this was asked of it before and every cell is as it was left; else ``None``."""
    try:
        found = read_document(run.path / ".finished.json", FinishedRun, "") if asked else None
        if found is None or found.asked != asked:
            return None
        journals = [run.journal(key) for key in found.cells]
        for journal in journals:
            journal.check()
        results = tuple(result for journal in journals if (result := journal.result()) is not None)
    except (OSError, UserError):  # running it will say what is wrong
        return None
    return (found, results) if len(results) == len(found.cells) else None


def note_finished(run: RunDirectory, asked: str, said: Iterable[str], results: Iterable[CellResult]) -> None:
    """Remember that nothing is left to do of what was asked."""
    if asked:
        done = FinishedRun(asked=asked, cells={result.key: result.cell for result in results}, said=tuple(said))
        with suppress(UserError, OSError):  # it only saves time
            write_document(run.path / ".finished.json", done)


def note_shown(run: RunDirectory) -> None:
    """Remember that a finished run was asked for again: then it is the one that was worked on last."""
    with suppress(OSError):
        (run.path / ".finished.json").touch()


def last_worked_on(runs: Iterable[RunDirectory]) -> RunDirectory:
    """The run, of one or more, that a command last made or was last asked for."""
    return max(runs, key=lambda run: max(filter(None, _times(run)), default=0))


def _times(run: RunDirectory) -> Iterator[int]:
    for name in ("manifest.json", "plan.json", ".finished.json"):
        with suppress(OSError):
            yield (run.path / name).stat().st_mtime_ns


def is_written(out: Path, runs: Sequence[RunDirectory], asked: str) -> bool:
    """Whether a file or a folder is what was written for this, untouched since."""
    return _reports(runs[0]).get(str(out.resolve())) == [asked, *_stamp(out)]


def note_written(out: Path, runs: Sequence[RunDirectory], asked: str) -> None:
    """Remember what a file or a folder was written for."""
    with suppress(UserError, OSError):  # it only saves time
        known = {**_reports(runs[0]), str(out.resolve()): [asked, *_stamp(out)]}
        write_atomic(runs[0].path / ".reports.json", json.dumps(known, indent=1).encode())


def _reports(run: RunDirectory) -> Mapping[str, object]:
    with suppress(OSError, ValueError, RecursionError):
        known = json.loads((run.path / ".reports.json").read_bytes())
        return known if isinstance(known, dict) else {}
    return {}


def _stamp(path: Path) -> list[object]:
    with suppress(OSError):
        if path.is_dir():
            return [sha256_hex(canonical_json(sorted(stamps(path))))]
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns]
    return []


def _own(registry: Registry, kind: Kind, call: Call) -> bool:
    """Whether a name is this package's own and asks for nothing outside of it."""
    if any(isinstance(value, str) and Path(value).exists() for value in (call.target, *dict(call.args).values())):
        return False
    try:
        owner = registry.find(kind, call.name).owner
    except UserError:
        return False
    # The target of a model such as `says:yes` is what it says; that of others may be the id of something on the hub.
    return owner in BUILTIN and (call.target is None or (kind, owner) == ("model", "models"))
