"""Is head slower than base? Judged from repetitions that took turns, so that what disturbs one disturbs the other.

Two processes of the same code differ for as long as they live, by where their memory lies: in one process more
repetitions say the same again. So each side is started anew several times, and a process counts once (as in pyperf).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ..measure.timing import Seconds

    Times = npt.NDArray[np.floating[Any]]

ClockName = Literal["wall", "processor"]


@dataclass(frozen=True, slots=True)
class TimeRule:
    """When head counts as slower.

    That head takes at most ``slower`` times as long as base is the hypothesis to be rejected. So errors go two ways: a
    change that slows by less fails with a chance of at most ``alpha``, and of much less where it slows nothing; one
    that slows by more passes if that drowns in the noise.

    Attributes:
        pairs: Repetitions of each side at least.
        processes: Of each side, one after the other, each with its share of the repetitions. With one, repetitions are
            taken for independent of each other, which they are not: a quick look.
        seconds: How long a repetition lasts at least, of the side that is quickest.
        least_call: A call that takes fewer seconds is refused: what surrounds it weighs more than itself.
        slower: Head / base that is still accepted.
        alpha: Level of the test.
        clock: ``wall``, or ``processor`` for the time that the process itself was at work: on a machine that others
            use too it is steadier, and blind to waiting.
    """

    pairs: int = 21
    processes: int = 21
    seconds: float = 0.5
    least_call: float = 0.001
    slower: float = 1.03
    alpha: float = 0.01
    clock: ClockName = "wall"

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise UserError(f"{self.processes} processes", where="--processes", todo="give 1 or more")
        self.can_tell(1)
        if self.slower < 1:
            raise UserError(f"{self.slower:g} is faster", where="--slower", todo="give a ratio above 1, such as 1.03")
        if self.seconds <= 0:
            raise UserError(f"a repetition of {self.seconds:g} s", where="--seconds", todo="give more than 0")

    @property
    def starts(self) -> int:
        """How often each side is started."""
        return min(self.processes, self.pairs)

    @property
    def rounds(self) -> int:
        """Repetitions of each process."""
        return math.ceil(self.pairs / self.starts)

    @property
    def independent(self) -> int:
        """Pairs of times that are compared: one of each process, or of each repetition where there is one process."""
        return self.starts if self.starts > 1 else self.pairs

    def can_tell(self, cells: int) -> None:
        """Refuse a rule under which no outcome is slower: p is at least 2^-independent, times the number of cells.

        Raises:
            UserError: There are too few pairs or processes for that many cells.
        """
        if cells * 2.0**-self.independent < self.alpha:
            return
        few = "pairs" if self.independent == self.pairs else "processes"
        needed = math.floor(math.log2(cells / self.alpha)) + 1
        what = (
            f"{self.independent} {few} cannot tell for {cells} cell{'s' * (cells > 1)}: p is never below {self.alpha:g}"
        )
        raise UserError(what, where=f"--{few}", todo=f"give {needed} or more")


@dataclass(frozen=True, slots=True)
class Ratio:
    """How long one side takes, as a multiple of the other.

    Attributes:
        estimate: Of the ratio (Hodges and Lehmann 1963: the median of the means of all two logarithms).
        low: Lower bound at the rule's level (Tukey's, from the same means), 0 if the pairs are too few for one.
        high: Upper bound, or infinity.
        p: Chance of ratios at least so high if the other took ``TimeRule.slower`` times as long (Wilcoxon signed-rank
            test of the logarithms, one-sided).
    """

    estimate: float
    low: float
    high: float
    p: float


def ratio(base: Times, head: Times, rule: TimeRule) -> Ratio:
    """Return head / base from paired times of shape [pairs], in seconds above 0."""
    from scipy.stats import wilcoxon

    logs = np.log(np.asarray(head, dtype=np.float64) / np.asarray(base, dtype=np.float64))
    beyond = logs - math.log(rule.slower)
    p = float(wilcoxon(beyond, alternative="greater").pvalue) if beyond.any() else 1.0
    means = np.sort(np.add.outer(logs, logs)[np.triu_indices(len(logs))] / 2)
    left_out = _means_beyond(len(logs), rule.alpha)
    low, high = (means[left_out - 1], means[-left_out]) if left_out else (-math.inf, math.inf)
    return Ratio(math.exp(np.median(means)), math.exp(low), math.exp(high), p)


def _means_beyond(pairs: int, alpha: float) -> int:
    """How many means of two lie at or beyond a bound: one more than the signed-rank statistic reaches by chance."""
    chances = np.ones(1)
    for rank in range(1, pairs + 1):  # a pair's rank is in the statistic or not, at even odds
        chances = (np.append(chances, np.zeros(rank)) + np.append(np.zeros(rank), chances)) / 2
    return int((np.cumsum(chances) <= alpha).sum())


class Repetition(NamedTuple):
    """What all sides did in turn.

    Attributes:
        turns: Of each side.
        times: Side -> clock -> seconds of all its turns.
    """

    turns: int
    times: dict[str, dict[ClockName, float]]


def taking_turns(
    sides: Mapping[str, Callable[[], Seconds]], seconds: float, generator: np.random.Generator
) -> Repetition:
    """Have all sides take turns, in an order that is drawn anew for each, until each has been at it long enough.

    Args:
        sides: Name -> does one turn and returns what it took.
        seconds: What the turns of each side last in all, at least, by the wall clock.
        generator: Of the order.
    """
    names = list(sides)
    times: dict[str, dict[ClockName, float]] = {name: {"wall": 0.0, "processor": 0.0} for name in names}
    turns = 0
    while min(of["wall"] for of in times.values()) < seconds:
        for place in generator.permutation(len(names)).tolist():
            took, of = sides[names[place]](), times[names[place]]
            of["wall"] += took.wall
            of["processor"] += took.processor
        turns += 1
    return Repetition(turns, times)


def noise(base: Times, control: Times, rule: TimeRule) -> tuple[Ratio, bool]:
    """Return how much base and more processes of the same code differ, and whether that alone looks like a slowdown.

    Then times of this machine, at this moment, tell nothing about the code.
    """
    forth, back = ratio(base, control, rule), ratio(control, base, rule)
    return forth, min(forth.p, back.p) < rule.alpha


def adjusted(ratios: Sequence[Ratio]) -> list[float]:
    """Return the p values of several cells, adjusted for their number (Holm)."""
    from ..stats import holm

    return holm([one.p for one in ratios])
