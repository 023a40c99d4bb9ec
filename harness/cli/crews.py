"""Who does the work of a run: what the options say, and the executor that they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError
from ..specs import did_you_mean

if TYPE_CHECKING:
    from ..executor import Executor
    from ..planning import Plan
    from ..progress import Progress
    from ..registry import Registry

_EXECUTORS = ("in-process", "processes", "ray")
_MOST = 4
"""Workers on a CPU unless more are asked for: each has a model in memory."""


@dataclass(frozen=True, slots=True)
class CrewOptions:
    """What the command line said of it.

    Attributes:
        devices: Separated by commas.
        shard: ``I/N``.
    """

    executor: str = "in-process"
    workers: int | None = None
    devices: str = ""
    threads: int | None = None
    shard: str = ""
    ray_address: str = ""
    gpus: float | None = None
    memory: float | None = None
    """Of a worker, in GiB."""

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            UserError: It says which options do not.
        """
        if self.executor not in _EXECUTORS:
            guess = did_you_mean(self.executor, _EXECUTORS)
            raise UserError(f"unknown executor {self.executor!r}{guess}", todo=f"choose from {', '.join(_EXECUTORS)}")
        if self.workers and self.executor == "in-process":
            raise UserError("one process is one worker", where="--workers", todo="add --executor processes or ray")
        if self.devices and self.executor != "processes":
            raise UserError("each is for a process", where="--devices", todo="use --executor processes, or --device")
        for option, value in (
            ("--ray-address", self.ray_address),
            ("--gpus-per-cell", self.gpus),
            ("--memory-per-cell", self.memory),
        ):
            if value and self.executor != "ray":
                raise UserError("it is for Ray", where=option, todo="add --executor ray, or leave it out")
        if self.devices and self.workers not in {None, len(self._listed)}:
            raise UserError(
                f"{self.workers} workers are asked for besides", where=f"--devices {self.devices}", todo="leave one out"
            )
        if len(kinds := sorted(set(map(_kind, self._listed)))) > 1:
            raise UserError(
                f"{' and '.join(kinds)} round differently", where="--devices", todo="choose devices of one kind"
            )

    @property
    def _listed(self) -> list[str]:
        return [name.strip() for name in self.devices.split(",") if name.strip()]

    def device(self, asked: str | None) -> str | None:
        """What each worker calls its device.

        Raises:
            UserError: A device is not here, or is asked for twice.
        """
        from ..measure.hardware import check_device

        if asked and self.devices:
            raise UserError("--devices says it", where=f"--device {asked}", todo="leave one out")
        for device in self._listed:
            check_device(device)
        return _kind(self._listed[0]) if self._listed else asked

    def part(self, whole: Plan) -> Plan:
        """The part of a plan that this command does.

        Raises:
            UserError: The shard is malformed.
        """
        if not self.shard:
            return whole
        from ..jobs import shard_of

        found = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError("it is not a part", where=f"--shard {self.shard}", todo="write 1/8, 2/8, ... 8/8")
        return shard_of(whole, int(found[1]), int(found[2]))

    def threads_each(self, device: str) -> int | None:
        """Threads of each worker, if that is not left to its libraries."""
        from ..measure.hardware import cores

        if self.threads or self.executor == "in-process":
            return self.threads
        if self.ray_address:
            return 1
        return max(1, cores() // (self._ray_workers or 1 if self.executor == "ray" else len(self._devices(device))))

    def make(self, registry: Registry, device: str, progress: Progress) -> Executor | None:
        """Return the executor; ``None`` for this process."""
        if self.executor == "in-process":
            return None
        from ..crew import Crewed

        if self.executor == "ray":
            from ..ray_crew import RayCrew, Room

            gpus = self.gpus if self.gpus is not None else float(device != "cpu")
            room = Room(self.threads_each(device) or 1, gpus, int((self.memory or 0) * 2**30))
            return Crewed(RayCrew(registry, self._ray_workers, room, self.ray_address), registry, progress)
        from ..processes import Processes

        return Crewed(Processes(self._devices(device)), registry, progress)

    @property
    def _ray_workers(self) -> int | None:
        """Workers that are asked for; a cluster has as many as there is room for."""
        return self.workers or (None if self.ray_address else _few())

    def _devices(self, device: str) -> list[str]:
        """The device of each worker; by default one for each GPU, or four, as far as there are cores."""
        from ..measure.hardware import check_device

        if self._listed:
            return self._listed
        if device == "cpu":
            return ["cpu"] * (self.workers or _few())
        if ":" in device:
            raise UserError("it is one device", where=f"device {device}", todo="name all with --devices")
        check_device(device)
        import torch

        count = torch.get_device_module(device).device_count()
        if (self.workers or 0) > count:
            what = f"this machine has {count} {device} devices"
            raise UserError(what, where=f"--workers {self.workers}", todo="name devices several times with --devices")
        return [f"{device}:{index}" for index in range(self.workers or count)]


def _few() -> int:
    from ..measure.hardware import cores

    return min(_MOST, cores())


def _kind(device: str) -> str:
    return device.partition(":")[0]
