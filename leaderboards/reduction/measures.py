"""Measures of models that read fewer visual tokens, from what they and the whole model answered to the same samples.

Numbers in, numbers out. Arrays have a value for each of n samples; ``groups`` names those that are not independent.
Sources: EffiVLM-Bench (arXiv 2506.00479) for OP, OG and OL, VTC-Bench (arXiv 2510.07143) for groups A and B.
"""

from __future__ import annotations

import math
import statistics
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...harness.stats import paired_p, ratio_interval, share_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ...harness.results import Estimate
    from ...harness.stats import Values

    Bools = npt.NDArray[np.bool_]

RIGHT = 0.5
"""Least score of a right answer: graded scores, such as VQA's, count as right from here on, as in VTC-Bench's code."""
_EDGES = ".,;:!?\"'`()[]{}"
"""What is cut off both ends of a word; signs and units stay, for -5 is not 5."""


class Flips(NamedTuple):
    """How many samples went from right or wrong to right or wrong.

    Attributes:
        kept: Right in both.
        lost: Right in the whole model alone.
        gained: Right in the other model alone.
        same: Wrong in both, with the same answer.
        other: Wrong in both, with different answers.
        p: Of `paired_p`: McNemar's exact test of ``lost`` and ``gained``; of grouped samples, of the groups' sums.
    """

    kept: int
    lost: int
    gained: int
    same: int
    other: int
    p: float


class Groups(NamedTuple):
    """VTC-Bench's groups of samples that the whole model gets right, and a model's accuracy on each.

    Attributes:
        a: On those that the down-sampled model gets wrong, with Wilson's interval; ``None`` if there are none.
        b: On those that it gets right, too.
    """

    a: Estimate | None
    b: Estimate | None


def right(scores: Values) -> Bools:
    """Which answers are right."""
    return np.asarray(scores) >= RIGHT


def corrected_retention(
    base: Values, scores: Values, zero: Values | float, groups: Sequence[str] | None = None, *, noun: str = "sample"
) -> Estimate | None:
    """Return (s - z) / (f - z): the share that is kept of what images add to the score.

    Args:
        base: Scores of the whole model, f.
        scores: Of the model that reads fewer tokens, s.
        zero: Of the model that sees no image, or what a uniform guess scores; z.
        groups: A name for each sample; samples of one group are not independent.
        noun: What one sample is called.

    Returns:
        The estimate, below 0 if less than nothing is kept; ``None`` where these samples do not show that images add
        anything, as `ratio_interval` has it.
    """
    return ratio_interval(base - zero, scores - zero, groups, shares=False, noun=noun)


def information(
    base: Values, blind: Values, groups: Sequence[str] | None = None, *, shares: bool, noun: str = "sample"
) -> Estimate | None:
    """Return (f - z) / z: by how much images raise the score of the model that sees none.

    Args:
        base: Scores of the whole model, f.
        blind: Of the model that sees no image, z.
        groups: As for `corrected_retention`.
        shares: The scores are in [0, 1].
        noun: What one sample is called.

    Returns:
        The estimate; ``None`` where z is near zero.
    """
    found = ratio_interval(blind, base, groups, shares=shares, noun=noun)
    if found is None:
        return None
    value, low, high = (None if one is None else one - 1 for one in (found.value, found.low, found.high))
    return found.model_copy(update={"value": value, "low": low, "high": high})


def overall_performance(ratios: Sequence[float]) -> float:
    """EffiVLM-Bench's OP: the root of the mean square of the tasks' ratios s / f. It is never below their mean."""
    return math.sqrt(statistics.fmean(ratio**2 for ratio in ratios))


def overall_generalisation(ratios: Sequence[float]) -> float:
    """EffiVLM-Bench's OG: standard deviation over mean of the tasks' ratios; lower is more even.

    The deviation is that of all of them, with their number in its denominator, so that OP^2 = mean^2 (1 + OG^2).
    """
    mean = statistics.fmean(ratios)
    return statistics.pstdev(ratios, mean) / mean if mean else math.nan


def flips(base: Bools, other: Bools, same: Bools, groups: Sequence[str] | None = None) -> Flips:
    """Count what became of right and wrong answers.

    Args:
        base: Which the whole model has right.
        other: Which the other model has right.
        same: To which both gave the same answer.
        groups: As for `corrected_retention`.
    """
    wrong = ~base & ~other
    return Flips(
        kept=int((base & other).sum()),
        lost=int((base & ~other).sum()),
        gained=int((~base & other).sum()),
        same=int((wrong & same).sum()),
        other=int((wrong & ~same).sum()),
        p=paired_p(base.astype(np.float64), other.astype(np.float64), groups),
    )


def groups_a_b(
    base: Bools, downsampled: Bools, other: Bools, groups: Sequence[str] | None = None, *, noun: str = "sample"
) -> Groups:
    """Return the accuracy on VTC-Bench's groups A and B.

    As its code has them: what the whole model gets wrong is in neither. (Its README tells A and B apart by the
    down-sampled model alone.) So on A the whole model scores 100 % and the down-sampled one 0.

    Args:
        base: Which samples the whole model has right.
        downsampled: Which the model that sees smaller images has right.
        other: Which the model that is scored has right.
        groups: As for `corrected_retention`.
        noun: What one sample is called.
    """

    def accuracy(where: Bools) -> Estimate | None:
        own = None if groups is None else [name for name, here in zip(groups, where, strict=True) if here]
        return share_interval(other[where].astype(np.float64), own, noun=noun) if where.any() else None

    return Groups(accuracy(base & ~downsampled), accuracy(base & downsampled))


def plain(output: Any) -> Any:
    """Return an output for a comparison that is less strict than that of its characters.

    Of every text in it: letters of one case and form, blanks alike, no punctuation at the ends of words.
    """
    if isinstance(output, list):
        return [plain(one) for one in output]
    if not isinstance(output, str):
        return output
    words = unicodedata.normalize("NFKC", output).casefold().split()
    return " ".join(filter(None, (word.strip(_EDGES) for word in words)))
