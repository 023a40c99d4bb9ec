"""The worker: does jobs, in whatever process it is.

Cells that differ in their budget alone go in lockstep, chunk by chunk, if their models share weights: so what these
remember of one chunk serves all budgets. A cell that another process works on is left for later: several processes may
share one run directory. A cell that fails is noted as such, and the others are done.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from .cell import CellWork
from .errors import DiskError, UserError
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .jobs import Job, RunContext
    from .planning import PlannedCell
    from .plugins import Plugins
    from .progress import Progress
    from .results import CellId, CellResult


class Worker:
    """Does jobs of one run in this process; it makes the run directory at once.

    Args:
        plugins: Of this process.
        run: What all jobs have in common.
        progress: Told how far it is.
    """

    def __init__(self, plugins: Plugins, run: RunContext, progress: Progress) -> None:
        self._space = Workspace(plugins, run, progress)
        self._space.begin()
        self._failed: set[CellId] = set()

    def do(self, job: Job, *, wait: bool = False) -> tuple[list[CellResult], Job | None]:
        """Complete the cells of a job.

        Args:
            job: Of this worker's run.
            wait: Whether to wait for cells that another process works on.

        Returns:
            The results, and what is left to be done later, if anything: cells that another process works on; and
            budgets of a model that does not share its weights with them, so that it first does its other tasks.
        """
        pending, results, left = list(job.cells(self._space.plugins.registry)), [], []
        while pending:
            cell = pending.pop(0)
            with self._attempt(cell.id), ExitStack() as claims:
                work = CellWork(self._space, cell)
                if not work.journal.acquire(wait=wait):
                    left.append(cell)
                    continue
                claims.callback(work.journal.release)
                results += self._lockstep(self._sweep(work, pending, claims))
                done = {result.cell for result in results} | self._failed
                pending = [cell for cell in pending if cell.id not in done]
                if self._space.models.apart(work.model_key):
                    left += pending
                    break
        return results, job.only([cell.id for cell in left], self._space.plugins.registry) if left else None

    @contextmanager
    def _attempt(self, cell: CellId) -> Iterator[None]:
        """Note the failure of a cell and go on, unless the first one stops the run or the run cannot be written."""
        try:
            yield
        except DiskError:
            raise
        except UserError as error:
            if self._space.run.fail_fast and self._failed:  # it is the one that stops the run
                raise
            self._failed.add(cell)
            self._space.directory.note_attempt(cell, str(error))
            if self._space.run.fail_fast:
                raise
            self._space.progress.fail(cell)

    def _sweep(self, work: CellWork, pending: Sequence[PlannedCell], claims: ExitStack) -> list[CellWork]:
        """Claim what can be done in lockstep with a cell: its other budgets that are neither done nor in progress."""
        if not pending or work.complete:
            return [work]
        with ExitStack() as these:
            works = [work]
            for cell in pending:
                with suppress(UserError):  # it is tried by itself later, and fails then
                    sibling = CellWork(self._space, cell)
                    if sibling.journal.acquire():
                        these.callback(sibling.journal.release)
                        works += [] if sibling.complete else [sibling]
            if len(works) > 1 and self._load_together(works):
                claims.push(these.pop_all())
                return works
        return [work]

    def _load_together(self, works: Sequence[CellWork]) -> bool:
        with works[0].of_model():
            return self._space.models.load_together({work.model_key: work.bound for work in works})

    def _lockstep(self, works: Sequence[CellWork]) -> list[CellResult]:
        """Complete cells: each does its first chunk, then each the second. What is behind catches up first."""
        results: list[CellResult] = []
        for work in works:
            with self._attempt(work.cell.id):
                work.begin()
        while works := [work for work in works if work.cell.id not in self._failed]:
            for work in works:
                if not work.left:
                    with self._attempt(work.cell.id):
                        results.append(work.end())
                        self._space.directory.note_attempt(work.cell.id)
            works = [work for work in works if work.left]
            behind = max((work.left for work in works), default=0)
            for work in works:
                if work.left == behind:
                    with self._attempt(work.cell.id):
                        work.step(alone=len(works) == 1)
        return results
