"""Intervals of one model's metric: t intervals of means, intervals of shares, and the bootstrap for the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..results import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

Values: TypeAlias = npt.NDArray[np.floating[Any]]
"""Float array of shape [n], one value per sample."""

_DRAWS = 1_000
"""Bootstrap draws."""


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
    n, mean = len(values), checked_mean(values)
    variance, units = variance_of_mean(values, groups)
    if units < 2:
        return Estimate(value=mean, low=None, high=None, n=n, method=f"no interval from {counted(n, noun, groups)}")
    half = t_quantile(units, level) * math.sqrt(variance)
    method = f"{level * 100:g} % t interval over {counted(n, noun, groups)}"
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n, method=method)


def share_interval(
    values: Values, groups: Sequence[str] | None = None, *, level: float = 0.95, noun: str = "sample"
) -> Estimate:
    """Return the mean of values in [0, 1] with an interval that stays in [0, 1] and is never of width zero.

    Wilson's score interval (1927) with an effective number of samples, p (1 - p) / variance of the mean (Dean and
    Pagano 2015). Values that are all 0 or 1, without ``groups``, have the plain Wilson interval. For other values, the
    variance is that of `mean_interval` and the t quantile replaces the normal one; where it is zero, the independent
    samples count.

    Args:
        values: Of shape [n], n >= 1, each in [0, 1].
        groups: A name for each value; values of one group are not independent.
        level: Confidence level.
        noun: What one value is called, for ``method``.

    Returns:
        The estimate; its ends are ``None`` when fewer than two independent values are at hand.

    Raises:
        ValueError: There is no value, or one is outside [0, 1] or not finite.
    """
    n, mean = len(values), checked_mean(values)
    if np.min(values) < 0 or np.max(values) > 1:
        raise ValueError("a share is in [0, 1]")
    variance, units = variance_of_mean(values, groups)
    if units < 2:
        return Estimate(value=mean, low=None, high=None, n=n, method=f"no interval from {counted(n, noun, groups)}")
    binary = is_binary(values)
    effective = mean * (1 - mean) / variance if variance > 0 else units
    if binary:
        effective = n if groups is None else min(effective, n)
    quantile = normal_quantile(level) if binary and groups is None else t_quantile(units, level)
    low, high = wilson(mean, effective, quantile)
    method = f"{level * 100:g} % Wilson interval over {counted(n, noun, groups)}"
    return Estimate(value=mean, low=low, high=high, n=n, method=method)


def wilson(share: float, n: float, quantile: float | None = None) -> tuple[float, float]:
    """Return the ends of Wilson's score interval of a share.

    Args:
        share: In [0, 1].
        n: Number of independent samples, or an effective one; above 0.
        quantile: Two-sided, of the normal or a t distribution; by default the normal one for 95 %.
    """
    q = normal_quantile() if quantile is None else quantile
    middle = share + q**2 / (2 * n)
    spread = q * math.sqrt(share * (1 - share) / n + (q / (2 * n)) ** 2)
    low, high = ((middle + sign * spread) / (1 + q**2 / n) for sign in (-1, 1))
    return min(share, max(0.0, low)), max(share, min(1.0, high))


def drawn_intervals(
    aggregate: Callable[[Values], Mapping[str, float]],
    n: int,
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    noun: str = "sample",
    shares: Collection[str] = (),
) -> dict[str, Estimate]:
    """Return aggregates other than means over samples, each with its percentile interval from the bootstrap.

    Samples - with ``groups``, whole groups - are drawn with replacement 1,000 times from a fixed seed (Efron).

    Args:
        aggregate: Weights float64 [n] -> the aggregates. Weights are whole numbers: how often each sample was drawn.
        n: Number of samples, 1 or more.
        groups: A name for each sample; samples of one group are drawn together.
        level: Confidence level.
        noun: What one sample is called, for ``method``.
        shares: Names of aggregates in [0, 1]. Where all draws agree on one, its interval is Wilson's for as many
            samples as are independent, since it is not known for sure.

    Returns:
        The estimates. An aggregate that is not finite is left out; it has no interval if fewer than two independent
        samples are at hand, or if most draws give no finite number.
    """
    values = {name: float(value) for name, value in aggregate(np.ones(n)).items() if np.isfinite(value)}
    drawn = [aggregate(weights) for weights in drawn_weights(n, groups)] if values else []
    units = n if groups is None else len(set(groups))
    over = f"over {counted(n, noun, groups)}"
    found = {}
    for name, value in values.items():
        ends, method = middle([draw.get(name, np.nan) for draw in drawn], level), "bootstrap"
        if ends and ends[0] == ends[1] and name in shares and 0 <= value <= 1:
            ends, method = wilson(value, units, normal_quantile(level)), "Wilson"
        low, high = ends or (None, None)
        method = f"{level * 100:g} % {method} interval {over}" if ends else "no interval"
        found[name] = Estimate(value=value, low=low, high=high, n=n, method=method)
    return found


def drawn_weights(n: int, groups: Sequence[str] | None = None, stream: int = 0) -> Iterator[Values]:
    """Yield how often each of n samples is drawn, float64 [n], 1,000 times; always the same for one n and its groups.

    With ``groups`` whole groups are drawn. Of a single independent sample nothing is drawn. Sets of samples that are
    drawn beside each other need streams of their own.
    """
    index = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(index.max()) + 1
    generator = np.random.Generator(np.random.PCG64([n, stream]))  # of stream 0 the same as of n alone
    for _ in range(_DRAWS if units > 1 else 0):
        yield generator.multinomial(units, np.full(units, 1 / units))[index].astype(np.float64)


def checked_mean(values: Values) -> float:
    """Return the mean of values that must be finite, at least one of them."""
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError("an interval needs finite values, at least one")
    return float(np.mean(values, dtype=np.float64))


def is_binary(values: Values) -> bool:
    """Whether each value is 0 or 1, like right and wrong answers."""
    return bool(((values == 0) | (values == 1)).all())


def variance_of_mean(values: Values, groups: Sequence[str] | None = None) -> tuple[float, int]:
    """Return the variance of the mean, as `mean_interval` states it, and the number of independent units."""
    deviations: Values = np.asarray(values, dtype=np.float64) - np.mean(values, dtype=np.float64)
    deviations = totals(deviations, groups)
    units = len(deviations)
    if units < 2:
        return 0.0, units
    return float(units / (units - 1) * np.sum(deviations**2)) / len(values) ** 2, units


def totals(values: Values, groups: Sequence[str] | None) -> Values:
    """Sum within each group; without groups, the values. Groups are independent, and rank as the samples' mean does."""
    if groups is None:
        return np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64)


def t_quantile(units: int, level: float = 0.95) -> float:
    """Return the two-sided t quantile with ``units`` - 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(units - 1, (1 + level) / 2))


def normal_quantile(level: float = 0.95) -> float:
    """Return the two-sided normal quantile."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def middle(drawn: npt.ArrayLike, level: float) -> tuple[float, float] | None:
    """The middle of what was drawn; ``None`` if most of it is not finite."""
    found = np.asarray(drawn, dtype=np.float64)
    found = found[np.isfinite(found)]
    if 2 * len(found) <= _DRAWS:
        return None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def counted(n: int, noun: str, groups: Sequence[str] | None) -> str:
    """Say how many samples there are, in how many groups."""
    counts = [(n, noun), *([] if groups is None else [(len(set(groups)), "group")])]
    return " in ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts)
