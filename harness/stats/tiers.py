"""Ranks that the samples leave open, with the tests that they rest on; and the Pareto frontier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .paired import holm, paired_ps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .intervals import Values


class Lead(NamedTuple):
    """A test that decided: of a pair whose difference is significant.

    Attributes:
        other: Name of the other model.
        difference: Mean over samples of the model's value minus the other's.
        p: Of the paired test, adjusted for the number of tests.
    """

    other: str
    difference: float
    p: float


@dataclass(frozen=True, slots=True)
class Tier:
    """The ranks that the data leave open for one model, counted from 1: ``Tier(1, 3)`` is "somewhere from 1 to 3".

    Attributes:
        below: The best model that is significantly worse; ``None`` if there is none.
        above: The worst model that is significantly better.
    """

    best: int
    worst: int
    below: Lead | None = field(default=None, compare=False)
    above: Lead | None = field(default=None, compare=False)


def rank_tiers(
    scores: Mapping[str, Values],
    *,
    higher_is_better: bool = True,
    alpha: float = 0.05,
    groups: Sequence[str] | None = None,
) -> dict[str, Tier]:
    """Return the ranks that remain open for each model after all pairs were tested, Holm-adjusted at ``alpha``.

    A model's best rank is 1 + the number of models significantly better than it, its worst the number of models minus
    those significantly worse. A narrow tier is a claim that errs with chance <= alpha on the whole board; a wide one
    says that the samples do not decide.

    Neighbours in the order of the means share half of ``alpha``, and the other pairs the other half: the next best
    model is what a reader asks about first. Neighbours alone would not do: in a sweep over budgets no step may be
    significant, though the first is far better than the last.

    Args:
        scores: Model -> finite values of shape [n], aligned on the same samples.
        higher_is_better: Direction of the metric.
        alpha: Chance of one or more wrong claims.
        groups: Names of samples that belong together; their values are added up before they are tested.
    """
    if not scores:
        return {}
    sign = 1 if higher_is_better else -1
    means = {name: sign * float(np.mean(values)) for name, values in scores.items()}
    names = sorted(scores, key=lambda name: (-means[name], name))
    count = len(names)
    one, other = np.triu_indices(count, 1)
    beyond = max(1, len(one) - (count - 1))
    p = paired_ps(np.array([scores[name] for name in names], dtype=np.float64), groups)
    weights = np.where(other - one == 1, 1 / max(1, count - 1), 1 / beyond)
    adjusted = np.full((count, count), np.inf)
    adjusted[one, other] = holm(p[one, other], weights)
    better = adjusted <= alpha  # [better model, worse model]

    def lead(place: int, other: int) -> Lead:
        difference = sign * (means[names[place]] - means[names[other]])
        return Lead(names[other], difference, float(adjusted[min(place, other), max(place, other)]))

    found = {}
    for place, name in enumerate(names):
        below, above = np.flatnonzero(better[place]), np.flatnonzero(better[:, place])
        found[name] = Tier(
            1 + len(above),
            count - len(below),
            lead(place, int(below[0])) if len(below) else None,
            lead(place, int(above[-1])) if len(above) else None,
        )
    return found


def pareto(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return the names that no other dominates.

    Args:
        points: Name -> (cost, score): a lower cost and a higher score are better. Equal points stay both.
    """
    frontier: set[str] = set()
    best: tuple[float, float] | None = None
    for name, (cost, score) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if best is None or score > best[1] or (cost, score) == best:
            best = (cost, score)
            frontier.add(name)
    return frontier
