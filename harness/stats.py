"""Intervals, paired tests, rank tiers and the Pareto frontier.

The normal, t and permutation arithmetic is numpy's and ``scipy.special``'s; ``scipy.stats`` would cost a second to
import.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .results import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Values = npt.NDArray[np.floating[Any]]

_FEW = 30
"""Below this number of non-zero differences the sign-flip test replaces the t test."""
_FLIPS = 20_000
_DRAWS = 1_000
"""Bootstrap draws."""


class Tier(NamedTuple):
    """The ranks that the data leave open for one model, counted from 1: ``Tier(1, 3)`` is "somewhere from 1 to 3"."""

    best: int
    worst: int


def cluster_names(samples: Sequence[str], groups: Sequence[str | None]) -> list[str] | None:
    """Name the cluster of each sample, or return ``None`` if they are all independent.

    Samples without a group are clusters of their own, whatever the groups are called.
    """
    if all(group is None for group in groups):
        return None
    pairs = zip(samples, groups, strict=True)
    return [f"sample {sample}" if group is None else f"group {group}" for sample, group in pairs]


def mean_interval(
    values: Values, groups: Sequence[str] | None = None, *, level: float = 0.95, noun: str = "sample"
) -> Estimate:
    """Return the mean with its t interval.

    Half-width: the t quantile at (1 + level) / 2 times the standard error, with n - 1 in the variance's denominator
    (dissertation section 3.4; Student). With ``groups`` the standard error is the cluster-robust one of the mean,
    sqrt(G / (G - 1) * sum over groups of (sum of the group's deviations)^2) / n, with G - 1 degrees of freedom.

    Args:
        values: Finite values of shape [n], n >= 1.
        groups: A name for each value; values of one group are not independent.
        level: Confidence level.
        noun: What one value is called, for ``method``.

    Returns:
        The estimate; its ends are ``None`` when fewer than two independent values are at hand. Values that are all
        the same have an interval of width zero.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n == 0 or not np.isfinite(values).all():
        raise ValueError("an interval needs finite values, at least one")
    mean = float(np.mean(values, dtype=np.float64))
    deviations: Values = np.asarray(values, dtype=np.float64) - mean
    if groups is not None:
        deviations = _totals(deviations, groups)
    units = len(deviations)
    clusters = f" in {units:,} groups" if groups is not None else ""
    method = f"{level * 100:g} % t interval over {n:,} {noun}{'s' if n != 1 else ''}{clusters}"
    if units < 2:
        return Estimate(value=mean, low=None, high=None, n=n, method=f"no interval from {n} {noun}{clusters}")
    error = np.sqrt(units / (units - 1) * np.sum(deviations**2)) / n
    half = float(stdtrit(units - 1, (1 + level) / 2) * error)
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n, method=method)


def drawn_intervals(
    aggregate: Callable[[Values], Mapping[str, float]],
    n: int,
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    noun: str = "sample",
) -> dict[str, Estimate]:
    """Return aggregates other than means over samples, each with its percentile interval from the bootstrap.

    Samples - with ``groups``, whole groups - are drawn with replacement 1,000 times from a fixed seed (Efron).

    Args:
        aggregate: Weights float64 [n] -> the aggregates. Weights are whole numbers: how often each sample was drawn.
        n: Number of samples, 1 or more.
        groups: A name for each sample; samples of one group are drawn together.
        level: Confidence level.
        noun: What one sample is called, for ``method``.

    Returns:
        The estimates. An aggregate that is not finite is left out; it has no interval if fewer than two independent
        samples are at hand, or if most draws give no finite number.
    """
    values = {name: value for name, value in aggregate(np.ones(n)).items() if np.isfinite(value)}
    index = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(index.max()) + 1
    clusters = f" in {units:,} groups" if groups is not None else ""
    method = f"{level * 100:g} % bootstrap interval over {n:,} {noun}{'s' if n != 1 else ''}{clusters}"
    ends: dict[str, tuple[float, float] | None] = dict.fromkeys(values)
    if values and units > 1:
        generator = np.random.Generator(np.random.PCG64(n))
        share = np.full(units, 1 / units)
        drawn = [aggregate(generator.multinomial(units, share)[index].astype(np.float64)) for _ in range(_DRAWS)]
        for name in values:
            found = np.array([draw.get(name, np.nan) for draw in drawn])
            found = found[np.isfinite(found)]
            if 2 * len(found) > _DRAWS:
                low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
                ends[name] = float(low), float(high)
    return {
        name: Estimate(
            value=float(value), low=end and end[0], high=end and end[1], n=n, method=method if end else "no interval"
        )
        for (name, value), end in zip(values.items(), ends.values(), strict=True)
    }


def paired_p(a: Values, b: Values) -> float:
    """Return the two-sided p value of "both have the same mean", from values paired by sample.

    Small: the difference is unlikely to be chance. Large: the data do not tell the two apart - not that they are equal.
    From 30 non-zero differences on a paired t test; below, the sign-flip permutation test (Fisher), exact up to 14
    differences and from 20,000 seeded draws above.

    Args:
        a: Finite values of shape [n].
        b: Finite values of shape [n], of the same samples.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    from scipy.special import stdtr

    if np.shape(a) != np.shape(b) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired test needs finite values of the same samples")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return 1.0
    if len(nonzero) < _FEW:
        return _sign_flip_p(nonzero)
    n = len(difference)
    error = np.std(difference, ddof=1) / np.sqrt(n)
    if error == 0:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(np.mean(difference)) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979).

    To reject where the adjusted value is at most alpha errs, once or more, with a chance of at most alpha.
    """
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    scaled = [min(1.0, p_values[i] * (count - rank)) for rank, i in enumerate(order)]
    adjusted = np.empty(count)
    adjusted[order] = np.maximum.accumulate(scaled) if count else []
    return [float(p) for p in adjusted]


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

    Args:
        scores: Model -> values of shape [n], aligned on the same samples.
        higher_is_better: Direction of the metric.
        alpha: Chance of one or more wrong claims.
        groups: Names of samples that belong together; their values are added up before they are tested.
    """
    names = list(scores)
    values = {name: values if groups is None else _totals(values, groups) for name, values in scores.items()}
    pairs = list(combinations(names, 2))
    adjusted = holm([paired_p(values[one], values[two]) for one, two in pairs])
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for (one, two), p in zip(pairs, adjusted, strict=True):
        if p <= alpha:
            one_leads = (np.mean(values[one]) > np.mean(values[two])) == higher_is_better
            winner, loser = (one, two) if one_leads else (two, one)
            better[loser] += 1
            worse[winner] += 1
    return {name: Tier(1 + better[name], len(names) - worse[name]) for name in names}


def pareto(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return the names that no other dominates.

    Args:
        points: Name -> (cost, score): a lower cost and a higher score are better. Equal points stay both.
    """
    return {
        name
        for name, (cost, score) in points.items()
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points.values())
    }


def _sign_flip_p(difference: Values) -> float:
    n = len(difference)
    if n <= 14:
        signs = 1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        drawn = np.random.Generator(np.random.PCG64(n)).integers(0, 2, size=(_FLIPS, n))
        signs = np.concatenate([np.ones((1, n)), 1 - 2 * drawn])  # what was observed is one of the flips
    sums = np.abs(signs @ difference)
    ulps = 1e-12 * np.abs(difference).sum()  # equal sums may differ in their last digits
    return float(np.mean(sums >= abs(difference.sum()) - ulps))


def _totals(values: Values, groups: Sequence[str]) -> Values:
    """Sum within each group: groups are independent, and their totals rank models as the mean over samples does."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64)
