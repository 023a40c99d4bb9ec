"""The worker: does jobs, in whatever process it is.

Cells that differ in their budget alone go in lockstep, chunk by chunk, if their models share weights: so what these
remember of one chunk serves all budgets. A cell that another process works on is left for later: several processes may
share one run directory.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from .cell import CellWork
from .workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .jobs import Job, RunContext
    from .planning import PlannedCell
    from .plugins import Plugins
    from .progress import Progress
    from .results import CellResult


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
            work = CellWork(self._space, cell)
            if not work.journal.acquire(wait=wait):
                left.append(cell)
                continue
            with ExitStack() as claims:
                claims.callback(work.journal.release)
                results += _lockstep(self._sweep(work, pending, claims))
            done = [result.cell for result in results]
            pending = [cell for cell in pending if cell.id not in done]
            if self._space.models.apart(work.model_key):
                left += pending
                break
        return results, job.only([cell.id for cell in left], self._space.plugins.registry) if left else None

    def _sweep(self, work: CellWork, pending: Sequence[PlannedCell], claims: ExitStack) -> list[CellWork]:
        """Claim what can be done in lockstep with a cell: its other budgets that are neither done nor in progress."""
        if not pending or work.complete:
            return [work]
        with ExitStack() as these:
            works = [work]
            for sibling in (CellWork(self._space, cell) for cell in pending):
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


def _lockstep(cells: Sequence[CellWork]) -> list[CellResult]:
    """Complete cells: each does its first chunk, then each the second. What is behind catches up first."""
    results: list[CellResult] = []
    for cell in cells:
        cell.begin()
    while cells:
        results += [cell.end() for cell in cells if not cell.left]
        cells = [cell for cell in cells if cell.left]
        behind = max((cell.left for cell in cells), default=0)
        for cell in cells:
            if cell.left == behind:
                cell.step(alone=len(cells) == 1)
    return results
