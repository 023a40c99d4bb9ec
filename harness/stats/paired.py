"""Tests of two models on the same samples."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from .intervals import is_binary, totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .intervals import Values

_FEW = 30
"""Below this number of differences the sign-flip test replaces the t test."""
_FLIPS = 20_000
_MOST_FLIPPED = 2_000
"""Pairs of models with sign-flip tests; for more, Holm's correction asks for p values that no 20,000 draws can give."""


def paired_p(a: Values, b: Values, groups: Sequence[str] | None = None) -> float:
    """Return the two-sided p value of "both have the same mean", from values paired by sample.

    Small: the difference is unlikely to be chance. Large: the data do not tell the two apart - not that they are equal.
    Differences that are all of one size, such as those of right and wrong answers, have the exact test of McNemar
    (`mcnemar_p`). Others have a paired t test from 30 on; below, the sign-flip permutation test (Fisher), exact up to
    14 and from 20,000 seeded draws above.

    Args:
        a: Finite values of shape [n].
        b: Finite values of shape [n], of the same samples.
        groups: A name for each sample; the differences within a group are added up before they are tested.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    if np.shape(a) != np.shape(b) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired test needs finite values of the same samples")
    difference = totals(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), groups)
    size = np.abs(difference)
    nonzero = difference[size > 1e-12 * size.max(initial=0.0)]  # groups that balance may differ in their last digits
    if len(nonzero) == 0:
        return 1.0
    if np.ptp(np.abs(nonzero)) <= 1e-9 * size.max():
        return float(mcnemar_p(np.sum(nonzero > 0), np.sum(nonzero < 0)))
    if len(nonzero) < _FEW:
        return _sign_flip_p(nonzero)
    return float(_t_p(difference.sum(), np.sum(difference**2), len(difference)))


def paired_ps(values: npt.NDArray[np.float64], groups: Sequence[str] | None = None) -> npt.NDArray[np.float64]:
    """Return the p value of `paired_p` for all pairs of models, [models, models], of finite values [models, n].

    Where more than 2,000 pairs differ in few samples, these have the sign test: the signs are of a fair coin wherever
    sign flips change nothing, and its p value goes down to 2 ** (1 - differences).
    """
    if groups is None and is_binary(values):
        more = (values @ (1 - values).T).astype(np.int64)  # samples that only the row's model got right
        size = values.shape[1] + 1
        if size**2 <= more.size:
            return mcnemar_p(*np.indices((size, size)))[more, more.T]
        each, where = np.unique(more * size + more.T, return_inverse=True)
        found: npt.NDArray[np.float64] = mcnemar_p(*np.divmod(each, size))[where].reshape(more.shape)
        return found
    sums = values if groups is None else np.array([totals(row, groups) for row in values])
    sums = sums - sums.mean(axis=0)  # differences stay, with more of their digits
    squares = sums @ sums.T
    own = np.diagonal(squares)
    total = sums.sum(axis=1)
    p = _t_p(total[:, None] - total, own[:, None] + own - 2 * squares, sums.shape[1])
    few = _few(sums)
    flipped = sum(map(len, few)) <= _MOST_FLIPPED
    for one, others in enumerate(few):
        if flipped:
            found = np.array([paired_p(values[one], values[other], groups) for other in others])
        else:
            difference = sums[one] - sums[others]
            ulps = 1e-12 * np.abs(difference).max(axis=1, keepdims=True)
            found = mcnemar_p(np.sum(difference > ulps, axis=1), np.sum(difference < -ulps, axis=1))
        p[one, others] = p[others, one] = found
    np.fill_diagonal(p, 1.0)
    return np.asarray(p, dtype=np.float64)


def _few(sums: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int_]]:
    """The later rows that each row but the last differs from in too few columns for a t test."""
    return [
        np.flatnonzero(np.count_nonzero(sums[one + 1 :] != sums[one], axis=1) < _FEW) + one + 1
        for one in range(len(sums) - 1)
    ]


def mcnemar_p(gained: npt.ArrayLike, lost: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the two-sided p value of McNemar's test (1947), exact: a binomial test of the samples that changed.

    Args:
        gained: Number of samples that only one of the two got right; any shape.
        lost: Number that only the other one got right.
    """
    from scipy.special import bdtr

    gained, lost = np.asarray(gained, dtype=np.int64), np.asarray(lost, dtype=np.int64)
    return np.asarray(np.minimum(1.0, 2 * bdtr(np.minimum(gained, lost), gained + lost, 0.5)))


def holm(p_values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> list[float]:
    """Return p values adjusted for their number (Holm 1979).

    To reject where the adjusted value is at most alpha errs, once or more, with a chance of at most alpha.

    Args:
        p_values: Of the tests.
        weights: Shares of alpha, above 0, that go to each test; by default the same for all.
    """
    p = np.asarray(p_values, dtype=np.float64)
    weight = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(p / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]  # of the tests that are not rejected yet
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] / weight[order] * left))
    found: list[float] = adjusted.tolist()
    return found


def _t_p(total: Any, squares: Any, n: int) -> Any:
    """P value of the paired t test, from the sum of n differences and of their squares."""
    from scipy.special import stdtr

    mean = total / n
    variance = np.maximum(squares / n - mean**2, 0.0) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / np.sqrt(variance)
    return np.where(mean == 0, 1.0, 2 * stdtr(n - 1, -t))


@functools.lru_cache(maxsize=8)
def _signs(n: int) -> Values:
    """The flips of n signs, float64 [flips, n]: all, or many drawn ones."""
    if n <= 14:
        return np.asarray(1.0 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1))
    drawn = np.random.Generator(np.random.PCG64(n)).integers(0, 2, size=(_FLIPS, n))
    return np.concatenate([np.ones((1, n)), 1 - 2 * drawn])  # what was observed is one of the flips


def _sign_flip_p(difference: Values) -> float:
    sums = np.abs(_signs(len(difference)) @ difference)
    ulps = 1e-12 * np.abs(difference).sum()  # equal sums may differ in their last digits
    return float(np.mean(sums >= abs(difference.sum()) - ulps))
