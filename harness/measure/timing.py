"""Measured time. Nothing else in the package reads a clock.

A call is warmed up until its duration settles, then repeated; the device is synchronised before the clock is read, so
nothing is timed before it has finished. What is shorter than the clock can tell is not reported.
"""

from __future__ import annotations

import gc
import math
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ..results import STAGES, Spread, Timing
from .hardware import gpu_state, machine, session_id
from .memory import CpuPeak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    import torch

    from ..abilities import Mark

_Answer = TypeVar("_Answer")

_SETTLED = 0.10
"""Warm-up ends when a repetition differs from the one before by less than this share of it."""
_MOST_WARMUP = 10
_MOST_REPEATS = 1000
_LEAST_REPEATS = 3
"""However little time there is."""
_LEAST_TICKS = 100
"""A duration of fewer ticks of the clock is not reported: the rounding would be more than a hundredth of it."""
_SLOW_CLOCK = 0.8
"""A GPU whose clock is below this share of its highest is held back, by heat, by its power limit or by its owner."""


class TooShort(Exception):
    """A call is over before the clock can tell how long it took."""


class Clock(Protocol):
    """A device's clock."""

    resolution: float
    """Seconds of a tick."""

    def time(self, call: Callable[[], object]) -> float:
        """Run a call to its end, on the device, and return its seconds."""
        ...

    def laps(self, call: Callable[[Mark], object]) -> dict[str, float]:
        """Run a call that marks its stages to its end; return the seconds of each stage."""
        ...


class CpuClock:
    """The monotonic clock of the processor, for calls that return when they are done."""

    resolution = time.get_clock_info("perf_counter").resolution

    def time(self, call: Callable[[], object]) -> float:
        """Return the seconds from before the call to after it."""
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def laps(self, call: Callable[[Mark], object]) -> dict[str, float]:
        """Return the seconds of each stage."""
        ends = [("", time.perf_counter())]
        call(lambda stage: ends.append((stage, time.perf_counter())))
        return _added((stage, end - start) for (_, start), (stage, end) in pairwise(ends))


class CudaClock:
    """CUDA events around a call, read after the device has passed both."""

    resolution = 0.5e-6

    def __init__(self, device: str) -> None:
        self._device = device

    def time(self, call: Callable[[], object]) -> float:
        """Return the seconds between two events on the device's stream."""
        import torch

        with torch.cuda.device(self._device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end)) / 1000

    def laps(self, call: Callable[[Mark], object]) -> dict[str, float]:
        """Return the seconds of each stage, between events on the device's stream that nobody waits for."""
        import torch

        ends: list[tuple[str, Any]] = []

        def mark(stage: str) -> None:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            ends.append((stage, event))

        with torch.cuda.device(self._device):
            torch.cuda.synchronize()
            mark("")
            call(mark)
            torch.cuda.synchronize()
            return _added((stage, start.elapsed_time(end) / 1000) for (_, start), (stage, end) in pairwise(ends))


def _added(laps: Iterable[tuple[str, float]]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for stage, lap in laps:
        seconds[stage] = seconds.get(stage, 0.0) + lap
    return seconds


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: at least ``repeats`` repetitions, and more until ``seconds`` have been measured.

    It ends after ``most`` seconds, warm-up included, but not before three repetitions.
    """

    repeats: int = 10
    seconds: float = 0.4
    most: float = math.inf


def measure(
    call: Callable[[], object],
    *,
    what: str,
    inputs: int,
    device: str = "cpu",
    effort: Effort | None = None,
    clock: Clock | None = None,
) -> Timing:
    """Measure the duration of a call.

    Args:
        call: What to time; it may return before the device is done.
        what: What is timed, as shown to users.
        inputs: Inputs that one call processes.
        device: Where it runs.
        effort: How long to measure.
        clock: Instead of the device's own.

    Returns:
        Median, quartiles and 95th percentile in seconds. Peak memory is left empty.

    Raises:
        TooShort: A call takes fewer than a hundred ticks of the clock.
    """
    clock = clock or _clock(device)
    return _measured(lambda: clock.time(call), clock.resolution, what, inputs, device, effort or Effort())


def measure_stages(
    call: Callable[[Mark], object],
    *,
    what: str,
    inputs: int,
    device: str = "cpu",
    effort: Effort | None = None,
    clock: Clock | None = None,
) -> Timing:
    """Measure a prefill stage by stage, in the same repetitions, with one more token after each.

    Args:
        call: What to time; see `abilities.Staged`.
        what: As in `measure`, and so are the others.
        inputs: As there.
        device: As there.
        effort: As there.
        clock: As there.

    Returns:
        What `measure` returns of the prefill, with its stages; a stage that is too short for the clock is left out.

    Raises:
        TooShort: As for `measure`.
    """
    clock, taken = clock or _clock(device), list[dict[str, float]]()

    def prefill() -> float:
        taken.append(clock.laps(call))
        return sum(seconds for stage, seconds in taken[-1].items() if stage != "token")

    timing, stages = _measured(prefill, clock.resolution, what, inputs, device, effort or Effort()), {}
    for stage in STAGES:
        with suppress(TooShort):
            seconds = np.array([laps.get(stage, 0.0) for laps in taken[timing.warmup :]])
            found = _summary(seconds, stage, clock.resolution)
            stages[stage] = Spread(median=found["median"], q1=found["q1"], q3=found["q3"])
    return timing.model_copy(update={"stages": stages})


def _clock(device: str) -> Clock:
    return CudaClock(device) if device.startswith("cuda") else CpuClock()


def _measured(
    once: Callable[[], float], resolution: float, what: str, inputs: int, device: str, effort: Effort
) -> Timing:
    """Measure what does something once and returns its seconds."""
    with _garbage_left():
        warmup = _warm_up(once, effort.most)
        seconds = _repeat(once, effort, effort.most - sum(warmup))
        gpu = gpu_state(device) if device.startswith("cuda") else {}  # at once, before its clocks fall
    found = _summary(seconds, what, resolution)
    doubts = _doubts(found["median"], found["q1"], found["q3"], gpu)
    return Timing(
        session=session_id(), machine=machine(), device=device, what=what, inputs=inputs, warmup=len(warmup),
        repeats=len(seconds), gpu=gpu, note=doubts, **found,
    )  # fmt: skip


class Passes:
    """What the passes that a model makes anyway tell, by the processor's clock: to measure these costs next to nothing.

    Attributes:
        whole: Inputs of a pass -> seconds of each such pass, from images to vectors.
        module: Likewise, of the module's forward pass within.
        given: Inputs of a pass -> shapes of what the module was given.
        peak: Inputs of a pass -> the most bytes of tensors that the module held at a time, in the first such pass.
    """

    def __init__(self) -> None:
        self.whole: dict[int, list[float]] = {}
        self.module: dict[int, list[float]] = {}
        self.given: dict[int, str] = {}
        self.peak: dict[int, int] = {}

    def time(self, call: Callable[[], _Answer], inputs: int, module: torch.nn.Module | None = None) -> _Answer:
        """Return what a call returns; note its seconds, and what the module in it takes if that runs once."""
        marks: list[float] = []
        first = inputs not in self.whole  # it warms up
        peak = CpuPeak()

        def before(_module: object, _inputs: object, named: Mapping[str, object]) -> None:
            if first and not marks:
                self.given[inputs] = shapes_of(named)
                watching.enter_context(peak)
            marks.append(time.perf_counter())

        def after(*_: object) -> None:
            marks.append(time.perf_counter())
            watching.close()

        with ExitStack() as hooks, ExitStack() as watching:
            if module is not None:
                hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(after).remove)
            start = time.perf_counter()
            answer = call()
            end = time.perf_counter()
        self.whole.setdefault(inputs, []).append(end - start)
        if len(marks) == 2:
            self.module.setdefault(inputs, []).append(marks[1] - marks[0])
            if first:
                self.peak[inputs] = peak.bytes
        return answer


def shapes_of(given: Mapping[str, Any]) -> str:
    """Say what tells the work of one pass from another's: name and shape of each thing that a module is given."""
    return str([(name, _shape(value)) for name, value in given.items()])


def _shape(value: Any) -> object:
    return (tuple(value.shape), str(value.dtype)) if hasattr(value, "shape") else type(value).__name__


def of_passes(seconds: Sequence[float], *, what: str, inputs: int) -> Timing | None:
    """Sum up passes that were made anyway, of which the first one warms up; ``None`` if they are too few.

    Raises:
        TooShort: As for `measure`.
    """
    if len(seconds) <= _LEAST_REPEATS:
        return None
    found = _summary(np.array(seconds[1:]), what, CpuClock.resolution)
    return Timing(
        session=session_id(), machine=machine(), device="cpu", what=what, inputs=inputs, warmup=1, own=True,
        repeats=len(seconds) - 1, note=_doubts(found["median"], found["q1"], found["q3"], {}), **found,
    )  # fmt: skip


def _summary(seconds: npt.NDArray[np.float64], what: str, resolution: float) -> dict[str, float]:
    """Median, quartiles and 95th percentile, unless the clock is too slow for them."""
    quantiles = [float(q) for q in np.percentile(seconds, (50, 25, 75, 95))]
    if quantiles[0] < _LEAST_TICKS * resolution:
        raise TooShort(f"{what}: a call takes {quantiles[0]:.1e} s, too short for a clock of {resolution:.0e} s")
    return dict(zip(("median", "q1", "q3", "p95"), quantiles, strict=True))


class Seconds(NamedTuple):
    """What calls took.

    Attributes:
        wall: From before the first to after the last.
        processor: Of all processors that this process used for them; what other processes used does not count.
    """

    wall: float
    processor: float


def repeated(call: Callable[[], object], count: int) -> Seconds:
    """Time ``count`` calls in a row, as one; each returns when it is done."""
    gc.collect()  # each repetition begins without what others left
    with _garbage_left():
        processor, wall = time.process_time(), time.perf_counter()
        for _ in range(count):
            call()
        return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def calls_lasting(call: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Warm a call up and return how many in a row last at least ``seconds``, and how long one of them takes.

    What counts is the quickest of three tries: other work on the machine only ever adds.
    """
    _warm_up(lambda: CpuClock().time(call))
    count = 1
    while (took := min(repeated(call, count).wall for _ in range(3))) < seconds:
        count = max(count + 1, math.ceil(1.1 * count * seconds / max(took, CpuClock.resolution)))
    return count, took / count


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Collect no garbage meanwhile: a collection comes at any time, and takes as long as there are objects.

    Nor before, for a cell is timed twice, and with torch and transformers imported a collection takes a second.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _warm_up(once: Callable[[], float], most: float = math.inf) -> list[float]:
    """Repeat until two repetitions agree or there is no more time; return the seconds of each."""
    seconds = [once()]
    while sum(seconds) < most and len(seconds) < _MOST_WARMUP:
        seconds.append(once())
        if abs(seconds[-1] - seconds[-2]) <= _SETTLED * seconds[-2]:
            break
    return seconds


def _repeat(once: Callable[[], float], effort: Effort, most: float) -> npt.NDArray[np.float64]:
    """Repeat as often as is asked for, or as there is time; return the seconds of each."""
    seconds: list[float] = []
    while len(seconds) < effort.repeats or (sum(seconds) < effort.seconds and len(seconds) < _MOST_REPEATS):
        if sum(seconds) >= most and len(seconds) >= _LEAST_REPEATS:
            break
        seconds.append(once())
    return np.array(seconds)


def _doubts(median: float, q1: float, q3: float, gpu: Mapping[str, int]) -> str:
    """What makes a timing suspect, in words; empty if nothing does."""
    doubts = []
    if q3 - q1 > 0.2 * median:
        doubts.append(f"unsteady: the quartiles are {100 * (q3 - q1) / median:.0f} % of the median apart")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 1.5 * (os.cpu_count() or 1):
        doubts.append(f"the machine was busy: load {load:.1f} on {os.cpu_count()} cores")
    others, clock, top = (gpu.get(name, 0) for name in ("other_processes", "sm_clock_mhz", "sm_clock_max_mhz"))
    if others:
        doubts.append(f"other processes on the GPU: {others}")
    if clock < _SLOW_CLOCK * top:
        doubts.append(f"the GPU ran at {clock} of {top} MHz")
    return "; ".join(doubts)
