"""Means and differences of methods that were trained several times, with intervals over questions and trainings.

All trainings of a method answer the same questions, and questions on one image are not independent. So an error has
two sources that are crossed, and the variances of both are added up:

* images: the cluster-robust variance of the mean over questions, of values that are averaged over trainings. Tasks
  that ask about the same images are clustered together;
* trainings: the variance of the means of the trainings, over their number.

What is peculiar to one question in one training is in both, which errs on the wide side. The t quantile is that of
Satterthwaite's degrees of freedom: with three trainings that differ much these fall to two, and the interval is wide.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Values = npt.NDArray[np.floating[Any]]

LEVEL = 0.95


class Term(NamedTuple):
    """A summand of a contrast.

    Attributes:
        group: What was trained. Terms of one group have the same trainings, in the same order.
        values: Task -> values of shape [trainings, samples]; NaN where a sample has no score.
    """

    group: str
    values: Mapping[str, Values]

    def scaled(self, factors: Mapping[str, float]) -> Term:
        """The same times a factor for each task."""
        return Term(self.group, {task: factors[task] * values for task, values in self.values.items()})


@dataclass(frozen=True, slots=True)
class Contrast:
    """A sum of terms, averaged over tasks.

    Attributes:
        value: The sum.
        parts: Variance and degrees of freedom of each source of error.
        images: Number of clusters.
    """

    value: float
    parts: tuple[tuple[float, int], ...]
    images: int

    def half(self, level: float = LEVEL) -> float | None:
        """Half the width of the t interval; ``None`` if there are fewer than two clusters."""
        from scipy.special import stdtrit

        if self.images < 2:
            return None
        total = math.fsum(variance for variance, _ in self.parts)
        if total == 0:
            return 0.0
        freedom = total**2 / math.fsum(variance**2 / freedom for variance, freedom in self.parts)
        return float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(total)

    def ends(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The ends of the interval."""
        half = self.half(level)
        return None if half is None else (self.value - half, self.value + half)


def contrast(terms: Sequence[Term], clusters: Mapping[str, Sequence[str]]) -> Contrast:
    """Add up terms and average over tasks. Samples that a term has no score for count for none.

    Args:
        terms: One or more, of the same tasks.
        clusters: Task -> the name of each sample's cluster; equal names belong together across tasks.

    Raises:
        ValueError: A task has no sample that every term has a score for.
    """
    tasks = list(terms[0].values)
    totals: Counter[str] = Counter()
    trained: dict[str, Values] = {}
    value = 0.0
    for task in tasks:
        arrays = [np.asarray(term.values[task], dtype=np.float64) for term in terms]
        kept = np.logical_and.reduce([np.isfinite(array).all(axis=0) for array in arrays])
        if not kept.any():
            raise ValueError(f"no sample of {task} has all scores")
        for term, array in zip(terms, arrays, strict=True):
            means = array[:, kept].mean(axis=1) / len(tasks)
            trained[term.group] = trained.get(term.group, 0.0) + means
        summed = np.sum([array[:, kept].mean(axis=0) for array in arrays], axis=0)
        middle = float(summed.mean())
        value += middle / len(tasks)
        names = [name for name, keep in zip(clusters[task], kept, strict=True) if keep]
        for name, deviation in zip(names, (summed - middle) / (len(summed) * len(tasks)), strict=True):
            totals[name] += deviation
    count = len(totals)
    parts = []
    if count > 1:
        parts.append((count / (count - 1) * math.fsum(total**2 for total in totals.values()), count - 1))
    parts += [(float(np.var(m, ddof=1)) / len(m), len(m) - 1) for m in trained.values() if len(m) > 1]
    return Contrast(value, tuple(parts), count)


def spread_ratio(ours: Values, theirs: Values, level: float = LEVEL) -> tuple[float, tuple[float, float] | None]:
    """Return how many times the standard deviation of some trainings is that of others, with its F interval.

    The variances are means over budgets, which are counted as one: the same trainings are behind all of them.

    Args:
        ours: Means of shape [trainings, budgets]; two trainings or more.
        theirs: The same of the others.
        level: Confidence level.

    Returns:
        The ratio and the ends of its interval, under normal errors; no ends if one does not vary at all.
    """
    from scipy.special import fdtri

    one, two = (float(np.var(values, axis=0, ddof=1).mean()) for values in (ours, theirs))
    if one == 0 or two == 0:
        return (math.inf if one else math.nan), None
    first, second = len(ours) - 1, len(theirs) - 1
    low, high = (fdtri(first, second, share) for share in ((1 - level) / 2, (1 + level) / 2))
    ratio = one / two
    return math.sqrt(ratio), (math.sqrt(ratio / high), math.sqrt(ratio / low))
