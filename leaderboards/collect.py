"""From run directories to rows: one per cell that is complete, and a reason for each that is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.progress import SILENT
from ..harness.spending import predicted_prefill
from ..harness.store import Index, read_cell
from .wording import budgeted, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..harness.measure.roofline import Accelerator
    from ..harness.progress import Steps
    from ..harness.results import CellId, CellResult, Timing
    from ..harness.store import Journal, Manifest, MetricColumn, RunDirectory, Session, StoredCell

NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that the board is made from.

    Attributes:
        name: The manifest's name; with the path if two runs have the same one.
        episodes: Digests of the episode manifests that it holds.
    """

    name: str
    directory: RunDirectory
    manifest: Manifest
    episodes: tuple[str, ...]

    def session(self, name: str) -> Session | None:
        """The session of that name; the only session there is when the name is not known."""
        sessions = self.manifest.sessions
        found = next((session for session in sessions if session.id == name), None)
        return found or (sessions[0] if len(sessions) == 1 else None)


@dataclass(frozen=True, slots=True)
class Row:
    """One complete cell.

    Attributes:
        stored: What the run holds of it.
        predicted: Accelerator -> predicted seconds of the language model's prefill of one answer.
        also_in: Names of further runs that hold the very same cell.
    """

    run: Run
    stored: StoredCell
    predicted: Mapping[str, float] = field(default_factory=dict)
    also_in: tuple[str, ...] = ()

    @property
    def journal(self) -> Journal:
        """Its records."""
        return self.stored.journal

    @property
    def result(self) -> CellResult:
        """What it came to."""
        return self.stored.result

    @property
    def timing(self) -> Timing | None:
        """From beginning to end where that was timed."""
        return self.stored.whole_timing

    @property
    def part(self) -> Timing | None:
        """What was timed besides: the module alone."""
        timing, own = self.timing, self.stored.timing
        return own if own and timing and own.way != timing.way else None

    @property
    def scores(self) -> MetricColumn:
        """The metric that ranks, sample by sample."""
        return self.stored.scores

    @property
    def label(self) -> str:
        """Model spec with its budget."""
        return budgeted(self.result.cell.model, self.result.cell.budget)

    @property
    def session(self) -> Session | None:
        """The session that made it, as far as is known."""
        return self.run.session(self.timing.session if self.timing else "")


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell without scores, and why it has none."""

    run: str
    cell: CellId
    reason: str


@dataclass(frozen=True, slots=True)
class Collected:
    """All that the runs hold."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]


def collect(
    directories: Sequence[RunDirectory], hardware: Sequence[Accelerator] = (), progress: Steps = SILENT
) -> Collected:
    """Read runs. The same cell in several runs is one row; of a directory given twice, the second is left aside.

    Args:
        directories: The runs.
        hardware: Accelerators to predict times for.
        progress: Is told how many cells were read.

    Raises:
        UserError: A manifest cannot be read, or what a task had kept was edited. A cell that cannot be read is listed
            with the reason instead.
    """
    runs = _runs(directories)
    rows: dict[str, Row] = {}
    missing = []
    for run in runs:
        with Index(run.directory) as index:
            cells = progress.over(run.manifest.cells.items(), f"cells of {run.name}")
            read = {key: _read(run, key, cell, index, hardware) for key, cell in cells}
        failures = run.directory.failures()
        for key, found in read.items():
            if isinstance(found, Missing) and found.cell in failures:
                missing.append(replace(found, reason=f"failed: {failures[found.cell]}"))
            elif isinstance(found, Missing):
                missing.append(found)
            elif key in rows:
                rows[key] = replace(rows[key], also_in=(*rows[key].also_in, run.name))
            else:
                rows[key] = found
        started = set(run.manifest.cells.values())
        missing += [
            Missing(run.name, cell, f"failed: {failures[cell]}" if cell in failures else NOT_STARTED)
            for cell in run.directory.planned()
            if cell not in started
        ]
    return Collected(runs, tuple(rows.values()), tuple(missing))


def _runs(directories: Sequence[RunDirectory]) -> tuple[Run, ...]:
    unique: dict[Path, RunDirectory] = {}
    for directory in directories:
        unique.setdefault(directory.path.resolve(), directory)
    opened = [(directory, directory.manifest()) for directory in unique.values()]
    for directory, _ in opened:
        for fault in directory.changed():
            raise fault
    names = Counter(manifest.name for _, manifest in opened)
    return tuple(
        Run(
            name=manifest.name if names[manifest.name] == 1 else f"{manifest.name} ({directory.path})",
            directory=directory,
            manifest=manifest,
            episodes=tuple(sorted(path.stem for path in (directory.path / "episodes").glob("*.json"))),
        )
        for directory, manifest in opened
    )


def _read(run: Run, key: str, cell: CellId, index: Index, hardware: Sequence[Accelerator]) -> Row | Missing:
    journal = run.directory.journal(key)
    try:
        found = read_cell(journal, index)
        if found is None:
            return Missing(run.name, cell, f"not complete: {_recorded(journal)} recorded so far")
        return Row(run, found, _predicted(found.journal, found.result, hardware))
    except UserError as error:
        return Missing(run.name, cell, f"{error.what}; {error.todo}")


def _predicted(journal: Journal, result: CellResult, hardware: Sequence[Accelerator]) -> dict[str, float]:
    """Predicted times, if the cell names its language model and what ran of it."""
    if not hardware or result.language is None:
        return {}
    records = list(journal.records())
    times = {chip.name: predicted_prefill(records, result.language, chip) for chip in hardware}
    return {name: time for name, time in times.items() if time is not None}


def _recorded(journal: Journal) -> str:
    count = journal.path.read_bytes().count(b"\n") if journal.path.exists() else 0
    return counted(count, "sample")
