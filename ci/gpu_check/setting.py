"""What every part of the check is given: where it runs, how large, and how it tells what it found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

Tell = Callable[[dict[str, Any]], None]
"""Keeps what a part has found so far: it may be stopped at any time."""


class Part(NamedTuple):
    """A part of the check, which runs in a process of its own.

    Attributes:
        module: Has ``run(setting, tell)``.
        limit: Seconds, after which it is stopped.
    """

    module: str
    limit: float


@dataclass(frozen=True)
class Setting:
    """How a part runs.

    Attributes:
        device: As torch calls it.
        small: A model of a few thousand weights instead of LLaVA-1.5-7B.
        folder: Where it may write.
    """

    device: str
    small: bool
    folder: Path

    @property
    def gpu(self) -> bool:
        """Whether it runs on one."""
        return self.device.startswith("cuda")

    @property
    def clock(self) -> Any:
        """The clock that AdaptBench takes for this device."""
        from adaptbench.harness.measure.timing import CpuClock, CudaClock

        return CudaClock(self.device) if self.gpu else CpuClock()

    @property
    def precision(self) -> tuple[str, str]:
        """What is computed in: as torch calls it, and as an accelerator's peaks are named."""
        return ("bfloat16", "bf16") if self.gpu else ("float32", "fp32")

    def synchronise(self) -> None:
        """Wait for the device."""
        import torch

        if self.gpu:
            torch.cuda.synchronize(self.device)

    def wall(self, call: Callable[[], object], *, wait: bool = True) -> tuple[float, float]:
        """Seconds by the processor's clock until a call has returned, and until the device has ended it.

        Args:
            call: What is timed.
            wait: For what was queued before.
        """
        if wait:
            self.synchronise()
        start = time.perf_counter()
        call()
        returned = time.perf_counter()
        self.synchronise()
        return returned - start, time.perf_counter() - start

    def about(self) -> dict[str, Any]:
        """The device and what drives it."""
        import torch

        told: dict[str, Any] = {"device": self.device, "torch": torch.__version__, "cuda": torch.version.cuda}
        if self.gpu:
            card = torch.cuda.get_device_properties(self.device)
            told |= {"name": card.name, "memory_bytes": card.total_memory, "processors": card.multi_processor_count}
        return told


def raise_if_failed(rows: list[dict[str, Any]]) -> None:
    """Let a part fail whose rows are not all measured, once all of them were tried."""
    failed = [row["error"] for row in rows if "error" in row]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(rows)} failed, first with {failed[0]}")


def keeper(file: Path) -> Tell:
    """Write what is told into a file, whole or not at all."""

    def tell(figures: dict[str, Any]) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        new.replace(file)

    return tell
