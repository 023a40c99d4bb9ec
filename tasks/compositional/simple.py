"""The simple logical tasks A to H, and where their operands are drawn from (dissertation, Table 4.2).

A simple task is a function of words or numbers. What its operands are is told by their *kind*: verbs, opposites,
integers. One more task is one more `Simple`, one more kind of operand one more entry of `KINDS`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...harness.errors import UserError
from ...harness.hashing import sha256_hex
from .words import LARGEST_SPELLED, OPPOSITE_OF, VERBS, class_words, past, spell, unspell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..dice import Dice

Words: TypeAlias = tuple[str, ...]
Side: TypeAlias = Literal["demonstrations", "queries"]
Bounds: TypeAlias = tuple[int, int]

_QUERY_TENTHS = 3
"""How many tenths of all operands are in queries; the others are in demonstrations."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where numbers lie; bounds belong to their range. The defaults are those of the authors' released data.

    Attributes:
        integers: Of plus one.
        dividends: Of modular, left of its sign.
        divisors: Of modular, right of its sign; at least 1.
        addends: Of two sum plus one; the second is at least 1.
        addends_total: Their greatest sum.
        spelled: Of two sum, in words; the second is at least 1.
        spelled_total: Their greatest sum.
    """

    integers: Bounds = (1, 1000)
    dividends: Bounds = (0, 99)
    divisors: Bounds = (1, 103)
    addends: Bounds = (0, 98)
    addends_total: int = 98
    spelled: Bounds = (0, 99)
    spelled_total: int = 99

    def __post_init__(self) -> None:
        bounds = (self.integers, self.dividends, self.divisors, self.addends, self.spelled)
        sums = ((self.addends, self.addends_total), (self.spelled, self.spelled_total))
        if (
            any(not 0 <= low <= high for low, high in bounds)
            or self.divisors[0] < 1
            or any(high < 1 or low + max(low, 1) > total for (low, high), total in sums)
            or max(self.spelled[1], self.spelled_total) > LARGEST_SPELLED
        ):
            raise UserError(f"no numbers lie in {self}", where="logical tasks", todo="choose 0 <= low <= high")

    @classmethod
    def between(cls, low: int, high: int) -> Ranges:
        """Return the ranges in which every number lies in low ... high.

        Raises:
            UserError: The range is empty, holds no divisor, or reaches further than numbers are spelled.
        """
        every, natural = (low, high), (max(low, 1), high)
        return cls(every, every, natural, every, 2 * high, every, 2 * high)


RANGES = {
    "release": Ranges(),
    "text": Ranges((1, 1000), (1, 1000), (1, 1000), (1, 1000), 2000, (1, 100), 200),
}
"""The ranges of the released data and those of the text (B.1.1): integers to 1000, numbers in words to one hundred."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of operand.

    Attributes:
        pool: All there are, in an order that never changes.
        key: Operands of one key are on the same side: none is in a query that another of the key demonstrates.
    """

    pool: Callable[[Ranges], Sequence[str]]
    key: Callable[[str], str] = str


def _from(bounds: Bounds) -> range:
    return range(bounds[0], bounds[1] + 1)


KINDS = {
    "word": Kind(lambda _: class_words()),
    "verb": Kind(lambda _: VERBS),
    "opposite": Kind(lambda _: tuple(OPPOSITE_OF), lambda word: min(word, OPPOSITE_OF[word])),
    "number word": Kind(lambda ranges: [spell(number) for number in _from(ranges.spelled)]),
    "integer": Kind(lambda ranges: [str(number) for number in _from(ranges.integers)]),
}
"""The kinds that operands are drawn from; results may be of further kinds, such as ``capitals``."""


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple task.

    Attributes:
        letter: Its short name.
        name: Its name.
        phrase: What an instruction says that it does.
        takes: Kinds of operands; none named means any ...
        rule: Operands -> results.
        refuses: ... but these.
        gives: Kind of the results; empty for that of the operands.
        arity: 1 if it acts on each operand by itself, 2 if it needs two.
        symbol: Sign between the operands of a task that makes one of two.
        domain: Draws operands that belong together; else they are drawn one by one.
    """

    letter: str
    name: str
    phrase: str
    takes: Words
    rule: Callable[[Words], Words]
    refuses: Words = ()
    gives: str = ""
    arity: int = 1
    symbol: str = ""
    domain: Callable[[Dice, Ranges], Words] | None = None

    def accepts(self, kind: str) -> bool:
        """Whether operands may be of this kind."""
        return kind not in self.refuses and (not self.takes or kind in self.takes)

    def results_of(self, kind: str) -> str:
        """Return the kind of the results when the operands are of this kind."""
        return self.gives or kind


def each(function: Callable[[str], str]) -> Callable[[Words], Words]:
    """Return the rule that acts on each operand by itself."""
    return lambda operands: tuple(map(function, operands))


def on_side(key: str, side: Side) -> bool:
    """Whether what has this key stands on a side: three tenths of all keys in queries, the others in demonstrations.

    A key stands where it stands, whatever the seed.
    """
    return (int(sha256_hex(key.encode())[:8], 16) % 10 < _QUERY_TENTHS) == (side == "queries")


@dataclass(frozen=True, slots=True)
class Source:
    """Draws operands of one side."""

    dice: Dice
    side: Side
    ranges: Ranges

    def of_kind(self, kind: str, count: int) -> Words:
        """Return different operands of a kind.

        Raises:
            UserError: There are too few.
        """
        pool = _pool(kind, self.side, self.ranges)
        if len(pool) < count:
            raise UserError(f"there are {len(pool)} {kind}s for {self.side}, {count} are needed", where="logical tasks")
        drawn: list[str] = []
        while len(drawn) < count:
            operand = self.dice.choose(pool)
            if operand not in drawn:
                drawn.append(operand)
        return tuple(drawn)

    def operands(self, task: Simple, kind: str, count: int) -> Words:
        """Return operands for a task: those that belong together, or ``count`` of a kind.

        Raises:
            UserError: There are too few.
        """
        if task.domain is None:
            return self.of_kind(kind, count)
        for _ in range(1000):
            operands = task.domain(self.dice, self.ranges)
            if on_side(" ".join(operands), self.side):
                return operands
        raise UserError(f"the ranges leave no operands for the {self.side} of {task.name}", where="logical tasks")


@functools.lru_cache(maxsize=64)
def _pool(kind: str, side: Side, ranges: Ranges) -> Words:
    known = KINDS[kind]
    return tuple(operand for operand in known.pool(ranges) if on_side(known.key(operand), side))


def _number(dice: Dice, bounds: Bounds) -> int:
    return bounds[0] + dice.below(bounds[1] - bounds[0] + 1)


def _addends(dice: Dice, bounds: Bounds, total: int) -> tuple[int, int]:
    """Two numbers, each pair as likely as any other; the second is at least 1."""
    while True:
        first, second = _number(dice, bounds), _number(dice, (max(bounds[0], 1), bounds[1]))
        if first + second <= total:
            return first, second


def _two_spelled(dice: Dice, ranges: Ranges) -> Words:
    return tuple(map(spell, _addends(dice, ranges.spelled, ranges.spelled_total)))


def _two_addends(dice: Dice, ranges: Ranges) -> Words:
    return tuple(map(str, _addends(dice, ranges.addends, ranges.addends_total)))


def _division(dice: Dice, ranges: Ranges) -> Words:
    return str(_number(dice, ranges.dividends)), str(_number(dice, ranges.divisors))


def _sum_of_spelled(operands: Words) -> Words:
    return (spell(sum(map(unspell, operands))),)


def _remainder(operands: Words) -> Words:
    return (str(int(operands[0]) % int(operands[1])),)


def _sum_plus_one(operands: Words) -> Words:
    return (str(sum(map(int, operands)) + 1),)


CAPITALISATION = Simple(
    "A",
    "capitalisation",
    "capitalizing letters",
    (),
    each(str.upper),
    refuses=("integer", "capitals"),
    gives="capitals",
)
SWAP = Simple("B", "swap", "swapping the position of 2 words", (), lambda operands: (operands[1], operands[0]), arity=2)
TWO_SUM = Simple(
    "C", "two sum", "summing two numbers", ("number word",), _sum_of_spelled, arity=2, symbol="@", domain=_two_spelled
)
PAST_TENSE = Simple("D", "past tense", "finding the past tense of a verb", ("verb",), each(past), gives="past")
OPPOSITE = Simple(
    "E", "opposite", "finding the opposite meaning of a word", ("opposite",), each(lambda word: OPPOSITE_OF[word])
)
PLUS_ONE = Simple("F", "plus one", "adding one", ("integer",), each(lambda number: str(int(number) + 1)))
MODULAR = Simple(
    "G", "modular", "taking the remainder", ("integer",), _remainder, arity=2, symbol="@", domain=_division
)
TWO_SUM_PLUS_ONE = Simple(
    "H",
    "two sum plus one",
    "summing two numbers and adding one",
    ("integer",),
    _sum_plus_one,
    arity=2,
    symbol="#",
    domain=_two_addends,
)
_ALL = (CAPITALISATION, SWAP, TWO_SUM, PAST_TENSE, OPPOSITE, PLUS_ONE, MODULAR, TWO_SUM_PLUS_ONE)
SIMPLE = {task.letter: task for task in _ALL}
"""Letter -> task."""
