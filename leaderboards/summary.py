"""What is asked of a board first: which model, at what cost, against which base, and how sure that is.

A family's score is the mean over its tasks. The ends of its interval are the means of the tasks' ends: the interval
covers at least as often as theirs, whatever the tasks have in common, since the standard error of a mean is at most the
mean of the standard errors (Cauchy and Schwarz). What a model retains of the base's mean is a mean too: of the tasks'
shares, each weighted by the base's score.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..harness.errors import UserError
from ..harness.results import Estimate
from ..harness.specs import parse
from ..harness.stats import cluster_names, difference_interval, pareto, ratio_interval
from . import wording
from .ranking import commonest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from ..harness.cards import Metric
    from .collect import Row
    from .ranking import Section, Standing
    from .task_families import Family

_LONGEST = 6
"""Models in a summary; the tables below have them all."""
_NAMED = 3
"""Models that a sentence names."""


class Price(NamedTuple):
    """A cost per input, as a mean over tasks, and its ratio to the base's."""

    value: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One model over all tasks of a family.

    Attributes:
        ranks: Open ranks -> number of tasks.
        score: In the metric's own unit.
        difference: From the base, on the same samples; ``None`` without a base.
        told_apart: On how many tasks its rank lies wholly above the base's, and on how many below; ``None`` if one of
            both is not ranked.
        retained: Share of the base's score; ``None`` where that is near zero.
        flops, time: ``None`` where it is not known in the way in which most others are.
        frontier: Costs for which no other model is both cheaper and better.
        roles: Why it is in the summary.
    """

    name: str
    standings: tuple[Standing, ...]
    score: Estimate
    difference: Estimate | None = None
    told_apart: tuple[int, int] | None = None
    retained: Estimate | None = None
    flops: Price | None = None
    time: Price | None = None
    frontier: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def ranks(self) -> Counter[str]:
        """How often it has which rank."""
        return Counter(standing.rank for standing in self.standings)

    @property
    def baseline(self) -> bool:
        """It is a baseline: never ranked."""
        return self.standings[0].baseline


@dataclass(frozen=True, slots=True)
class Summary:
    """What a family of tasks comes to.

    Attributes:
        tasks: Those that the models of ``lines`` have all done; there may be more in the family.
        verdict: In words.
        base: Name of the model that the others are compared with; empty if there is none.
        lines: The models to show, best first.
        others: How many more there are.
    """

    family: Family
    tasks: tuple[Section, ...]
    verdict: str
    base: str
    lines: tuple[Line, ...]
    others: int


def summarise(family: Family) -> Summary:
    """Sum up a family over tasks that several of its models have all done."""
    tasks = _common_tasks(family.sections)
    found = _lines(tasks)
    base = _base(found, family.metric)
    prices = {name: _prices(tasks, measure) for name, measure in (("FLOPs", _flops), ("time", _time))}
    frontiers = {name: _frontier(found, price, family.metric) for name, price in prices.items()}
    placed = [
        replace(line, frontier=tuple(name for name, names in frontiers.items() if line.name in names)) for line in found
    ]
    winner = _winner(placed)
    shown = [
        replace(
            _compared(line, base, family.metric) if base and line.name != base.name else line,
            flops=_price(line, base, prices["FLOPs"]),
            time=_price(line, base, prices["time"]),
        )
        for line in _chosen(placed, winner, base)
    ]
    verdict = _verdict(placed, winner, tasks)
    return Summary(family, tasks, verdict, base.name if base else "", tuple(shown), len(placed) - len(shown))


def _common_tasks(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Tasks of a family that several models have all done: those with the most cells."""
    done: dict[str, frozenset[int]] = {}
    for place, section in enumerate(sections):
        for standing in section.shown:
            done[standing.row.label] = done.get(standing.row.label, frozenset()) | {place}
    sets: set[frozenset[int]] = set(done.values()) or {frozenset(range(len(sections)))}

    def worth(own: frozenset[int]) -> tuple[bool, int, int, list[int]]:
        models = sum(own <= other for other in done.values())
        return models > 1, models * len(own), models, sorted(own)

    chosen: frozenset[int] = max(sets, key=worth)
    return tuple(sections[place] for place in sorted(chosen))


def _lines(tasks: Sequence[Section]) -> list[Line]:
    """The models that did all of the tasks, the best first, baselines last."""
    found: dict[str, list[Standing]] = {}
    for section in tasks:
        for standing in {s.row.label: s for s in reversed(section.shown)}.values():
            found.setdefault(standing.row.label, []).append(standing)
    lines = [Line(name, tuple(own), mean_over_tasks([s.headline for s in own])) for name, own in found.items()]
    whole = [line for line in lines if len(line.standings) == len(tasks)]
    sign = 1 if tasks and tasks[0].metric.better == "lower" else -1
    return sorted(whole, key=lambda line: (line.baseline, _mean_rank(line), sign * line.score.value, line.name))


def _mean_rank(line: Line) -> float:
    tiers = [standing.tier for standing in line.standings if standing.tier]
    return sum(tier.best + tier.worst for tier in tiers) / (2 * len(tiers)) if tiers else 0.0


def mean_over_tasks(estimates: Sequence[Estimate | None], weights: Sequence[float] | None = None) -> Estimate:
    """The mean of what is known of the tasks, one or more; the ends of its interval are the means of their ends."""
    known = [estimate for estimate in estimates if estimate is not None]
    if len(known) == 1:
        return known[0]
    ends = [(one.low, one.high) for one in known if one.low is not None and one.high is not None]
    sides = zip(*ends, strict=True) if len(ends) == len(known) else ()
    low, high = (float(np.average(side, weights=weights)) for side in sides) if sides else (None, None)
    value = float(np.average([one.value for one in known], weights=weights))
    method = f"mean of {len(known)} tasks; ends are means of the tasks' ends"
    return Estimate(value=value, low=low, high=high, n=sum(one.n for one in known), method=method)


def _base(lines: Sequence[Line], metric: Metric) -> Line | None:
    """The model that most others adapt; where none is adapted, the best baseline."""
    names = {line.name: line for line in lines}
    bases: Counter[str] = Counter()
    for line in lines:
        with suppress(UserError):  # a run that others made may hold any name
            spec = parse(line.standings[0].row.result.cell.model)
            if spec.methods and str(spec.base) in names and not line.baseline:
                bases[str(spec.base)] += 1
    if bases:
        return names[bases.most_common(1)[0][0]]
    sign = 1 if metric.better == "higher" else -1
    return max((line for line in lines if line.baseline), key=lambda line: sign * line.score.value, default=None)


def _prices(tasks: Sequence[Section], measure: Callable[[Row], tuple[Hashable, float] | None]) -> dict[str, float]:
    """Model -> its mean cost per input over the tasks, as far as it was found in the commonest way."""
    found = [(standing.row.label, measure(standing.row)) for section in tasks for standing in section.shown]
    chosen = commonest(cost[0] for _, cost in found if cost)
    sums: dict[str, list[float]] = {}
    for name, cost in found:
        if cost and cost[0] == chosen:
            sums.setdefault(name, []).append(cost[1])
    return {name: sum(costs) / len(costs) for name, costs in sums.items() if len(costs) == len(tasks)}


def _flops(row: Row) -> tuple[Hashable, float] | None:
    count = row.result.flops
    return (count.convention(), float(count.value)) if count else None


def _time(row: Row) -> tuple[Hashable, float] | None:
    timing = row.timing
    if timing is None:
        return None
    return (timing.way, timing.machine, timing.device, timing.inputs), timing.median / timing.inputs


def _frontier(lines: Sequence[Line], prices: Mapping[str, float], metric: Metric) -> set[str]:
    sign = 1 if metric.better == "higher" else -1
    return pareto(
        {
            line.name: (prices[line.name], sign * line.score.value)
            for line in lines
            if line.name in prices and not line.baseline
        }
    )


def _compared(line: Line, base: Line, metric: Metric) -> Line:
    """A line with its difference from the base; there is no share of a baseline's score, nor of a loss."""
    pairs = list(zip(line.standings, base.standings, strict=True))
    apart = [_apart(own, other) for own, other in pairs]
    paired = [_paired(own.row, other.row, metric) for own, other in pairs]
    return replace(
        line,
        difference=mean_over_tasks([difference for difference, _ in paired]),
        told_apart=(apart.count(1), apart.count(-1)) if all(own.tier and other.tier for own, other in pairs) else None,
        retained=None if base.baseline else _retained(base, [share for _, share in paired]),
    )


def _retained(base: Line, shares: Sequence[Estimate | None]) -> Estimate | None:
    """The share of the base's mean score, from that on each task."""
    scores = [standing.headline.value for standing in base.standings if standing.headline]
    return mean_over_tasks(shares, scores) if all(shares) and sum(scores) > 0 else None


def _price(line: Line, base: Line | None, prices: Mapping[str, float]) -> Price | None:
    own, of_base = prices.get(line.name), prices.get(base.name) if base and not base.baseline else None
    return None if own is None else Price(own, own / of_base if of_base else None)


def _paired(own: Row, base: Row, metric: Metric) -> tuple[Estimate | None, Estimate | None]:
    """The difference and the share of the base's score, over the samples that both have a score for."""
    both = np.isfinite(own.scores.values) & np.isfinite(base.scores.values)
    if not both.any():
        return None, None
    a, b = base.scores.values[both], own.scores.values[both]
    groups = cluster_names(own.scores.samples, own.scores.groups)
    kept = None if groups is None else [group for group, keep in zip(groups, both, strict=True) if keep]
    shares = metric.unit == "%" and all(values.min() >= 0 and values.max() <= 1 for values in (a, b))
    retained = ratio_interval(a, b, kept, shares=shares) if metric.better == "higher" else None
    return difference_interval(a, b, kept, shares=shares), retained


def _apart(own: Standing, other: Standing) -> int:
    """1 if a cell's rank lies wholly above another's, -1 if wholly below, 0 if they are not told apart."""
    if not (own.tier and other.tier):
        return 0
    return (own.tier.worst < other.tier.best) - (own.tier.best > other.tier.worst)


def _winner(lines: Sequence[Line]) -> Line | None:
    """The model that is not significantly beaten on most tasks, of equal ones that with the better mean rank."""
    ranked = [line for line in lines if any(standing.tier for standing in line.standings)]
    return max(ranked, key=_unbeaten, default=None)


def _unbeaten(line: Line) -> int:
    return sum(standing.tier is not None and standing.tier.best == 1 for standing in line.standings)


def _verdict(lines: Sequence[Line], winner: Line | None, tasks: Sequence[Section]) -> str:
    """Who wins, in words that claim no more than the ranks."""
    if winner is None:
        best = next((line for line in lines if not line.baseline), None)
        partial = next((section.partial for section in tasks if section.partial), "")
        why = f"Not ranked ({partial})." if partial else "Not ranked."
        return f"{why} The highest score is that of {best.name}." if best else why
    rivals = [line for line in lines if line is not winner and any(standing.tier for standing in line.standings)]
    apart = {
        rival.name: [_apart(*pair) for pair in zip(winner.standings, rival.standings, strict=True)] for rival in rivals
    }
    everywhere = "" if len(tasks) == 1 else f" on each of the {len(tasks)} tasks"
    if not rivals:
        return f"{winner.name} is the only model that is ranked."
    if all(sign == 1 for signs in apart.values() for sign in signs):
        return f"{winner.name} is significantly better than every other model{everywhere}."
    equal = [name for name, signs in apart.items() if not any(signs)]
    more = [f"{len(equal) - _NAMED} more"] if len(equal) > _NAMED else []
    tied = f" It cannot be told from {wording.listed([*equal[:_NAMED], *more])}." if equal else ""
    if _unbeaten(winner) == len(tasks):
        return f"No model is significantly better than {winner.name}{everywhere}.{tied}"
    some = f"{winner.name} is among the best on {_unbeaten(winner)} of {len(tasks)}"
    return f"No model is among the best on every task; {some}.{tied}"


def _chosen(lines: Sequence[Line], winner: Line | None, base: Line | None) -> tuple[Line, ...]:
    """The models to show: winner, base, frontier and the best baseline, then the next best while there is room."""
    floor = next((line.name for line in lines if line.baseline), "")
    roles = {line.name: tuple(_roles(line, winner, base)) for line in lines}
    named = [line.name for line in lines if (roles[line.name] and not line.baseline) or line.name == floor]
    rest = [line.name for line in lines if line.name not in named and not line.baseline]
    kept = {*named[:_LONGEST], *rest[: max(0, _LONGEST - len(named))]}
    return tuple(replace(line, roles=roles[line.name]) for line in lines if line.name in kept)


def _roles(line: Line, winner: Line | None, base: Line | None) -> Iterator[str]:
    if winner is not None and line.name == winner.name:
        yield "winner"
    if line.baseline:
        yield "baseline"
    elif base is not None and line.name == base.name:
        yield "base"
    if line.frontier:
        yield "frontier"
