"""Peak memory of a call: what it takes on top of what was allocated before."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


def peak_memory(call: Callable[[], object], device: str = "cpu") -> int:
    """Return the most bytes of tensors that a torch call holds at a time, beyond those held before it.

    On a GPU it is the allocator's own peak. On the CPU, whose allocator keeps none, the profiler's allocations and
    releases are added up in their order. Memory that is not torch's is not seen.
    """
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    with CpuPeak() as peak:
        call()
    return peak.bytes


class CpuPeak:
    """Watches the torch tensors that the processor's memory holds while it is open, beyond those held before.

    Attributes:
        bytes: The most at a time, once it is closed.
    """

    bytes = 0

    def __enter__(self) -> Self:
        """Begin to watch."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes to standard error
        from torch.profiler import ProfilerActivity, profile

        self._profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profiler.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: object) -> None:
        """Add up what was allocated and released, in its order."""
        self._profiler.__exit__(*raised)  # type: ignore[no-untyped-call]
        results: Any = self._profiler.profiler
        changes = [
            (event.start_ns(), event.nbytes())
            for event in results.kineto_results.events()
            if event.name() == "[memory]"
        ]
        held = 0
        for _, change in sorted(changes, key=lambda change: change[0]):
            held += change
            self.bytes = max(self.bytes, held)


def free_memory(device: str = "cpu") -> int:
    """Return the bytes that can be allocated on a device now."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fields = dict(line.split(":", 1) for line in lines)
    return 1024 * int(fields["MemAvailable"].split()[0])


def used_memory() -> int:
    """Return the most bytes of the machine's memory that this process has held at a time."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
