"""Time: finished work only, warmed up, repeated, and refused where the clock cannot tell. No test waits for a clock."""

from __future__ import annotations

import ast
import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import adaptbench
import pytest
from adaptbench.harness.measure import hardware
from adaptbench.harness.measure import timing as timing_module
from adaptbench.harness.measure.timing import CpuClock, CudaClock, Effort, TooShort, measure, measure_stages
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adaptbench.harness.results import Timing


class Scripted:
    """A clock that says what it was told to; the last duration again and again."""

    def __init__(self, *durations: float, resolution: float = 1e-9) -> None:
        self.durations, self.resolution, self.calls = list(durations), resolution, 0

    def time(self, call: Callable[[], object]) -> float:
        call()
        self.calls += 1
        return self.durations[min(self.calls, len(self.durations)) - 1]


class Laps:
    """A clock that says what laps it was told to; the last ones again and again."""

    resolution = 1e-9

    def __init__(self, *laps: dict[str, float]) -> None:
        self.told = list(laps)

    def laps(self, call: Callable[[Callable[[str], None]], object]) -> dict[str, float]:
        call(lambda _: None)
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]


class Stream:
    """An asynchronous device: work is queued, and done when somebody waits."""

    def __init__(self) -> None:
        self.now, self.queue = 0.0, list[float | Mark]()

    def launch(self, seconds: float) -> None:
        self.queue.append(seconds)

    def synchronize(self, *_: object) -> None:
        for item in self.queue:
            if isinstance(item, Mark):
                item.at = self.now
            else:
                self.now += item
        self.queue.clear()


class Mark:
    """An event on the stream; unknown until the stream has passed it."""

    stream: Stream

    def __init__(self, **_: object) -> None:
        self.at: float | None = None

    def record(self, *_: object) -> None:
        self.stream.queue.append(self)

    def elapsed_time(self, end: Mark) -> float:
        if self.at is None or end.at is None:
            raise RuntimeError("the device has not passed the event")
        return 1000 * (end.at - self.at)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    import torch

    stream = Stream()
    monkeypatch.setattr(Mark, "stream", stream, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", Mark)
    monkeypatch.setattr(torch.cuda, "synchronize", stream.synchronize)
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    return stream


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # it takes longer than all else here


def timed(*durations: float, effort: Effort | None = None, resolution: float = 1e-9) -> Timing:
    clock = Scripted(*durations, resolution=resolution)
    return measure(lambda: None, what="nothing", inputs=3, effort=effort, clock=clock)


def test_an_asynchronous_call_is_timed_to_its_end(stream: Stream) -> None:
    assert CudaClock("cuda").time(lambda: stream.launch(2.0)) == pytest.approx(2.0)


def test_work_queued_before_the_call_is_not_its_own(stream: Stream) -> None:
    stream.launch(50.0)
    assert CudaClock("cuda").time(lambda: stream.launch(2.0)) == pytest.approx(2.0)


def test_a_gpu_is_measured_by_its_own_clock(stream: Stream) -> None:
    timing = measure(lambda: stream.launch(0.25), what="forward", inputs=1, device="cuda:0")
    assert (timing.median, timing.p95, timing.device) == (pytest.approx(0.25), pytest.approx(0.25), "cuda:0")


@pytest.mark.parametrize(
    ("state", "noted"),
    [
        ({"sm_clock_mhz": 1400, "sm_clock_max_mhz": 1530, "other_processes": 0}, ""),
        ({"sm_clock_mhz": 900, "sm_clock_max_mhz": 1530}, "the GPU ran at 900 of 1530 MHz"),
        ({"other_processes": 2}, "other processes on the GPU: 2"),
        ({}, ""),
    ],
)
def test_the_state_of_the_gpu_stands_beside_its_times(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, state: dict[str, int], noted: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(timing_module, "gpu_state", lambda device: asked.append(device) or state)
    timing = measure(lambda: stream.launch(0.25), what="forward", inputs=1, device="cuda:1")
    assert (timing.gpu, timing.note, asked) == (state, noted, ["cuda:1"])
    assert timed(1.0).gpu == {}
    assert asked == ["cuda:1"]


def test_the_processor_clock_runs_the_call_and_never_goes_back() -> None:
    called: list[int] = []
    assert CpuClock().time(lambda: called.append(1)) >= 0
    assert called == [1]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60))
@settings(max_examples=25, deadline=None)
def test_quartiles_are_ordered_and_within_what_was_measured(durations: list[float]) -> None:
    timing = timed(1.0, 1.0, *durations, effort=Effort(repeats=len(durations), seconds=0))
    low, high = min(durations), max(durations)
    assert low * (1 - 1e-9) <= timing.q1 <= timing.median <= timing.q3 <= timing.p95 <= high * (1 + 1e-9)
    assert timing.repeats == len(durations)


def test_quartiles_of_known_durations() -> None:
    timing = timed(1.0, 1.0, *(float(i) for i in range(1, 102)), effort=Effort(repeats=101, seconds=0))
    assert (timing.q1, timing.median, timing.q3, timing.p95) == (26.0, 51.0, 76.0, 96.0)


def test_warming_up_ends_when_two_calls_agree_and_is_left_out() -> None:
    timing = timed(9.0, 5.0, 3.0, 2.0, 2.0, 2.0)
    assert (timing.warmup, timing.median, timing.p95) == (5, 2.0, 2.0)


def test_warming_up_ends_even_if_the_calls_never_agree() -> None:
    timing = timed(*(2.0**i for i in range(40)), effort=Effort(repeats=2, seconds=0))
    assert 2 <= timing.warmup <= 20


def test_measuring_ends_when_its_time_is_up_but_not_before_three_repetitions() -> None:
    long = timed(2.0, effort=Effort(10, 0.5, most=1.0))
    assert (long.warmup, long.repeats) == (1, 3)
    short = timed(0.1, effort=Effort(10, 0.5, most=0.65))
    assert (short.warmup, short.repeats) == (2, 5)
    assert timed(0.01, effort=Effort(10, 0.05, most=9.0)).repeats == 10


def test_short_calls_are_repeated_longer_and_long_calls_often_enough() -> None:
    assert timed(0.01, effort=Effort(repeats=10, seconds=0.5)).repeats == pytest.approx(50, abs=1)
    assert timed(100.0, effort=Effort(repeats=10, seconds=0.5)).repeats == 10
    assert timed(1e-6, effort=Effort(repeats=10, seconds=1e9)).repeats <= 10_000


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_off_while_timing_and_then_as_before(enabled: bool) -> None:
    was, seen = gc.isenabled(), set[bool]()
    try:
        (gc.enable if enabled else gc.disable)()
        measure(lambda: seen.add(gc.isenabled()), what="", inputs=1, clock=Scripted(1.0))
        after = gc.isenabled()
    finally:
        (gc.enable if was else gc.disable)()
    assert (seen, after) == ({False}, enabled)


def test_garbage_collection_comes_back_after_a_failure() -> None:
    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        measure(fail, what="", inputs=1, clock=Scripted(1.0))
    assert gc.isenabled()


def test_what_the_clock_cannot_tell_is_refused() -> None:
    with pytest.raises(TooShort):
        timed(1e-3, resolution=1e-3)
    assert timed(1e-3, resolution=1e-9).median == 1e-3


def test_an_unsteady_figure_says_so() -> None:
    assert timed(1.0).note == ""
    assert "quartiles" in timed(1.0, 1.0, *([1.0, 2.0] * 10), effort=Effort(repeats=20, seconds=0)).note


def test_a_busy_machine_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1e4, 0.0, 0.0), raising=False)
    assert "load 10000" in timed(1.0).note


def test_a_timing_says_what_where_and_in_which_session() -> None:
    timing = timed(1.0)
    assert (timing.what, timing.inputs, timing.device) == ("nothing", 3, "cpu")
    assert (timing.machine, timing.session) == (hardware.machine(), hardware.session_id())
    assert timing.peak_memory is None


def test_stages_are_parts_of_the_prefill_and_a_token_comes_after_it() -> None:
    first, then = {"tower": 9.0, "prefill": 9.0, "token": 9.0}, {"tower": 1.0, "prefill": 3.0, "token": 0.5}
    timing = measure_stages(lambda mark: mark(""), what="prefill", inputs=2, clock=Laps(first, then))
    assert (timing.median, timing.warmup, timing.what, timing.inputs) == (4.0, 3, "prefill", 2)
    assert {stage: spent.median for stage, spent in timing.stages.items()} == then


def test_a_stage_that_the_clock_cannot_tell_is_left_out() -> None:
    laps = Laps({"tower": 1.0, "method": 1e-8, "prefill": 3.0})
    assert list(measure_stages(lambda _: None, what="", inputs=1, clock=laps).stages) == ["tower", "prefill"]
    with pytest.raises(TooShort):
        measure_stages(lambda _: None, what="", inputs=1, clock=Laps({"tower": 1e-8}))


def test_stages_on_a_gpu_are_read_on_its_stream(stream: Stream) -> None:
    def call(mark: Callable[[str], None]) -> None:
        for stage, seconds in (("tower", 2.0), ("prefill", 1.0), ("method", 0.25), ("prefill", 4.0), ("token", 0.5)):
            stream.launch(seconds)
            mark(stage)

    stream.launch(50.0)  # queued before
    assert CudaClock("cuda").laps(call) == {"tower": 2.0, "prefill": 5.0, "method": 0.25, "token": 0.5}
    assert all(seconds >= 0 for seconds in CpuClock().laps(call).values())


CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "time_ns"}


def _clocks_read(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr in CLOCKS | {"time"}:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module in {"time", "timeit"}:
            yield from (alias.name for alias in node.names if alias.name in CLOCKS | {"time", "default_timer"})


def test_nothing_else_in_the_package_reads_a_clock() -> None:
    root = Path(adaptbench.__file__).parent
    readers = {
        str(path.relative_to(root))
        for folder in ("harness", "tasks", "models", "adapters", "leaderboards")
        for path in (root / folder).rglob("*.py")
        if any(_clocks_read(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert readers == {"harness/measure/timing.py"}
