"""Cells of two sides in time: base and head take turns, and a second process of base shows what noise there is."""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..errors import UserError
from ..measure.hardware import machine
from ..measure.timing import calls_lasting, repeated
from .clock import adjusted, noise, ratio, taking_turns
from .sides import TimedSide, UnknownCell
from .verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..identity import Settings
    from ..measure.timing import Seconds
    from ..results import CellId
    from .clock import ClockName, Ratio, TimeRule
    from .sides import Code

SideName = Literal["base", "control", "head"]
SIDES: tuple[SideName, ...] = ("base", "control", "head")


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
        count: Calls in a row that one repetition is.
        call: Seconds of one call of base, before the repetitions.
        times: Side -> clock -> seconds, round by round; empty if a call is too short.
    """

    name: str
    count: int
    call: float
    times: dict[str, dict[ClockName, list[float]]]


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
    timed: list[Timed] = []
    findings: list[Finding] = []
    notes = [f"timed on {machine()}, {machine_load()}"]
    with ExitStack() as stack:
        codes: dict[SideName, Code] = {"base": both.base, "control": both.base, "head": both.head}
        sides = {name: stack.enter_context(TimedSide(name, code)) for name, code in codes.items()}
        for place, pair in enumerate(pairs, 1):
            tell(f"timing {place}/{len(pairs)}: {pair.name}")
            ids: dict[SideName, CellId] = {"base": pair.base, "control": pair.base, "head": pair.head}
            try:
                used = {name: side.load(ids[name], both.settings, both.plugins) for name, side in sides.items()}
            except UserError as error:
                if not error.where.startswith("the base side"):
                    raise
                findings.append(_unloaded(pair.name, error))
                continue
            notes += [
                note
                for name in ("base", "head")
                if (note := f"{name}: {codes[name].folder}, AdaptBench of {used[name]}") not in notes
            ]
            timed.append(repetitions(pair.name, sides, rule, seed))
    if not timed:
        what = "nothing was timed: base has none of these cells"
        findings.append(_finding("all cells", "refused", "nothing-timed", detail=what))
    return Verdict(suite=title, findings=(*findings, *judged(timed, rule)), notes=tuple(notes)), timed


def _unloaded(name: str, error: UserError) -> Finding:
    """A cell that base does not have is new; one that base cannot load says nothing about head."""
    if isinstance(error, UnknownCell):
        return _finding(name, "pass", "new", detail=f"base does not have it: {error.what}")
    return _finding(name, "refused", "base-fails", detail=f"base cannot load it: {error.what}")


def repetitions(name: str, sides: dict[SideName, TimedSide], rule: TimeRule, seed: int) -> Timed:
    """Have all sides do their repetitions in turn; base says how many calls one is."""
    count, call = sides["base"].calibrate(rule.seconds)
    if call < rule.least_call:
        return Timed(name, count, call, {})
    turns: dict[str, Callable[[], Seconds]] = {
        side: functools.partial(process.repeat, count) for side, process in sides.items()
    }
    return Timed(name, count, call, taking_turns(turns, rule.pairs, seed))


def in_this_process(name: str, base: Callable[[], object], head: Callable[[], object], rule: TimeRule) -> Timed:
    """Have two functions do their repetitions in turn, and base once more for the noise floor."""
    count, call = calls_lasting(base, rule.seconds)
    if call < rule.least_call:
        return Timed(name, count, call, {})
    head()  # as warm as base
    calls: dict[SideName, Callable[[], object]] = {"base": base, "control": base, "head": head}
    turns: dict[str, Callable[[], Seconds]] = {
        side: functools.partial(repeated, function, count) for side, function in calls.items()
    }
    return Timed(name, count, call, taking_turns(turns, rule.pairs, seed=0))


def judged(timed: Sequence[Timed], rule: TimeRule) -> list[Finding]:
    """Judge the repetitions of cells together: their p values are adjusted for their number."""
    found = [_ratio(one, rule) for one in timed]
    ps = iter(adjusted([one for one in found if one is not None]))
    return [
        _short(one, rule) if against is None else _judge(one, against, next(ps), rule)
        for one, against in zip(timed, found, strict=True)
    ]


def _ratio(timed: Timed, rule: TimeRule) -> Ratio | None:
    if not timed.times:
        return None
    return ratio(_of(timed, "base", rule), _of(timed, "head", rule), rule.alpha)


def _judge(timed: Timed, found: Ratio, p: float, rule: TimeRule) -> Finding:
    floor, noisy = noise(_of(timed, "base", rule), _of(timed, "control", rule), rule)
    base, head = (_call(float(np.median(_of(timed, side, rule))) / timed.count) for side in ("base", "head"))
    detail = (
        f"x{found.median:.3f} [{found.low:.3f}, {found.high:.3f}], p {p:.1g}; base against itself x{floor.median:.3f} "
        f"[{floor.low:.3f}, {floor.high:.3f}]; {rule.pairs} pairs of {timed.count} calls"
    )
    if noisy:
        detail += "; base alone differs from itself by more than what counts as slower: use a quieter machine"
        return _finding(timed.name, "refused", "too-noisy", base, head, detail)
    if found.slower(rule, p):
        return _finding(timed.name, "fail", "slower", base, head, f"{detail}; slower than x{rule.slower:g}")
    return _finding(timed.name, "pass", "not-slower", base, head, detail)


def _short(timed: Timed, rule: TimeRule) -> Finding:
    what = (
        f"a call takes {_call(timed.call)}, and less than {_call(rule.least_call)} cannot be judged: use larger batches"
    )
    return _finding(timed.name, "refused", "too-short", _call(timed.call), detail=what)


def _of(timed: Timed, side: str, rule: TimeRule) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(timed.times[side][rule.clock])


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
