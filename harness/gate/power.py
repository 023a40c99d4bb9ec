"""How often the accuracy check stops a change that loses so much: computed, not simulated."""

from __future__ import annotations

import numpy as np

from .accuracy import AccuracyRule, tango


def chance_to_stop(n: int, lost: float, gained: float, rule: AccuracyRule) -> float:
    """Return the chance that a change does not pass, for scores of 0 and 1 of independent samples.

    It is exact: the sum over all counts of samples lost and gained, which are multinomial, of the chance of those with
    which the check does not pass.

    Args:
        n: Samples.
        lost: Chance that a sample is right with base and wrong with head.
        gained: Chance of the opposite; at most ``1 - lost``.
        rule: Of the check.
    """
    from scipy.special import gammaln, ndtr, xlogy

    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = b + c <= n
    b, c = b[possible], c[possible]
    rest = n - b - c
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(rest + 1)
    chance = np.exp(ways + xlogy(b, lost) + xlogy(c, gained) + xlogy(rest, max(0.0, 1 - lost - gained)))
    passes = (ndtr(tango(b, c, n, rule.margin)) <= rule.alpha) | ((b == 0) & (c == 0))
    return float(chance[~passes].sum())
