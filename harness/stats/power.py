"""Which differences a number of samples can show."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .intervals import is_binary, variance_of_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from .intervals import Values

POWER = 0.9
"""Chance to find a difference that is there, where none is given."""
_BISECTIONS = 24


def mcnemar_power(n: int, gained: float, lost: float, *, alpha: float = 0.05) -> float:
    """Return the chance that McNemar's exact test (`paired.mcnemar_p`) finds a difference.

    Computed exactly: over how many samples change, and how many of those are gained (Duffy 1984).

    Args:
        n: Number of independent samples.
        gained: Chance that the candidate alone gets a sample right.
        lost: Chance that the baseline alone gets it right. Of two models of accuracies p and q whose errors are
            independent, ``gained`` is (1 - p) q and ``lost`` is p (1 - q).
        alpha: Level of the test.
    """
    from scipy.special import bdtr, bdtrc

    changed = gained + lost
    if n < 1 or changed <= 0:
        return 0.0
    reach = 9 * np.sqrt(n * changed * (1 - changed)) + 9  # beyond it, less than the digits of the sum
    m = np.arange(max(0, int(n * changed - reach)), min(n, int(n * changed + reach)) + 1)
    critical = _critical(m, alpha)
    found = bdtr(critical, m, gained / changed) + bdtrc(m - critical - 1, m, gained / changed)
    found = np.where(critical < 0, 0.0, found)
    return float(np.sum(_binomial(m, n, changed) * found))


@functools.lru_cache(256)
def detectable_difference(n: int, share: float, *, power: float = POWER, alpha: float = 0.05) -> float | None:
    """Return the least loss of accuracy that McNemar's exact test finds with a chance of ``power``.

    The errors of the two models are taken as independent; models that err together show smaller differences.

    Args:
        n: Number of independent samples.
        share: Accuracy of the better model, in (0, 1].
        power: Chance to find it.
        alpha: Level of the test.

    Returns:
        The loss, in (0, share]; ``None`` if even the loss of everything would not be found.
    """

    def found(loss: float) -> float:
        return mcnemar_power(n, (1 - share) * (share - loss), share * (1 - share + loss), alpha=alpha)

    if found(share) < power:
        return None
    low, high = 0.0, share
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def detectable_mean_difference(error: float, units: int, *, power: float = POWER, alpha: float = 0.05) -> float:
    """Return the least difference of means that a paired t test finds with a chance of ``power``.

    Args:
        error: Standard error of the mean difference.
        units: Number of independent samples, 2 or more.
        power: Chance to find it.
        alpha: Level of the test.
    """
    from scipy.special import stdtrit

    return float((stdtrit(units - 1, 1 - alpha / 2) + stdtrit(units - 1, power)) * error)


def detectable_gap(scores: Mapping[str, Values], groups: Sequence[str] | None = None) -> float | None:
    """Return the least difference between two of some models that their samples show with a chance of `POWER`.

    Of independent right and wrong answers `detectable_difference` at the accuracy of the best; of other scores
    `detectable_mean_difference`, at the middle of what the differences between neighbours vary.

    Args:
        scores: Model -> finite values of shape [n], aligned on the same samples.
        groups: A name for each sample; samples of one group are not independent.

    Returns:
        The difference, above 0; ``None`` of fewer than two models or independent samples, or of scores whose
        differences do not vary.
    """
    if len(scores) < 2:
        return None
    ordered = sorted(scores.values(), key=np.mean)
    if groups is None and all(map(is_binary, ordered)):
        share = float(np.mean(ordered[-1]))
        return detectable_difference(len(ordered[-1]), share) if share else None
    found = [variance_of_mean(one - other, groups) for one, other in pairwise(ordered)]
    variance, units = float(np.median([variance for variance, _ in found])), found[0][1]
    return detectable_mean_difference(variance**0.5, units) if units > 1 and variance > 0 else None


def _critical(changed: npt.NDArray[np.int_], alpha: float) -> npt.NDArray[np.float64]:
    """The most samples on the smaller side at which the test still rejects, for each number of changed ones; or -1."""
    from scipy.special import bdtr, bdtrik

    with np.errstate(invalid="ignore"):
        near = np.nan_to_num(np.floor(bdtrik(alpha / 2, changed, 0.5)), nan=-1.0)
    # The inverse is real-valued: settle the whole number by the test itself.
    near = np.clip(near + 1, 0, changed)
    for _ in range(3):
        near = np.where((near >= 0) & (2 * bdtr(near, changed, 0.5) > alpha), near - 1, near)
    return np.asarray(near, dtype=np.float64)


def _binomial(k: npt.NDArray[np.int_], n: int, p: float) -> npt.NDArray[np.float64]:
    """Probabilities of the binomial distribution."""
    from scipy.special import gammaln, xlog1py, xlogy

    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    probabilities: npt.NDArray[np.float64] = np.exp(choose + xlogy(k, p) + xlog1py(n - k, -p))
    return probabilities
