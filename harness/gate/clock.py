"""Is head slower than base? Judged from repetitions that took turns, so that what disturbs one disturbs the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ..measure.timing import Seconds

    Times = npt.NDArray[np.floating[Any]]

ClockName = Literal["wall", "processor"]
_DRAWS = 2_000
"""Bootstrap draws."""


@dataclass(frozen=True, slots=True)
class TimeRule:
    """When head counts as slower.

    Errors go two ways. A change that is not slower fails with a chance of at most ``alpha``, and of much less where the
    threshold is wider than the noise. One that is slower by less than the threshold passes, and so does one whose
    slowdown drowns in the noise: the noise floor that is printed says what was too small to see.

    Attributes:
        pairs: Repetitions of each side.
        seconds: How long a repetition lasts at least: as many calls in a row as that takes.
        least_call: A call that takes fewer seconds is refused: what surrounds it weighs more than itself.
        slower: Head / base that matters in practice; the lower bound of the ratio must be above it.
        alpha: Level of the Wilcoxon test, and 1 - that of the bound.
        clock: ``wall``, or ``processor`` for the time that the process itself was at work: on a machine that others
            use too it is steadier, and blind to waiting.
    """

    pairs: int = 21
    seconds: float = 0.5
    least_call: float = 0.001
    slower: float = 1.03
    alpha: float = 0.01
    clock: ClockName = "wall"

    def __post_init__(self) -> None:
        self.can_tell(1)
        if self.slower < 1:
            raise UserError(f"{self.slower:g} is faster", where="--slower", todo="give a ratio above 1, such as 1.03")
        if self.seconds <= 0:
            raise UserError(f"a repetition of {self.seconds:g} s", where="--seconds", todo="give more than 0")

    def can_tell(self, cells: int) -> None:
        """Refuse a rule under which no outcome is slower: p is at least 2^-pairs, times the number of cells.

        Raises:
            UserError: There are too few pairs for that many cells.
        """
        if cells * 2.0**-self.pairs >= self.alpha:
            needed = math.floor(math.log2(cells / self.alpha)) + 1
            what = (
                f"{self.pairs} pairs cannot tell for {cells} cell{'s' * (cells > 1)}: p is never below {self.alpha:g}"
            )
            raise UserError(what, where="--pairs", todo=f"give {needed} or more")


@dataclass(frozen=True, slots=True)
class Ratio:
    """How long one side takes, as a multiple of the other.

    Attributes:
        median: Median over the pairs.
        low: Lower bound of the median at the rule's level (percentile bootstrap over pairs, Efron).
        high: Upper bound.
        p: Chance of ratios at least so far above 1 if the sides are alike (Wilcoxon signed-rank test of their
            logarithms, one-sided).
    """

    median: float
    low: float
    high: float
    p: float

    def slower(self, rule: TimeRule, p: float | None = None) -> bool:
        """Whether it is both unlikely to be chance and large enough to matter.

        Args:
            rule: What is asked.
            p: Instead of its own, adjusted for the number of cells.
        """
        return (self.p if p is None else p) < rule.alpha and self.low > rule.slower


def ratio(base: Times, head: Times, alpha: float = 0.01) -> Ratio:
    """Return head / base from paired times of shape [pairs], in seconds above 0."""
    from scipy.stats import wilcoxon

    ratios = np.asarray(head, dtype=np.float64) / np.asarray(base, dtype=np.float64)
    rows = np.random.Generator(np.random.PCG64(len(ratios))).integers(0, len(ratios), size=(_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(ratios[rows], axis=1), [alpha, 1 - alpha])
    logs = np.log(ratios)
    p = float(wilcoxon(logs, alternative="greater").pvalue) if logs.any() else 1.0
    return Ratio(float(np.median(ratios)), float(low), float(high), p)


def taking_turns(
    sides: Mapping[str, Callable[[], Seconds]], rounds: int, seed: int
) -> dict[str, dict[ClockName, list[float]]]:
    """Have each side do one repetition per round, in an order that is drawn anew for each round.

    Args:
        sides: Name -> does one repetition and returns what it took.
        rounds: How many.
        seed: Of the order.

    Returns:
        Name -> clock -> seconds, round by round.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    names = list(sides)
    times: dict[str, dict[ClockName, list[float]]] = {name: {"wall": [], "processor": []} for name in names}
    for _ in range(rounds):
        for place in generator.permutation(len(names)).tolist():
            took = sides[names[place]]()
            times[names[place]]["wall"].append(took.wall)
            times[names[place]]["processor"].append(took.processor)
    return times


def noise(base: Times, control: Times, rule: TimeRule) -> tuple[Ratio, bool]:
    """Return how much base and another process of the same code differ, and whether that alone looks like a slowdown.

    Then times of this machine, at this moment, tell nothing about the code.
    """
    forth, back = ratio(base, control, rule.alpha), ratio(control, base, rule.alpha)
    return forth, forth.slower(rule) or back.slower(rule)


def adjusted(ratios: Sequence[Ratio]) -> list[float]:
    """Return the p values of several cells, adjusted for their number (Holm)."""
    from ..stats import holm

    return holm([one.p for one in ratios])
