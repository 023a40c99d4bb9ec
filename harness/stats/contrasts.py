"""Two models on the same samples: how far apart they are, and what share of one's score the other has.

Both intervals are made of the intervals of the two scores by MOVER, the method of variance estimates recovery: of
differences Newcombe (1998, method 10) and Zou (2008), of ratios Donner and Zou (2012). With t intervals, that of a
difference is the paired t interval; with Wilson's, it stays in [-1, 1] and is never of width zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..results import Estimate
from .intervals import counted, drawn_weights, is_binary, mean_interval, middle, share_interval, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .intervals import Values


def difference_interval(
    baseline: Values, candidate: Values, groups: Sequence[str] | None = None, *, shares: bool, noun: str = "sample"
) -> Estimate:
    """Return the mean of the candidate minus that of the baseline, with its 95 % interval.

    Args:
        baseline: Finite values of shape [n], n >= 1.
        candidate: Of shape [n], of the same samples.
        groups: A name for each sample; samples of one group are not independent.
        shares: The values are in [0, 1], and the interval must be in [-1, 1].
        noun: What one sample is called, for ``method``.

    Returns:
        The estimate; its ends are ``None`` when fewer than two independent samples are at hand.
    """
    own = share_interval if shares else mean_interval
    b, c = own(baseline, groups, noun=noun), own(candidate, groups, noun=noun)
    value = c.value - b.value
    if b.low is None or b.high is None or c.low is None or c.high is None:
        return b.model_copy(update={"value": value})
    r = _correlation(baseline, candidate, groups)
    below, above = (c.value - c.low, b.high - b.value), (c.high - c.value, b.value - b.low)
    return Estimate(
        value=value, low=value - _apart(*below, r), high=value + _apart(*above, r), n=b.n, method=f"paired {b.method}"
    )


def ratio_interval(
    baseline: Values, candidate: Values, groups: Sequence[str] | None = None, *, shares: bool, noun: str = "sample"
) -> Estimate | None:
    """Return the mean of the candidate as a share of that of the baseline, with its 95 % interval.

    Args:
        baseline: As for `difference_interval`, and so are the others.
        candidate: Likewise.
        groups: Likewise.
        shares: Likewise.
        noun: Likewise.

    Returns:
        The estimate; ``None`` where the baseline is too near to zero for a share of it to mean anything: its interval
        reaches down to 0 or up to twice its value.
    """
    own = share_interval if shares else mean_interval
    b, c = own(baseline, groups, noun=noun), own(candidate, groups, noun=noun)
    if b.value <= 0:
        return None
    if b.low is None or b.high is None or c.low is None or c.high is None:
        return b.model_copy(update={"value": c.value / b.value})
    if b.low <= 0 or b.high >= 2 * b.value:
        return None
    r = _correlation(baseline, candidate, groups)
    product = b.value * c.value
    down = product - r * (c.value - c.low) * (b.high - b.value)
    up = product - r * (c.high - c.value) * (b.value - b.low)
    wide, fine = b.high * (2 * b.value - b.high), b.low * (2 * b.value - b.low)
    low = (down - math.sqrt(max(0.0, down**2 - c.low * (2 * c.value - c.low) * wide))) / wide
    high = (up + math.sqrt(max(0.0, up**2 - c.high * (2 * c.value - c.high) * fine))) / fine
    return Estimate(
        value=c.value / b.value, low=max(0.0, low) if shares else low, high=high, n=b.n, method=f"paired {b.method}"
    )


def drawn_differences(
    baseline: Callable[[Values], Mapping[str, float]],
    candidate: Callable[[Values], Mapping[str, float]],
    n: int,
    groups: Sequence[str] | None = None,
    *,
    noun: str = "sample",
) -> dict[str, tuple[Estimate, float | None]]:
    """Return the differences of aggregates other than means over samples, each with its interval and p value.

    Samples - with ``groups``, whole groups - are drawn with replacement 1,000 times, the same for both models. The
    interval is that of the percentiles, and p is the share of draws whose difference is as far from the one that was
    observed as that is from zero (Efron's paired bootstrap, shifted), so it is never below 0.001.

    Args:
        baseline: Weights float64 [n] -> the aggregates (see `drawn_intervals`).
        candidate: Likewise, of the same samples.
        n: Number of samples, 1 or more.
        groups: A name for each sample; samples of one group are drawn together.
        noun: What one sample is called, for ``method``.

    Returns:
        Name -> candidate minus baseline, and p. Without an interval p is ``None``: fewer than two independent samples
        are at hand, or most draws give no finite number. What is not finite on both sides is left out.
    """

    def apart(weights: Values) -> dict[str, float]:
        own, other = candidate(weights), baseline(weights)
        return {name: value - other[name] for name, value in own.items() if name in other}

    values = {name: value for name, value in apart(np.ones(n)).items() if math.isfinite(value)}
    drawn = [apart(weights) for weights in drawn_weights(n, groups)] if values else []
    found: dict[str, tuple[Estimate, float | None]] = {}
    for name, value in values.items():
        draws = np.array([draw.get(name, math.nan) for draw in drawn])
        low, high = middle(draws, 0.95) or (None, None)
        if low is None:
            found[name] = Estimate(value=value, low=None, high=None, n=n, method="no interval"), None
            continue
        shifts = np.abs(draws[np.isfinite(draws)] - value)
        p = float((1 + np.sum(shifts >= abs(value) * (1 - 1e-12))) / (1 + len(shifts)))
        method = f"95 % paired bootstrap interval over {counted(n, noun, groups)}"
        found[name] = Estimate(value=value, low=low, high=high, n=n, method=method), p
    return found


def _apart(own: float, other: float, r: float) -> float:
    """Distance of an end of the interval from the difference, from those of the ends of both scores."""
    return math.sqrt(max(0.0, own**2 - 2 * r * own * other + other**2))


def _correlation(a: Values, b: Values, groups: Sequence[str] | None) -> float:
    """Correlation of the two means over independent samples; 0 where one of them does not vary.

    Of right and wrong answers it is corrected for continuity as Newcombe does: it is not 1 where both have the same.
    """
    n = len(a)
    x, y = (totals(np.asarray(v, dtype=np.float64) - np.mean(v), groups) for v in (a, b))
    products, scale = float(x @ y), math.sqrt(float(x @ x) * float(y @ y))
    if scale <= 1e-12 * n:
        return 0.0
    if is_binary(a) and is_binary(b) and products > 0:
        products = max(0.0, products - n / (2 * len(x)))
    return min(1.0, max(-1.0, products / scale))
