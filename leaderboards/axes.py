"""What accuracy is drawn against: which cells may share one cost axis, and which of them are on the frontier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ..harness.stats import pareto
from . import wording
from .ranking import commonest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ..harness.results import Timing
    from .collect import Row
    from .ranking import Section, Standing

Kind: TypeAlias = Literal["frontier", "open", "dominated", "baseline"]

_NOT_TIMED = "not timed"
_MOST = 150
"""Points of a chart: more hide each other."""
_BEHIND = "behind the frontier, and more than can be told apart"
KINDS: dict[Kind, str] = {
    "frontier": "on the Pareto frontier",
    "open": "behind the frontier, but not significantly",
    "dominated": "dominated: a model that costs no more is significantly better",
    "baseline": "baseline, not ranked",
}


class Cost(NamedTuple):
    """What one cell costs on an axis.

    Attributes:
        low: Lower end of its spread; equal to ``value`` for what is counted.
        grounds: Only costs with equal grounds share an axis.
        text: As shown.
    """

    value: float
    low: float
    high: float
    grounds: Hashable
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """A cell in a chart. Scores are scaled as they are shown."""

    standing: Standing
    cost: Cost
    score: float
    low: float
    high: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart without its looks.

    Attributes:
        cost_name: What the horizontal axis shows, such as ``FLOPs``.
        axis: Title of that axis.
        points: In order of cost.
        left_out: Reason -> names of the cells that the chart does not show.
    """

    name: str
    section: Section
    cost_name: str
    axis: str
    points: tuple[Point, ...]
    left_out: dict[str, list[str]]


def plots(section: Section) -> list[Plot]:
    """The charts of a task: accuracy against FLOPs, against time, and against the time of modules if that is known."""
    alone = [module_plot(section)] if any(standing.row.part for standing in section.shown) else []
    return [flops_plot(section), time_plot(section), *alone]


def flops_plot(section: Section) -> Plot:
    """Accuracy against FLOPs per input, of the cells that were counted under one convention."""
    drawn, left_out = _comparable(section, _flops, "FLOPs counted under another convention: {}")
    counts = [standing.row.result.flops for standing, _ in drawn]
    how = f" ({counts[0].phase}, {counts[0].counter}, 1 MAC = 2 FLOPs)" if counts and counts[0] else ""
    return Plot("flops", section, "FLOPs", f"FLOPs per input{how}", _points(section, drawn, left_out), left_out)


def time_plot(section: Section) -> Plot:
    """Accuracy against measured time per input, of the cells that were timed alike on one machine."""
    drawn, left_out = _comparable(section, lambda row: _time(row.timing), "timed otherwise: {}")
    axis = _time_axis([standing.row.timing for standing, _ in drawn])
    return Plot("time", section, "time", axis, _points(section, drawn, left_out), left_out)


def module_plot(section: Section) -> Plot:
    """Accuracy against the time of the module alone, of the models that have one."""
    drawn, left_out = _comparable(section, lambda row: _time(row.part), "timed otherwise: {}")
    left_out["no module of its own was timed"] = left_out.pop(_NOT_TIMED, [])
    told = {reason: names for reason, names in left_out.items() if names}
    timings = [standing.row.part for standing, _ in drawn]
    points = _points(section, drawn, told)
    return Plot("module", section, "time of the module", _time_axis(timings), points, told)


def _time_axis(timings: Sequence[Timing | None]) -> str:
    timing = timings[0] if timings else None
    return f"time per input ({timing.way}, {timing.machine}, {timing.device})" if timing else "time per input"


def _flops(row: Row) -> Cost | str:
    count = row.result.flops
    if count is None:
        return f"FLOPs {row.result.flops_missing or 'not counted'}"
    convention = count.convention()
    return Cost(count.value, count.value, count.value, convention, wording.si(count.value, "FLOP"))


def _time(timing: Timing | None) -> Cost | str:
    if timing is None:
        return _NOT_TIMED
    median, q1, q3 = (seconds / timing.inputs for seconds in (timing.median, timing.q1, timing.q3))
    grounds = (timing.way, timing.machine, timing.device, f"{timing.inputs} inputs at once")
    return Cost(median, q1, q3, grounds, wording.spread(median, q1, q3))


def _comparable(
    section: Section, measure: Callable[[Row], Cost | str], otherwise: str
) -> tuple[list[tuple[Standing, Cost]], dict[str, list[str]]]:
    """Split a section into what shares the commonest grounds, and the rest by reason."""
    drawn: list[tuple[Standing, Cost]] = []
    left_out: dict[str, list[str]] = {}
    shown = {standing.name for standing in section.shown}
    for standing in section.standings:
        cost = measure(standing.row) if standing.name in shown else standing.reason or "nothing could be scored"
        if isinstance(cost, Cost):
            drawn.append((standing, cost))
        else:
            left_out.setdefault(cost, []).append(standing.name)
    if not drawn:
        return [], left_out
    chosen = commonest(cost.grounds for _, cost in drawn)
    for standing, cost in drawn:
        if cost.grounds != chosen:
            reason = otherwise.format(_words(cost.grounds))
            left_out.setdefault(reason, []).append(standing.name)
    kept = [(standing, cost) for standing, cost in drawn if cost.grounds == chosen]
    return sorted(kept, key=lambda pair: pair[1].value), left_out


def _words(grounds: Hashable) -> str:
    return ", ".join(map(str, grounds)) if isinstance(grounds, tuple) else str(grounds)


def _points(
    section: Section, drawn: Sequence[tuple[Standing, Cost]], left_out: dict[str, list[str]]
) -> tuple[Point, ...]:
    """The points in order of cost; names of those that are too many are added to ``left_out``."""
    factor = wording.scale(section.metric)
    sign = 1 if section.metric.better == "higher" else -1
    rivals = {s.name: (c.value, sign * score.value) for s, c in drawn if (score := s.headline) and not s.baseline}
    frontier, beaten = pareto(rivals), _beaten(drawn)
    points = []
    for standing, cost in drawn:
        score = standing.headline
        if score is None:
            continue
        low, high = (score.value if end is None else end for end in (score.low, score.high))
        kind = _kind(standing, frontier, beaten)
        points.append(Point(standing, cost, factor * score.value, factor * low, factor * high, kind))
    order = sorted(points, key=lambda point: (point.kind not in ("frontier", "baseline"), -sign * point.score))
    hidden = {point.standing.name: point for point in order[_MOST:]}
    if hidden:
        left_out[_BEHIND] = list(hidden)
    return tuple(point for point in points if point.standing.name not in hidden)


def _kind(standing: Standing, frontier: set[str], beaten: set[str]) -> Kind:
    if standing.baseline:
        return "baseline"
    if standing.name in frontier:
        return "frontier"
    return "dominated" if standing.name in beaten else "open"


def _beaten(drawn: Sequence[tuple[Standing, Cost]]) -> set[str]:
    """Names of what a model that costs no more is significantly better than.

    Tiers that do not overlap are a claim at the level of the tests: a model in the better one is better.

    Args:
        drawn: By rising cost.
    """
    found: set[str] = set()
    worst = math.inf
    for _, alike in groupby(drawn, key=lambda pair: pair[1].value):
        tiers = {standing.name: standing.tier for standing, _ in alike if standing.tier}
        worst = min([worst, *(tier.worst for tier in tiers.values())])
        found |= {name for name, tier in tiers.items() if worst < tier.best}
    return found
