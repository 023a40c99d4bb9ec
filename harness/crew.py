"""The executor for several workers: whoever is idle gets a job, of its own model or base if there is one.

A job whose worker dies is done again by another; what was recorded of it is not done again.
"""

from __future__ import annotations

import functools
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from .errors import UserError
from .progress import Progress, describe
from .specs import parse
from .store import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .jobs import Job, RunContext
    from .registry import Registry
    from .remote_worker import JobOutcome
    from .results import CellResult

TRIES = 4
"""How often a job is tried whose workers die."""


class WorkerDied(Exception):
    """A worker is gone with its job; the message says what is known of its end."""


class Remote(Protocol):
    """A worker, seen from the process that hands out jobs."""

    def begin(self, job: Job, *, wait: bool) -> None:
        """Start a job; ``wait`` for cells that another process works on."""
        ...

    def outcome(self) -> JobOutcome:
        """Return what became of the job, once the worker is ready.

        Raises:
            WorkerDied: It is gone.
        """
        ...


_Worker = TypeVar("_Worker", bound=Remote)


class Crew(Protocol[_Worker]):
    """Where workers come from."""

    def open(self, run: RunContext) -> AbstractContextManager[int]:
        """Return how many workers there may be; in the end all of them are gone."""
        ...

    def hire(self) -> _Worker:
        """Return another worker, which may still be starting."""
        ...

    def ready(self, workers: Collection[_Worker]) -> Collection[_Worker]:
        """Wait until some of these workers, which are at work, are done or dead, and return those."""
        ...


class Crewed(Generic[_Worker]):
    """The executor that hands jobs to a crew.

    Args:
        crew: Does the jobs.
        registry: Of this process.
        progress: Told how far it is, cell by cell.
    """

    def __init__(self, crew: Crew[_Worker], registry: Registry, progress: Progress | None = None) -> None:
        self._crew, self._registry, self._progress = crew, registry, progress or Progress()
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, _Task] = {}
        self._loaded: dict[_Worker, _Models] = {}
        """What each worker was asked last."""
        self._deaths = 0
        """Workers that died since a job was done."""

    def run(self, jobs: Sequence[Job]) -> Iterator[CellResult]:
        """Return results as they come. A job whose worker dies is done again by another, `TRIES` times in all."""
        if not jobs:
            return
        for job in jobs:
            job.check_value()
        self._queue = _Queue(jobs)
        with self._crew.open(jobs[0].run) as size:
            while self._queue or self._busy:
                while self._queue and (self._idle or len(self._busy) < size):
                    self._begin(self._idle.pop() if self._idle else self._crew.hire())
                for worker in self._crew.ready(self._busy):
                    task = self._busy.pop(worker)
                    try:
                        outcome = worker.outcome()
                    except WorkerDied as death:
                        yield from self._retry(task, str(death), size)
                    else:
                        self._idle.append(worker)
                        yield from self._tell(task, outcome)

    def _begin(self, worker: _Worker) -> None:
        task = self._queue.take(self._loaded.get(worker, ()), {self._loaded[other] for other in self._busy})
        if task.wait and not task.deaths:
            cells = len(task.job.models)
            self._progress.note(f"waiting for another process that works on {cells} of these cells")
        worker.begin(task.job, wait=task.wait)
        self._busy[worker], self._loaded[worker] = task, _models(task.job)

    def _tell(self, task: _Task, outcome: JobOutcome) -> Iterator[CellResult]:
        """Tell the progress what a worker said of its job, and yield the cells that are complete."""
        self._deaths = 0
        for name, arguments in outcome.told:
            getattr(self._progress, name)(*arguments)
            if name == "finish":
                yield arguments[0]
        if outcome.error is not None:
            raise outcome.error
        if outcome.traceback:
            raise RuntimeError(f"a worker failed:\n{outcome.traceback}")
        if outcome.left is not None:
            self._queue.add_last(replace(task, job=outcome.left, wait=True))

    def _retry(self, task: _Task, end: str, size: int) -> Iterator[CellResult]:
        """Have another worker do what a dead one had."""
        self._deaths += 1
        if self._deaths > TRIES * size:
            todo = "see what they wrote above, or leave --executor out"
            raise UserError(f"{self._deaths} workers died in a row; the last one {end}", todo=todo)
        if task.deaths + 1 == TRIES:
            yield from self._give_up(task.job, end)
            return
        cells = task.job.cells(self._registry)
        self._progress.note(f"a worker {end}; another one goes on with {describe(cells[0].id)}")
        self._queue.add_first(replace(task, deaths=task.deaths + 1, wait=True))

    def _give_up(self, job: Job, end: str) -> Iterator[CellResult]:
        """Note that cells failed, but for those that were complete."""
        directory, keys = RunDirectory(job.run.out), {}
        with suppress(UserError):  # no worker lived long enough to begin the run
            keys = {cell: key for key, cell in directory.manifest().cells.items()}
        for cell in (planned.id for planned in job.cells(self._registry)):
            result = directory.journal(keys[cell]).check() if cell in keys else None
            if result is not None:
                yield result
                continue
            todo = "give it more memory or fewer workers, and run the same command again"
            error = UserError(f"{TRIES} workers died of it; the last one {end}", where=describe(cell), todo=todo)
            directory.note_attempt(cell, str(error))
            if job.run.fail_fast:
                raise error
            self._progress.fail(cell)


_Models = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Task:
    """A job with what befell it.

    Attributes:
        wait: Whether a worker waits for its cells if another process works on them.
        deaths: How many workers died of it.
    """

    job: Job
    wait: bool = False
    deaths: int = 0


class _Queue:
    """Jobs that did not start, by their models; those that another process works on come last."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._last: deque[_Task] = deque()
        self._of: dict[_Models, deque[_Task]] = {}
        for job in jobs:
            self._of.setdefault(_models(job), deque()).append(_Task(job))

    def __bool__(self) -> bool:
        return bool(self._of or self._last)

    def take(self, loaded: _Models, elsewhere: Collection[_Models]) -> _Task:
        """Take a job of a worker's own models; else of its base; else of what no other worker has loaded; else any."""
        if not self._of:
            return self._last.popleft()
        bases = set(map(_base, elsewhere))
        models = min(
            self._of,
            key=lambda some: (some != loaded, _base(some) != _base(loaded), _base(some) in bases, some in elsewhere),
        )
        tasks = self._of[models]
        task = tasks.popleft()
        if not tasks:
            del self._of[models]
        return task

    def add_first(self, task: _Task) -> None:
        """Put a job back, before those of the same models."""
        self._of.setdefault(_models(task.job), deque()).appendleft(task)

    def add_last(self, task: _Task) -> None:
        """Put a job behind all others."""
        self._last.append(task)


def _models(job: Job) -> _Models:
    return tuple(map(str, job.models))


@functools.cache
def _base(models: _Models) -> str:
    """Spec of the base that models have in common."""
    return str(parse(models[0]).base) if models else ""
