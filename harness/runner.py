"""The runner: from planned cells to records and results.

Cells are grouped by model, so that each model is built once and let go before the next. A cell that another process
works on is put off and looked at again at the end: several processes may share one run directory.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import hooks
from .answering import Answering, Embedding, Generation
from .batching import Batches
from .contracts import Record
from .costs import Costs
from .errors import UserError
from .hashing import sha256_hex
from .identity import Built, Settings, cell_key, sample_digests, samples_digest
from .measure import hardware
from .progress import Progress
from .results import CellResult
from .store import RunDirectory, Session
from .summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from .contracts import Sample, Task
    from .planning import Plan, PlannedCell
    from .plugins import Plugins
    from .store import Journal


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the samples, for a quick look: never ranked.

    Attributes:
        first: Keep the first so many (``--limit``).
        drawn: Keep so many, drawn by the cell's seed (``--sample``).
    """

    first: int | None = None
    drawn: int | None = None

    def __str__(self) -> str:
        options = (("--limit", self.first), ("--sample", self.drawn))
        return " ".join(f"{name} {count}" for name, count in options if count is not None)

    def of(self, samples: Sequence[Sample], seed: int) -> Sequence[Sample]:
        """Return the chosen samples, in their order."""
        for count in (self.first, self.drawn):
            if count is not None and count < 1:
                raise UserError(f"{count} samples are not enough", where=str(self), todo="ask for one or more")
        if self.drawn is not None:
            order = sorted(range(len(samples)), key=lambda i: sha256_hex(str(seed).encode(), samples[i].id.encode()))
            samples = [samples[i] for i in sorted(order[: self.drawn])]
        return samples if self.first is None else samples[: self.first]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as a value."""

    plan: Plan
    out: Path
    settings: Settings = field(default_factory=Settings)
    part: Part = field(default_factory=Part)
    command: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to."""

    path: Path
    results: tuple[CellResult, ...]

    def to_pandas(self) -> pd.DataFrame:
        """One row a cell and metric: model, task, budget, seed, metric, value, low, high, n, flops, partial."""
        import pandas as pd

        rows = [
            {
                **result.cell.model_dump(),
                "metric": metric,
                **estimate.model_dump(exclude={"method"}),
                "flops": result.flops.value if result.flops else None,
                "partial": result.partial,
            }
            for result in self.results
            for metric, estimate in result.metrics.items()
        ]
        return pd.DataFrame(rows)


def execute(plugins: Plugins, spec: RunSpec, progress: Progress | None = None) -> RunResult:
    """Run every cell that is not complete yet.

    Raises:
        UserError: Something the user can mend; what was recorded so far stays and is not done again.
    """
    run = _Run(plugins, spec, progress or Progress())
    run.begin()
    waiting = list(spec.plan.cells)
    patient = False
    while waiting:
        waiting = run.cells(waiting, patient)
        if waiting and not patient:
            run.progress.note(f"waiting for another process that works on {len(waiting)} of these cells")
        patient = True
    results = tuple(run.results[cell.id.model_dump_json()] for cell in spec.plan.cells)
    plugins.fire("run_finished", hooks.RunFinished(path=spec.out, results=results))
    return RunResult(spec.out, results)


class _Run:
    """One session's work on one run directory."""

    def __init__(self, plugins: Plugins, spec: RunSpec, progress: Progress) -> None:
        self.plugins, self.spec, self.progress = plugins, spec, progress
        self.directory = RunDirectory(spec.out)
        self.results: dict[str, CellResult] = {}
        self._tasks: dict[str, Task] = {}
        self._model_key = ""
        self._model: Any = None

    def begin(self) -> None:
        environment = hardware.describe() | {"git_revision": _git_revision()}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        session = Session(id=hardware.session_id(), started=started, command=self.spec.command, environment=environment)
        self.directory.begin(session)
        cells = [cell.id for cell in self.spec.plan.cells]
        self.plugins.fire("run_started", hooks.RunStarted(path=self.spec.out, cells=cells))

    def cells(self, cells: Iterable[PlannedCell], patient: bool) -> list[PlannedCell]:
        """Work through cells; return those that another process has claimed."""
        put_off = []
        for cell in cells:
            work = _Cell(self, cell)
            if not work.journal.acquire(wait=patient):
                put_off.append(cell)
                continue
            try:
                self.results[cell.id.model_dump_json()] = work.complete()
            finally:
                work.journal.release()
        return put_off

    def task(self, cell: PlannedCell) -> Task:
        """Build a task, or return the one built before."""
        step = cell.task.step
        arguments = step.entry.bind(step.call, seed=cell.seed)
        name = f"{step.call} {arguments}"
        if name not in self._tasks:
            self._tasks[name] = step.entry.factory()(**arguments)
        return self._tasks[name]

    def model(self, built: Built, key: str) -> Any:
        """Build a model, or return it if it is the one built last."""
        if key != self._model_key:
            self._model = None  # let go of the last one before the next takes memory
            self._model, self._model_key = built.load(), key
        return self._model


class _Cell:
    """One cell at work."""

    def __init__(self, run: _Run, cell: PlannedCell) -> None:
        self.run, self.cell = run, cell
        self.settings = run.spec.settings
        self.task = run.task(cell)
        self.samples = run.spec.part.of(self.task.samples, cell.seed)
        self.contents = sample_digests(self.task, self.samples)
        self.samples_digest = samples_digest(self.samples, self.contents)
        self.built = Built.of(cell, self.settings)
        self.model_key = self.built.key(self.settings)
        self.key = cell_key(cell, self.model_key, self.samples_digest)
        self.journal: Journal = run.directory.claim(self.key, cell.id)

    def complete(self) -> CellResult:
        """Do what is left to do, and return the result."""
        run, cell = self.run, self.cell
        result = self.journal.result()
        reused = result is not None
        if result is None:
            answering = self._answering()
            done = self._resume(answering.chunk)
            run.plugins.fire("cell_started", hooks.CellStarted(cell=cell.id, samples=len(self.samples), done=len(done)))
            run.progress.start(cell.id, len(self.samples), len(done))
            result = self._work(answering, done)
        timing = self.journal.timing()
        run.progress.finish(result, timing, reused)
        run.plugins.fire("cell_finished", hooks.CellFinished(cell=cell.id, result=result, timing=timing, reused=reused))
        return result

    def _resume(self, chunk: int) -> list[Record]:
        done = self.journal.resume(chunk, len(self.samples))
        expected = [sample.id for sample in self.samples[: len(done)]]
        if [record.sample for record in done] != expected:
            raise UserError(
                "the records are not those of this cell's first samples",
                where=str(self.journal.path),
                todo=f"move the folder {self.journal.folder.name} away and run the same command again",
            )
        return done

    def _work(self, answering: Answering, records: list[Record]) -> CellResult:
        run = self.run
        manifest = getattr(self.task, "manifest", None)
        if manifest is not None:
            run.directory.attach(f"episodes/{manifest.digest[:32]}.json", manifest.write)
        cost = Costs(self._model, self.task, self.settings)
        flops = cost.flops.value if cost.flops else None
        while len(records) < len(self.samples):
            start = len(records)
            written = self._records(answering, slice(start, start + answering.chunk), flops)
            self.journal.append(written)
            records += written
            run.progress.recorded(len(records))
            if run.plugins.listens("record_written"):
                for record in written:
                    run.plugins.fire("record_written", hooks.RecordWritten(cell=self.cell.id, record=record))
        result = CellResult(
            key=self.key,
            cell=self.cell.id,
            model_card=self.cell.model.card,
            method_cards=self.cell.model.method_cards,
            task_card=self.cell.task.card,
            samples_digest=self.samples_digest,
            partial=str(run.spec.part) or None,
            flops=cost.flops,
            flops_missing=cost.flops_missing,
            parameters=cost.parameters,
            settings=self.settings.answering(),
            records_sha256=self.journal.digest(),
            **summarise(self.cell.task.card, self.samples, records),
        )
        self.journal.finish(result, cost.time())
        return result

    def _answering(self) -> Answering:
        batches = Batches(self.settings.batch_size, str(self.cell.model.spec))
        if self.cell.task.card.capability == "generate":
            return Generation(self._model, self.task, batches)
        features = self.run.directory.features(self.model_key)
        return Embedding(self._model, self.task, batches, features, self.run.progress.answered)

    def _model(self) -> Any:
        return self.run.model(self.built, self.model_key)

    def _records(self, answering: Answering, rows: slice, flops_per_input: int | None) -> list[Record]:
        samples = self.samples[rows]
        outputs = self.task.outputs(samples, answering.answers(samples))
        records = []
        for sample, content, output in zip(samples, self.contents[rows], outputs, strict=True):
            parsed = self.task.parse(output)
            scores = self.task.score(sample, parsed)
            cost = {} if flops_per_input is None else {"flops": flops_per_input * len(sample.inputs)}
            records.append(Record(sample.id, content, output, parsed, scores, cost))
        return records


def _git_revision() -> str:
    """Revision of the working directory, or an empty text outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
