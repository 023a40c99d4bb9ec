"""The side of a worker that is in a process of its own: jobs come in as values, and plain data goes back."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .plugins import load_plugins
from .progress import Progress
from .worker import Worker

if TYPE_CHECKING:
    from .jobs import Job, RunContext
    from .results import CellId, CellResult, Timing


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of a job.

    Attributes:
        told: Calls of `Progress`, as (name, arguments): notes, cells that failed, and cells that are complete.
        left: What another process works on.
        error: What stops the run.
        traceback: Of an error that is not the user's.
    """

    told: tuple[tuple[str, tuple[Any, ...]], ...]
    left: Job | None = None
    error: UserError | None = None
    traceback: str = ""


class _Kept(Progress):
    """Keeps what is told of a job; how far a cell is stays in its process."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    def note(self, text: str) -> None:
        self.told.append(("note", (text,)))

    def fail(self, cell: CellId) -> None:
        self.told.append(("fail", (cell,)))

    def finish(self, result: CellResult, timing: Timing | None, reused: bool) -> None:
        self.told.append(("finish", (result, timing, reused)))


class RemoteWorker:
    """Does jobs of one run in this process, which has nothing loaded for it: models stay in memory between jobs.

    Args:
        run: What its jobs have in common.
    """

    def __init__(self, run: RunContext) -> None:
        self._run, self._progress = run, _Kept()
        self._worker: Worker | None = None

    def do(self, job: Job, *, wait: bool) -> JobOutcome:
        """Do a job.

        Args:
            job: Of this worker's run.
            wait: Whether to wait for cells that another process works on.
        """
        self._progress.told = []
        left, error, trace = None, None, ""
        try:
            self._worker = self._worker or self._start()
            _, left = self._worker.do(job, wait=wait)
        except UserError as fault:
            error = fault
        except Exception:  # noqa: BLE001 - whatever it is, it is raised where the run was started
            trace = traceback.format_exc()
        return JobOutcome(tuple(self._progress.told), left, error, trace)

    def _start(self) -> Worker:
        if self._run.folder.is_dir():  # as on every machine that shares the file system
            os.chdir(self._run.folder)
        names = self._run.plugins
        return Worker(load_plugins(names.others, installed=names.installed), self._run, self._progress)
