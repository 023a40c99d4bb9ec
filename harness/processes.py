"""Workers that are processes of this machine, each with a device of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, connection
from typing import TYPE_CHECKING

from .crew import WorkerDied
from .measure.hardware import thread_variables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from .jobs import Job, RunContext
    from .remote_worker import JobOutcome

_LOOK = 1.0
"""Seconds after which it is looked whether workers live: a process that a dead one started may hold its connection."""
_GRACE = 5.0
"""Seconds that a worker has to end by itself."""


class Processes:
    """A crew of processes.

    Args:
        devices: One for each worker, all of one kind: ``cpu``, or ``cuda:0`` and ``cuda:1``. A worker sees its GPU
            alone, as ``cuda``: so what it does does not depend on which one that is.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = list(devices)
        self._hired: list[_Process] = []

    @contextmanager
    def open(self, run: RunContext) -> Iterator[int]:
        """End all workers at the end, however it comes."""
        self._threads = run.threads
        try:
            yield len(self._devices)
        finally:
            for worker in self._hired:
                worker.process.terminate()
            for worker in self._hired:
                worker.end()

    def hire(self) -> _Process:
        """Start a process on the first device that has no living one."""
        self._hired = [worker for worker in self._hired if worker.process.poll() is None]
        free = list(self._devices)
        for worker in self._hired:
            free.remove(worker.device)
        worker = _Process(free[0], self._threads)
        self._hired.append(worker)
        return worker

    def ready(self, workers: Collection[_Process]) -> Collection[_Process]:
        """Wait for an answer or an end."""
        while True:
            answered = connection.wait([worker.connection for worker in workers], timeout=_LOOK)
            found = [w for w in workers if w.connection in answered or w.process.poll() is not None]
            if found:
                return found


class _Process:
    """A worker in a process that inherits nothing but its environment.

    Args:
        device: What it works on.
        threads: How many it computes on; ``None`` leaves that to its libraries.
    """

    def __init__(self, device: str, threads: int | None) -> None:
        self.device = device
        self.connection, theirs = Pipe()
        # What this process can import, that one can.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment |= thread_variables(threads) if threads else {}
        kind, _, index = device.partition(":")
        if kind == "cuda" and index:
            environment["CUDA_VISIBLE_DEVICES"] = _visible(int(index))
        command = [sys.executable, "-P", "-m", f"{__package__}.worker_process", str(theirs.fileno())]
        self.process: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603 - its words are fixed
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
        )
        theirs.close()

    def begin(self, job: Job, *, wait: bool) -> None:
        """Send a job."""
        with suppress(BrokenPipeError):  # it is dead, which is seen when it is asked for the outcome
            self.connection.send((job, wait))

    def outcome(self) -> JobOutcome:
        """Receive what became of it."""
        try:
            if self.connection.poll():
                outcome: JobOutcome = self.connection.recv()
                return outcome
        except (EOFError, OSError):
            pass
        self.end()
        raise WorkerDied(_how_it_ended(self.process.returncode))

    def end(self) -> None:
        """Wait for its end, or kill it."""
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


def _visible(index: int) -> str:
    """What a process is told that shall see one GPU: its own number, or its name among those that this one sees."""
    seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return seen[index] if index < len(seen) else str(index)


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
