"""Executors: they hand jobs to workers. The first one works in the process that it is called from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .progress import Progress
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .jobs import Job, RunContext
    from .plugins import Plugins
    from .results import CellResult


class Executor(Protocol):
    """Has jobs done, in whatever order and by however many workers: they share the run directory cell by cell."""

    def run(self, jobs: Sequence[Job]) -> Iterator[CellResult]:
        """Return the result of every cell of the jobs as it comes; the run directory tells which cells failed.

        Raises:
            UserError: Something the user can fix; what was recorded so far stays and is not done again.
        """
        ...


class InProcess:
    """Does one job after the other, here; it makes the run directory at once.

    Args:
        plugins: Of this process.
        run: What all jobs have in common.
        progress: Told how far it is.
    """

    def __init__(self, plugins: Plugins, run: RunContext, progress: Progress | None = None) -> None:
        self._progress = progress or Progress()
        self._worker = Worker(plugins, run, self._progress)

    def run(self, jobs: Sequence[Job]) -> Iterator[CellResult]:
        """Do what can be done, then what was left, and wait for other processes when nothing else is left."""
        wait = False
        while jobs:
            left, finished = [], 0
            for job in jobs:
                results, rest = self._worker.do(job, wait=wait)
                left += [] if rest is None else [rest]
                finished += len(results)
                yield from results
            jobs, wait = left, not finished
            if jobs and wait:
                cells = sum(len(job.models) for job in jobs)
                self._progress.note(f"waiting for another process that works on {cells} of these cells")
