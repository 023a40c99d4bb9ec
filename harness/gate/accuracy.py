"""Has head lost accuracy? A test of non-inferiority on the same samples.

The hypothesis to be rejected is "head loses the margin or more"; a change passes when it is. Errors go two ways:

- *A harmful change passes.* One that loses exactly the margin passes with a chance of at most ``alpha``, and one that
  loses more with a smaller chance; up to the approximation that a test makes, and apart from the next case.
- *A harmless change fails.* One that loses nothing, but answers some samples otherwise, fails wherever the samples are
  too few to rule the margin out. `harness.gate.power` computes how often; ``margin`` is the choice between the two.

A change that alters no score of any sample passes whatever their number: on these samples it is the same. With n
samples, one that breaks a share q of all answers goes unseen in this way with a chance of (1 - q)^n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class AccuracyRule:
    """How much may be lost.

    Attributes:
        margin: Loss in the metric's own unit (a share for ``%``) that must be ruled out.
        alpha: Chance of passing a change that loses the margin.
    """

    margin: float = 0.02
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise UserError(f"{self.margin:g} is not in (0, 1)", where="--margin", todo="give a share, such as 0.02")


@dataclass(frozen=True, slots=True)
class Loss:
    """What head loses on the samples.

    Attributes:
        mean: Mean loss; below 0 it is a gain.
        lost: Samples whose score is worse.
        gained: Samples whose score is better.
        n: Samples.
        p_within: Chance of a loss so small if the true one is the margin: small means that the margin is ruled out.
        p_none: Chance of a loss so large if there is none: small means that something is lost.
    """

    mean: float
    lost: int
    gained: int
    n: int
    p_within: float
    p_none: float

    @property
    def same(self) -> bool:
        """Whether no score differs."""
        return self.lost == self.gained == 0

    def passes(self, rule: AccuracyRule) -> bool:
        """Whether a loss of the margin is ruled out, or nothing differs at all."""
        return self.same or self.p_within <= rule.alpha

    def proven(self, rule: AccuracyRule) -> bool:
        """Whether something is lost, however little."""
        return self.p_none <= rule.alpha


def loss(base: Values, head: Values, rule: AccuracyRule, groups: Sequence[str] | None = None) -> Loss:
    """Compare the scores of the same samples.

    Scores of 0 and 1 of independent samples are compared by Tango's score test of two paired shares (Statistics in
    Medicine 17, 1998, equation 5; at no loss it is McNemar's test). It holds its level where few samples differ, which
    a t test does not. Others are compared by the paired t test; with ``groups``, on the losses of whole groups.

    Args:
        base: Scores of shape [n], higher is better.
        head: Scores of shape [n], of the same samples.
        rule: The margin.
        groups: A name for each sample; samples of one group are not independent.

    Raises:
        ValueError: The shapes differ, there is no sample, or a score is not finite.
    """
    from scipy.special import ndtr

    if np.shape(base) != np.shape(head) or not len(base) or not (np.isfinite(base).all() and np.isfinite(head).all()):
        raise ValueError("a paired test needs finite values of the same samples")
    losses = np.asarray(base, dtype=np.float64) - np.asarray(head, dtype=np.float64)
    n, lost, gained = len(losses), int(np.sum(losses > 0)), int(np.sum(losses < 0))
    if groups is None and np.isin([base, head], (0, 1)).all():
        within, none = (float(ndtr(sign * tango(lost, gained, n, at))) for sign, at in ((1, rule.margin), (-1, 0.0)))
    else:
        within, none = _t_tests(losses, groups, rule.margin)
    return Loss(float(losses.mean()), lost, gained, n, within, none)


def tolerated(n: int, rule: AccuracyRule) -> int:
    """Return how many of n scores of 0 and 1 may be lost, with none gained, before a change does not pass."""
    from scipy.special import ndtr

    lost = np.arange(n + 1)
    return int(np.argmin((ndtr(tango(lost, 0, n, rule.margin)) <= rule.alpha) | (lost == 0))) - 1


def tango(lost: Any, gained: Any, n: int, margin: float) -> Any:
    """Return Tango's statistic, about standard normal if the true loss is ``margin``.

    Args:
        lost: Samples right before and wrong now; a number or an array.
        gained: Samples wrong before and right now.
        n: All samples.
        margin: Loss that is supposed, in [0, 1).
    """
    b, c = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    # The most likely share of gained samples under that loss: 2 n q^2 + linear q - c margin (1 - margin) = 0.
    linear = -(b + c) + (2 * n - b + c) * margin
    share = (np.sqrt(linear**2 + 8 * n * c * margin * (1 - margin)) - linear) / (4 * n)
    variance = n * (2 * share + margin * (1 - margin))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, (b - c - n * margin) / np.sqrt(variance), 0.0)


def _t_tests(losses: Values, groups: Sequence[str] | None, margin: float) -> tuple[float, float]:
    """Return the p values of "the loss is the margin or more" and of "there is none"."""
    from scipy.special import stdtr

    n = len(losses)
    index = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    totals, sizes = np.bincount(index, weights=losses), np.bincount(index)
    units, mean = len(totals), losses.sum() / n
    if units < 2:
        return 1.0, 1.0
    # Cluster-robust standard error of the mean, as of the intervals on the board.
    error = math.sqrt(units / (units - 1) * np.sum((totals - mean * sizes) ** 2)) / n
    if error == 0:
        return float(mean >= margin), float(mean <= 0)
    return float(stdtr(units - 1, (mean - margin) / error)), float(stdtr(units - 1, -mean / error))
