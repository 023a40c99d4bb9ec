"""Cells of two sides in time: base and head take turns, and more processes of base show what noise there is."""

from __future__ import annotations

import functools
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..errors import UserError
from ..measure.hardware import machine
from ..measure.timing import calls_lasting, repeated
from .clock import adjusted, noise, ratio, taking_turns
from .sides import TimedSide, UnknownCell
from .verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ..identity import Settings
    from ..measure.timing import Seconds
    from ..results import CellId
    from .clock import ClockName, Ratio, Repetition, TimeRule
    from .sides import Code

_TURN = 0.02
"""Seconds of a turn: short, so that what disturbs one side disturbs all; long enough for caches to be filled again."""


class TimedPair(NamedTuple):
    """A cell of base and one of head; usually the same one of other code."""

    name: str
    base: CellId
    head: CellId


@dataclass(frozen=True, slots=True)
class Timed:
    """The repetitions of a pair.

    Attributes:
        name: Of the pair.
        turn: Calls in a row that one turn is.
        call: Seconds of one call of base, before the repetitions.
        processes: The repetitions of each process of all sides. Empty if a call is too short.
    """

    name: str
    turn: int
    call: float
    processes: list[list[Repetition]] = field(default_factory=list)

    def times(self, side: str, clock: ClockName) -> npt.NDArray[np.float64]:
        """Seconds of a call: the median of each process or, of one process a side, of each repetition."""
        seconds = [[one.times[side][clock] / (self.turn * one.turns) for one in of] for of in self.processes]
        return np.array(seconds[0] if len(seconds) == 1 else [median(of) for of in seconds])

    @property
    def calls(self) -> list[int]:
        """Calls of each repetition, sorted."""
        return sorted(self.turn * one.turns for of in self.processes for one in of)

    @property
    def shortest(self) -> float:
        """Seconds of the shortest repetition of any side, by the wall clock."""
        return min(of["wall"] for repetitions in self.processes for one in repetitions for of in one.times.values())


@dataclass(frozen=True, slots=True)
class BothSides:
    """What both sides run.

    Attributes:
        base: Code of base.
        head: Code of head.
        settings: Batch size and device.
        plugins: Files and modules to load besides the installed ones; relative to each side's folder.
    """

    base: Code
    head: Code
    settings: Settings
    plugins: tuple[str, ...] = ()


def time_pairs(
    title: str,
    pairs: Sequence[TimedPair],
    both: BothSides,
    rule: TimeRule,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Verdict, list[Timed]]:
    """Time cells of both sides in turn, and judge them.

    Args:
        title: Of the verdict.
        pairs: What to time.
        both: What the sides run.
        rule: When head counts as slower.
        seed: Of the order within rounds.
        tell: Told what is being timed.

    Raises:
        UserError: Head cannot load a cell, a side's process ends, or the pairs are too few for that many cells.
    """
    rule.can_tell(len(pairs))
    codes: dict[str, Code] = {"base": both.base, "control": both.base, "head": both.head}
    waiting = {pair.name: pair for pair in pairs}
    timed: dict[str, Timed] = {}
    findings: list[Finding] = []
    generator = np.random.Generator(np.random.PCG64(seed))
    notes = [f"timed on {machine()}, {machine_load()}"]
    for start in range(rule.starts):
        with ExitStack() as stack:
            sides = {name: stack.enter_context(TimedSide(name, code)) for name, code in codes.items()}
            for name, pair in list(waiting.items()):
                tell(f"timing {name}, process {start + 1}/{rule.starts}")
                try:
                    used = _load(pair, sides, both)
                except UserError as error:
                    if not error.where.startswith("the base side"):
                        raise
                    findings.append(_unloaded(name, error))
                    timed.pop(name, None)
                    del waiting[name]
                    continue
                notes += [
                    note
                    for side in ("base", "head")
                    if (note := f"{side}: {codes[side].folder}, AdaptBench of {used[side]}") not in notes
                ]
                if name not in timed:
                    timed[name] = Timed(name, *sides["base"].calibrate(_turn(rule)))
                if timed[name].call < rule.least_call:
                    del waiting[name]
                else:
                    turns = {side: functools.partial(sides[side].repeat, timed[name].turn) for side in codes}
                    timed[name].processes.append(_repetitions(turns, rule.rounds, rule, generator))
    if not timed:
        what = "nothing was timed: base has none of these cells"
        findings.append(_finding("all cells", "refused", "nothing-timed", detail=what))
    found = list(timed.values())
    return Verdict(suite=title, findings=(*findings, *judged(found, rule)), notes=tuple(notes)), found


def _load(pair: TimedPair, sides: Mapping[str, TimedSide], both: BothSides) -> dict[str, str]:
    """Load a pair on all sides at once and warm it up; return the folder of the AdaptBench that each side runs."""

    def ready(name: str) -> str:
        folder = sides[name].load(pair.head if name == "head" else pair.base, both.settings, both.plugins)
        sides[name].repeat(1)
        return folder

    with ThreadPoolExecutor(len(sides)) as pool:
        loading = {name: pool.submit(ready, name) for name in sides}
    return {name: side.result() for name, side in loading.items()}


def _unloaded(name: str, error: UserError) -> Finding:
    """A cell that base does not have is new; one that base cannot load says nothing about head."""
    if isinstance(error, UnknownCell):
        return _finding(name, "pass", "new", detail=f"base does not have it: {error.what}")
    return _finding(name, "refused", "base-fails", detail=f"base cannot load it: {error.what}")


def _turn(rule: TimeRule) -> float:
    """Seconds of a turn."""
    return min(_TURN, rule.seconds)


def _repetitions(
    turns: Mapping[str, Callable[[], Seconds]], count: int, rule: TimeRule, generator: np.random.Generator
) -> list[Repetition]:
    return [taking_turns(turns, rule.seconds, generator) for _ in range(count)]


def in_this_process(name: str, base: Callable[[], object], head: Callable[[], object], rule: TimeRule) -> Timed:
    """Have two functions do their repetitions in turn, and base once more for the noise floor."""
    timed = Timed(name, *calls_lasting(base, _turn(rule)))
    if timed.call < rule.least_call:
        return timed
    head()  # as warm as base
    calls: dict[str, Callable[[], object]] = {"base": base, "control": base, "head": head}
    turns = {side: functools.partial(repeated, function, timed.turn) for side, function in calls.items()}
    gc.freeze()  # each turn collects garbage: only its own
    try:
        generator = np.random.Generator(np.random.PCG64(0))
        timed.processes.append(_repetitions(turns, rule.pairs, rule, generator))
    finally:
        gc.unfreeze()
    return timed


def judged(timed: Sequence[Timed], rule: TimeRule) -> list[Finding]:
    """Judge the repetitions of cells together: their p values are adjusted for their number."""
    found = [_ratio(one, rule) for one in timed]
    ps = iter(adjusted([one for one in found if one is not None]))
    return [
        _short(one, rule) if against is None else _judge(one, against, next(ps), rule)
        for one, against in zip(timed, found, strict=True)
    ]


def _ratio(timed: Timed, rule: TimeRule) -> Ratio | None:
    if not timed.processes:
        return None
    return ratio(timed.times("base", rule.clock), timed.times("head", rule.clock), rule)


def _judge(timed: Timed, found: Ratio, p: float, rule: TimeRule) -> Finding:
    floor, noisy = noise(timed.times("base", rule.clock), timed.times("control", rule.clock), rule)
    base, head = (_call(median(timed.times(side, rule.clock))) for side in ("base", "head"))
    least, *_, most = (*timed.calls, timed.calls[-1])
    calls = f"{least} call{'s' * (least > 1)}" if least == most else f"{least} to {most} calls"
    processes = f" from {rule.starts} processes a side" if rule.starts > 1 else ""
    detail = (
        f"x{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}], p {p:.1g}; base against itself "
        f"x{floor.estimate:.3f} [{floor.low:.3f}, {floor.high:.3f}]; {len(timed.calls)} pairs of "
        f"{calls}{processes}"
    )
    if noisy:
        detail += "; base alone differs from itself by more than what counts as slower: use a quieter machine"
        return _finding(timed.name, "refused", "too-noisy", base, head, detail)
    if p < rule.alpha:
        return _finding(timed.name, "fail", "slower", base, head, f"{detail}; slower than x{rule.slower:g}")
    return _finding(timed.name, "pass", "not-slower", base, head, detail)


def _short(timed: Timed, rule: TimeRule) -> Finding:
    what = (
        f"a call takes {_call(timed.call)}, and less than {_call(rule.least_call)} cannot be judged: use larger batches"
    )
    return _finding(timed.name, "refused", "too-short", _call(timed.call), detail=what)


def _finding(
    name: str, status: Literal["pass", "fail", "refused"], code: str, base: str = "", head: str = "", detail: str = ""
) -> Finding:
    return Finding(kind="time", cell=name, status=status, code=code, base=base, head=head, detail=detail)


def _call(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{1e3 * seconds:.2f} ms"


def machine_load() -> str:
    """How busy the machine is, in words."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"load {load:.1f} on {os.cpu_count()} cores"
