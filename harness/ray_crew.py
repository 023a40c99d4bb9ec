"""Workers that are actors of Ray, on this machine or on a cluster.

Ray starts them where there is room, and passes jobs and outcomes on. What to do when one dies is decided in `crew`. A
cluster is joined only if it is asked for, or if this process is part of it already.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .crew import WorkerDied
from .errors import UserError
from .measure.hardware import thread_variables
from .remote_worker import JobOutcome, RemoteWorker
from .store import RunDirectory
from .store.parcels import Parcel, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .jobs import Job, RunContext
    from .registry import Registry

_PASSED_ON = ("HF_", "TRANSFORMERS_", "ADAPTBENCH_", "PYTHONHASHSEED", "PYTHONPATH")
"""Beginnings of the names of variables that a cluster's actors get; keys are left out, as Ray shows such variables."""
_GRACE = 5.0
"""Seconds that actors have to remove what they wrote."""
_STARTS = 3
"""How often Ray is started before it is given up."""
_SECRET = ("TOKEN", "KEY", "SECRET")


@dataclass(frozen=True, slots=True)
class Room:
    """What each actor needs.

    Attributes:
        cpus: Cores, which are its threads.
        gpus: Cards, or a share of one.
        memory: Bytes; 0 asks for none in particular.
    """

    cpus: int = 1
    gpus: float = 0
    memory: int = 0

    def times(self, resources: dict[str, float]) -> int:
        """How often it is there."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return min(int(resources.get(name, 0) / much) for name, much in wanted.items() if much)

    def __str__(self) -> str:
        parts = [f"{self.cpus} cores", f"{self.gpus:g} GPUs" * (self.gpus > 0)]
        parts += [f"{self.memory / 2**30:g} GiB of memory" * (self.memory > 0)]
        return ", ".join(filter(None, parts))


class RayCrew:
    """A crew of actors.

    Args:
        registry: Of this process.
        workers: How many; on a cluster by default as many as there is room for, on this machine one.
        room: What each of them needs.
        address: Of a cluster; empty starts one on this machine, for this run alone.
        shared: Whether actors see the run directory; by default those of a cluster look.
    """

    def __init__(
        self,
        registry: Registry,
        workers: int | None = None,
        room: Room | None = None,
        address: str = "",
        *,
        shared: bool | None = None,
    ) -> None:
        self.registry, self._workers, self._room = registry, workers, room or Room()
        self._address, self._asked_shared = address, shared
        self.shared = True

    @contextmanager
    def open(self, run: RunContext) -> Iterator[int]:
        """Start Ray or join the cluster, and leave it in the end.

        Raises:
            UserError: Ray is not installed or cannot be reached, or no machine has the room.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            raise UserError("it needs Ray", where="--executor ray", todo="pip install 'adaptbench[ray]'") from error
        self.ray: Any = ray
        self._hired: list[_Actor] = []
        with ExitStack() as stack:
            stack.enter_context(_stdout_is_stderr())
            if not ray.is_initialized():
                self._connect(run)
                stack.callback(ray.shutdown)
            stack.callback(self._end)
            places = self._places()
            self.shared = self._shares(run) if self._asked_shared is None else self._asked_shared
            yield self._workers or places

    def hire(self) -> _Actor:
        """Start an actor."""
        worker = _Actor(self, self._room)
        self._hired.append(worker)
        return worker

    def ready(self, workers: Collection[_Actor]) -> Collection[_Actor]:
        """Wait for an answer or an end."""
        done, _ = self.ray.wait([worker.answer for worker in workers], num_returns=1)
        return [worker for worker in workers if worker.answer in done]

    def _connect(self, run: RunContext) -> None:
        threads = thread_variables(run.threads or 1)
        cluster: dict[str, Any] = {"address": "local", "include_dashboard": False}
        if self._address:
            names = [name for name in os.environ if name.startswith(_PASSED_ON) and not name.endswith(_SECRET)]
            passed_on = {name: os.environ[name] for name in names} | threads
            cluster = {"address": self._address, "runtime_env": {"env_vars": passed_on}}
        else:
            cluster["num_cpus"] = (self._workers or 1) * self._room.cpus
        for left in reversed(range(_STARTS)):
            try:
                # Actors of this machine inherit this environment; what this process can import, they can.
                with _environment({**threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
                    self.ray.init(log_to_driver=False, logging_level="ERROR", **cluster)
                return
            except Exception as error:  # Ray raises bare exceptions too
                self.ray.shutdown()
                if "timed out" in str(error) and left:  # Ray gives itself 30 s, which a busy machine may not have
                    continue
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                where = f"--ray-address {self._address}" if self._address else "--executor ray"
                raise UserError(f"Ray does not start: {reason}", where=where, todo="see `ray status`") from error

    def _places(self) -> int:
        """Actors that there is room for."""
        places = sum(self._room.times(node["Resources"]) for node in self.ray.nodes() if node["Alive"])
        if not places:
            raise UserError(f"no machine has {self._room} for a worker", where="--executor ray", todo="ask for less")
        return places

    def _end(self) -> None:
        if not self.shared:
            cleaned = [worker.handle.clean.remote() for worker in self._hired]
            self.ray.wait(cleaned, num_returns=len(cleaned), timeout=_GRACE)  # who is dead or at work leaves its copy
        for worker in self._hired:
            self.ray.kill(worker.handle)

    def _shares(self, run: RunContext) -> bool:
        """Whether every machine sees the run directory."""
        if not self._address:
            return True
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        mark = (run.folder / run.out / f".seen-{run.name}").resolve()
        look = self.ray.remote(Path.exists)
        nodes = [node["NodeID"] for node in self.ray.nodes() if node["Alive"]]
        places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        mark.touch()
        try:
            answers = [look.options(num_cpus=0, scheduling_strategy=place).remote(mark) for place in places]
            return all(self.ray.get(answers))
        finally:
            mark.unlink()


class _Actor:
    """A worker that is an actor.

    Args:
        crew: Of which it is.
        room: What it needs.
    """

    def __init__(self, crew: RayCrew, room: Room) -> None:
        self._crew = crew
        options: dict[str, Any] = {"num_cpus": room.cpus, "max_restarts": 0, "max_task_retries": 0}
        options |= {"num_gpus": room.gpus} if room.gpus else {}
        options |= {"memory": room.memory} if room.memory else {}
        self.handle = crew.ray.remote(RayWorker).options(**options).remote()

    def begin(self, job: Job, *, wait: bool) -> None:
        """Send a job, with what was recorded of its cells if the actor cannot see that."""
        self._run, parcel = RunDirectory(job.run.out), None
        if not self._crew.shared:
            parcel = pack(self._run, {cell.id for cell in job.cells(self._crew.registry)})
        self.answer = self.handle.do.remote(job, parcel, wait=wait)

    def outcome(self) -> JobOutcome:
        """Receive what became of it, and write the cells that came with it."""
        errors = self._crew.ray.exceptions
        try:
            outcome, parcel = self._crew.ray.get(self.answer)
        except errors.RayTaskError as error:
            raise UserError(f"a worker cannot read its job: {error.cause}", todo="install the same there") from error
        except errors.OutOfMemoryError:
            raise WorkerDied("was killed because its machine ran out of memory") from None
        except errors.RayError as error:
            raise WorkerDied(f"died ({_last_line(error)})") from None
        if parcel is not None:
            unpack(self._run, parcel)
        found: JobOutcome = outcome
        return found


class RayWorker:
    """The actor: a worker in a process that Ray has started."""

    def __init__(self) -> None:
        self._worker: RemoteWorker | None = None
        self._away: RunContext | None = None

    def do(self, job: Job, parcel: Parcel | None, *, wait: bool) -> tuple[JobOutcome, Parcel | None]:
        """Do a job.

        Args:
            job: Of one run.
            parcel: Its cells as far as they are done, if this machine does not share the file system.
            wait: Whether to wait for cells that another process works on.

        Returns:
            What became of the job, and its cells if they came as a parcel.
        """
        if parcel is None:
            self._worker = self._worker or RemoteWorker(job.run)
            return self._worker.do(job, wait=wait), None
        self._away = self._away or replace(job.run, out=Path(tempfile.mkdtemp(prefix="adaptbench-"), "run"))
        run = RunDirectory(self._away.out)
        unpack(run, parcel)
        self._worker = self._worker or RemoteWorker(self._away)
        outcome = self._worker.do(job, wait=wait)
        done = {arguments[0].cell for name, arguments in outcome.told if name == "finish"}
        return outcome, pack(run, done | set(run.failures()))

    def clean(self) -> None:
        """Remove what was written on a machine that does not share the file system."""
        if self._away is not None:
            shutil.rmtree(self._away.out.parent, ignore_errors=True)


@contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    """Ray writes to the standard output, which is for answers."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    kept = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
