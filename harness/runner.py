"""The runner: from planned cells to records and results.

Cells are grouped by model, so that each model is built once and let go before the next. Cells that differ in their
budget alone go in lockstep, chunk by chunk, if their models share weights: so what these remember of one chunk serves
all budgets. A cell that another process works on is put off, and waited for at the end: several processes may share one
run directory.
"""

from __future__ import annotations

import secrets
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import hooks
from .abilities import Aggregating, Episodes, HasEpisodes, HasNotes, Sweepable
from .answering import Answering, Embedding, Generation, Likelihoods, Replay, blocks_of
from .batching import Batches, give_back_memory
from .contracts import Record
from .costs import Costs, Counted, answered_flops, uncounted
from .errors import UserError
from .faults import blamed_on
from .identity import BoundModel, Settings, cell_key, task_fingerprint
from .measure import hardware
from .progress import Progress, describe
from .results import CellResult
from .samples import SampleLimit, input_positions, sample_digests, samples_digest
from .spending import language_shape, spending
from .store import RunDirectory, Session
from .summary import checked_scores, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    import numpy.typing as npt
    import pandas as pd

    from .contracts import Input, Sample, Task
    from .planning import Plan, PlannedCell, PlannedTask
    from .plugins import Plugins
    from .results import CellId
    from .store import Journal


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as a value."""

    plan: Plan
    out: Path
    settings: Settings = field(default_factory=Settings)
    limit: SampleLimit = field(default_factory=SampleLimit)
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
    results = tuple(run.results[cell.id] for cell in spec.plan.cells)
    plugins.fire("run_finished", hooks.RunFinished(path=spec.out, results=results))
    return RunResult(spec.out, results)


@dataclass(frozen=True, slots=True)
class _ChosenSamples:
    """A task with those of its samples that a run asks."""

    task: Task
    samples: Sequence[Sample]
    contents: Sequence[str]
    """Digest of the inputs of each sample."""
    digest: str
    scoring: str | None
    """Identity of the code that scores, if it can be told."""
    partial: str | None

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Positions of the task's inputs that may be read: all, or those of the chosen samples."""
        return np.arange(len(self.task.inputs)) if self.partial is None else input_positions(self.samples)

    def inputs(self, count: int) -> list[Input]:
        """Return the first inputs that may be read."""
        return [self.task.inputs[position] for position in self.positions[:count].tolist()]

    @classmethod
    def of(cls, planned: PlannedTask, seed: int, limit: SampleLimit) -> _ChosenSamples:
        step = planned.step
        task: Task = step.entry.factory()(**step.entry.bind(step.call, seed=seed))
        samples = limit.of(task.samples, seed)
        if not samples:
            raise UserError("the task has no samples", todo="mend the task")
        if len({sample.id for sample in samples}) < len(samples):
            raise UserError("two samples have the same id", todo="mend the task")
        contents = sample_digests(task, samples)
        digest = samples_digest(samples, contents)
        partial = str(limit) if len(samples) < len(task.samples) else None
        return cls(task, samples, contents, digest, task_fingerprint(planned, task), partial)


class _Run:
    """One session's work on one run directory."""

    def __init__(self, plugins: Plugins, spec: RunSpec, progress: Progress) -> None:
        self.plugins, self.spec, self.progress = plugins, spec, progress
        self.directory = RunDirectory(spec.out)
        self.results: dict[CellId, CellResult] = {}
        self.name = secrets.token_hex(8)
        self._asked: dict[tuple[str, int], _ChosenSamples] = {}
        self._keys: dict[str, str] = {}
        self._costs: dict[str, Costs] = {}
        self._kernels: dict[str, str] = {}
        self.models = _Models()

    def begin(self) -> None:
        environment = hardware.describe() | {"git_revision": _git_revision()}
        started = datetime.now(UTC).isoformat(timespec="seconds")
        session = Session(id=hardware.session_id(), started=started, command=self.spec.command, environment=environment)
        self.directory.begin(session)
        cells = [cell.id for cell in self.spec.plan.cells]
        self.plugins.fire("run_started", hooks.RunStarted(path=self.spec.out, cells=cells))

    def cells(self, cells: Iterable[PlannedCell], patient: bool) -> list[PlannedCell]:
        """Work through cells; return those that another process has claimed."""
        pending, put_off = list(cells), []
        while pending:
            cell = pending.pop(0)
            work = _Cell(self, cell)
            if not work.journal.acquire(wait=patient):
                put_off.append(cell)
                continue
            with ExitStack() as claims:
                claims.callback(work.journal.release)
                works = self._sweep(work, pending, claims)
                _lockstep(works)
            pending = [cell for cell in pending if cell.id not in self.results]
        return put_off

    def _sweep(self, work: _Cell, pending: Sequence[PlannedCell], claims: ExitStack) -> list[_Cell]:
        """Claim what can be done in lockstep with a cell: other budgets of it that nobody has done or works on."""
        siblings = [cell for cell in pending if _but_budget(cell.id) == _but_budget(work.cell.id)]
        if not siblings or work.complete:
            return [work]
        with ExitStack() as these:
            works = [work]
            for sibling in (_Cell(self, cell) for cell in siblings):
                if sibling.journal.acquire():
                    these.callback(sibling.journal.release)
                    works += [] if sibling.complete else [sibling]
            if len(works) > 1 and self.models.build_together(works):
                claims.push(these.pop_all())
                return works
        return [work]

    def note_kernels(self) -> None:
        """Note what computes the answers, now that a model is loaded, and say so if other sessions had others."""
        kernels = hardware.kernels()
        if kernels == self._kernels:
            return
        self._kernels = kernels
        for others in self.directory.compute_with(kernels, hardware.session_id()):
            differing = [name for name in kernels if others.get(name, kernels[name]) != kernels[name]]
            if differing:
                before, now = (", ".join(f"{name} {of[name]}" for name in differing) for of in (others, kernels))
                self.progress.note(f"part of this run was computed by {before}, the rest by {now}: rounding may differ")
                break

    def asked(self, cell: PlannedCell) -> _ChosenSamples:
        """Build a task and choose its samples, or return those chosen before."""
        name = (str(cell.task.step.call), cell.seed)
        if name not in self._asked:
            self._asked[name] = _ChosenSamples.of(cell.task, cell.seed, self.spec.limit)
        return self._asked[name]

    def model_key(self, model: BoundModel) -> str:
        """Key of a model. Its weights are hashed once in a run."""
        name = f"{model.model.spec} {model.arguments}"
        if name not in self._keys:
            self._keys[name] = model.key(self.spec.settings, self.name)
        return self._keys[name]

    def costs(self, model: BoundModel, key: str) -> Costs:
        """The costs of a model, which are counted once for all of its cells."""
        if key not in self._costs:
            self._costs[key] = Costs(lambda: self.models.get(model, key), self.spec.settings.waive)
        return self._costs[key]


class _Models:
    """The models in memory: one, or several budgets of one that share its weights."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._apart: set[str] = set()
        """Keys of models that do not share their weights with other budgets."""

    def get(self, model: BoundModel, key: str) -> Any:
        """Build a model, or return it if it is there."""
        if key not in self._known:
            self._let_go()
            self._known[key] = model.load()
        return self._known[key]

    def build_together(self, cells: Sequence[_Cell]) -> bool:
        """Build the models of cells that differ in their budget; ``False`` if they would not share their weights."""
        first = cells[0]
        if first.model_key in self._apart:
            return False
        if all(cell.model_key in self._known for cell in cells):
            return True
        self._let_go()
        with first.of_model():
            base = first.bound.base()
            if isinstance(base, Sweepable):
                base = base.for_sweep()
            self._known[first.model_key] = model = first.bound.on(base)
        if not (isinstance(base, Sweepable) and base.shares_weights(model)):
            self._apart.add(first.model_key)
            return False
        for cell in cells[1:]:
            with cell.of_model():
                self._known[cell.model_key] = cell.bound.on(base)
        return True

    def _let_go(self) -> None:
        """Make room before the next model takes memory."""
        if self._known:
            self._known = {}
            give_back_memory()


def _but_budget(cell: CellId) -> CellId:
    return cell.model_copy(update={"budget": 1.0})


def _lockstep(cells: Sequence[_Cell]) -> None:
    """Complete cells: each does its first chunk, then each the second. What is behind catches up first."""
    for cell in cells:
        cell.begin()
    while cells:
        for cell in cells:
            if not cell.left:
                cell.end()
        cells = [cell for cell in cells if cell.left]
        behind = max((cell.left for cell in cells), default=0)
        for cell in cells:
            if cell.left == behind:
                cell.step(alone=len(cells) == 1)


class _Cell:
    """One cell at work."""

    def __init__(self, run: _Run, cell: PlannedCell) -> None:
        self.run, self.cell = run, cell
        self.card = cell.task.card
        self.settings = run.spec.settings
        with self._of_task():
            self.asked = run.asked(cell)
        with self.of_model():
            self.bound = BoundModel.of(cell, self.settings)
            self.model_key = run.model_key(self.bound)
        samples = (self.asked.digest, self.asked.scoring or run.name, self.asked.partial or "")
        self.key = cell_key(cell, self.model_key, samples, self.settings)
        self.journal: Journal = run.directory.claim(self.key, cell.id)

    @property
    def complete(self) -> bool:
        """Whether there is a result."""
        return self.journal.result() is not None

    @property
    def left(self) -> int:
        """Samples that are not recorded."""
        return 0 if self.reused else len(self.asked.samples) - len(self._done)

    def begin(self) -> None:
        """Find out what is left to do; nothing, if there is a result."""
        self.reused = self.complete
        if self.reused:
            self.journal.check()
            return
        run, samples = self.run, len(self.asked.samples)
        self._batches = Batches(self.settings.batch_size, str(self.cell.model.spec))
        self._answers = self._answering(self._batches)
        self._done = self._resume(self._answers.chunk)
        self._resumed = len(self._done)
        run.plugins.fire("cell_started", hooks.CellStarted(cell=self.cell.id, samples=samples, done=len(self._done)))
        run.progress.start(self.cell.id, samples, len(self._done))
        self._attach_manifest()
        self._costs, self._counted = self._count()

    def step(self, *, alone: bool) -> None:
        """Do one chunk.

        Args:
            alone: Whether no other cell is at work in between.
        """
        run, done = self.run, len(self._done)
        if not alone:
            run.progress.turn(self.cell.id, len(self.asked.samples), done)
        written = self._records(slice(done, done + self._answers.chunk))
        if done == self._resumed:  # the model is loaded now
            run.note_kernels()
        self.journal.append(written)
        self._done += written
        run.progress.recorded(len(self._done))
        if run.plugins.listens("record_written"):
            for record in written:
                run.plugins.fire("record_written", hooks.RecordWritten(cell=self.cell.id, record=record))

    def end(self) -> None:
        """Hand in the result."""
        run, cell = self.run, self.cell.id
        result = self.journal.result()
        if result is None:
            result = self._result()
            with self.of_model():
                inputs = self.asked.inputs(self._batches.fitting)
                timing = self._costs.time(inputs, self.card.capability) if self._costs else None
            self.journal.finish(result, timing)
        timing = self.journal.timing()
        run.results[cell] = result
        run.progress.finish(result, timing, self.reused)
        event = hooks.CellFinished(cell=cell, result=result, timing=timing, reused=self.reused)
        run.plugins.fire("cell_finished", event)

    def _answering(self, batches: Batches) -> Answering:
        task = self.asked.task
        if self.cell.model.card.replays:
            return Replay(self._model, task, self.asked.samples)
        if self.card.capability == "generate":
            return Generation(self._model, task, batches, self.cell.id.budget)
        if self.card.capability == "language":
            return Likelihoods(self._model, task, batches, self.cell.id.budget)
        features = self.run.directory.features(self.model_key)
        with self._of_task():
            blocks = blocks_of(self.asked.positions, self.asked.samples, batches.size)
        return Embedding(self._model, task, blocks, batches, features, self.run.progress.answered)

    def _resume(self, chunk: int) -> list[Record]:
        samples = self.asked.samples
        done = self.journal.resume(chunk, len(samples))
        if [record.sample for record in done] != [sample.id for sample in samples[: len(done)]]:
            raise UserError(
                "the records are not those of this cell's first samples",
                where=str(self.journal.path),
                todo=f"move the folder {self.journal.folder.name} away and run the same command again",
            )
        return done

    def _attach_manifest(self) -> None:
        """Keep the episodes that a task draws, if it says what they are."""
        task = self.asked.task
        if isinstance(task, HasEpisodes) and isinstance(task.manifest, Episodes):
            self.run.directory.attach(f"episodes/{task.manifest.digest[:32]}.json", task.manifest.write)

    def _count(self) -> tuple[Costs | None, Counted]:
        """FLOPs of the cell's first input; those of a `Prefilling` model come with its answers."""
        if self.cell.model.card.replays:
            return None, Counted(None, "not counted: the answers were given elsewhere", None)
        costs = self.run.costs(self.bound, self.model_key)
        with self.of_model():
            return costs, costs.count(self.asked.inputs(1), self.card.capability)

    def _records(self, rows: slice) -> list[Record]:
        task, samples = self.asked.task, self.asked.samples[rows]
        flops_per_input = self._counted.flops.value if self._counted.flops else None
        with self.of_model():
            self._answers.ask(samples)
        records = []
        with self._of_task():
            outcomes = self._answers.outcomes(samples)
            for sample, content, (output, cost, fault, plan) in zip(
                samples, self.asked.contents[rows], outcomes, strict=True
            ):
                parsed = None if fault else task.parse(sample, output)
                scores = None if fault else checked_scores(self.card, sample.id, task.score(sample, parsed))
                if flops_per_input is not None:
                    cost = {"flops": flops_per_input * len(sample.inputs)}  # noqa: PLW2901 - counted, not answered
                records.append(Record(sample.id, content, output, parsed, scores, cost, sample.group, fault, plan))
        return records

    def _result(self) -> CellResult:
        asked, records, counted = self.asked, self._done, self._counted
        model = None if self.cell.model.card.replays else self._model()
        aggregate = asked.task.aggregate if isinstance(asked.task, Aggregating) else None
        flops = counted.flops or answered_flops(counted.convention, asked.samples, records)
        language = None if counted.convention is None else language_shape(model)
        return CellResult(
            key=self.key,
            cell=self.cell.id,
            model_card=self.cell.model.card,
            method_cards=self.cell.model.method_cards,
            task_card=self.card,
            samples_digest=self.asked.digest,
            partial=self.asked.partial,
            spending=spending(records, self.cell.id.budget, language, self.card.sample_noun),
            language=language,
            flops=flops,
            flops_missing=uncounted(counted, self._model) if flops is None else "",
            parameters=counted.parameters,
            notes=tuple(model.notes) if isinstance(model, HasNotes) else (),
            settings=self.settings.answering(),
            records_sha256=self.journal.digest(),
            **summarise(self.card, asked.samples, records, aggregate),
        )

    def _model(self) -> Any:
        return self.run.models.get(self.bound, self.model_key)

    def of_model(self) -> AbstractContextManager[None]:
        return blamed_on(f"model {self.cell.model.spec}", describe(self.cell.id))

    def _of_task(self) -> AbstractContextManager[None]:
        return blamed_on(f"task {self.cell.task.step.call}", describe(self.cell.id))


def _git_revision() -> str:
    """Revision of the working directory, or an empty text outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
