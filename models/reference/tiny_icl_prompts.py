"""The prompts that ``tiny-icl`` learns from: one, two or three functions, shown by example.

What a sign means differs from prompt to prompt, so it can only be read from the examples. In every example one function
acts and no other; no input holds a word beside a number. A prompt depends on its number and the seed alone.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Words: TypeAlias = Sequence[str]

T = TypeVar("T", bound="str | int")

SIGNS = "* # @ & % $ ! ~ ^ + = | / ?".split()
BRACKETS = "() [] {} <>".split()
_SHAPES = {"bare": 5, "before": 7, "after": 6, "spaced": 3, "tight": 2, "before tight": 2, "between": 2}
"""How a function is marked -> how often."""
_SAME_KIND = 0.6
"""How often a further function acts on operands like those of the one before it: then only signs tell them apart."""
_FUNCTIONS_OF_A_PROMPT = {1: 7, 2: 10, 3: 3}
_WORDS = ("word", "verb", "number word", "invented", "title")
_ANYTHING = (*_WORDS, "integer")
_OFTEN = {"word": 4, "verb": 2, "number word": 1, "invented": 2, "title": 2, "integer": 3}
"""Kind of operands -> how often, where a function takes several."""


class Function(NamedTuple):
    """What acts on the operands of an input.

    Attributes:
        often: How often it is chosen.
        kinds: Of operands that it is shown with; none: it has facts.
        counts: How many operands an input may have.
        rule: Operands -> results; none: facts tell.
        joins: Whether it makes one of two, with a sign between them.
    """

    often: int
    kinds: tuple[str, ...] = ()
    counts: tuple[int, ...] = (1, 2)
    rule: Callable[[Words], Words] | None = None
    joins: bool = False


def _each(function: Callable[[str], str]) -> Callable[[Words], Words]:
    return lambda operands: [function(operand) for operand in operands]


def _of_numbers(function: Callable[..., int]) -> Callable[[Words], Words]:
    return lambda operands: [str(function(*map(int, operands)))]


FUNCTIONS = {
    "capitals": Function(12, _WORDS, (1, 1, 2), _each(str.upper)),
    "swap": Function(12, _ANYTHING, (2,), lambda words: [words[1], words[0]]),
    "two sum": Function(10, joins=True),
    "past tense": Function(8),
    "opposite": Function(10),
    "plus one": Function(10, ("integer",), (1,), _of_numbers(lambda a: a + 1)),
    "modular": Function(10, joins=True),
    "two sum plus one": Function(10, joins=True),
    "copy": Function(5, _ANYTHING, (1, 2), lambda words: words),
    "reverse": Function(2, _ANYTHING, (3,), lambda words: words[::-1]),
    "first": Function(3, _ANYTHING, (2,), lambda words: words[:1]),
    "last": Function(3, _ANYTHING, (2,), lambda words: words[-1:]),
    "double": Function(3, _ANYTHING, (1,), lambda words: [*words, *words]),
    "title": Function(3, ("word", "verb", "number word", "invented"), (1, 2), _each(str.title)),
    "plural": Function(4),
    "gerund": Function(4),
    "digits": Function(2),
    "minus one": Function(4, ("integer",), (1,), _of_numbers(lambda a: a - 1)),
    "plus ten": Function(2, ("integer",), (1,), _of_numbers(lambda a: a + 10)),
    "sum": Function(4, ("small",), (2,), _of_numbers(lambda a, b: a + b), joins=True),
    "larger": Function(3, ("small",), (2,), _of_numbers(max), joins=True),
    "smaller": Function(3, ("small",), (2,), _of_numbers(min), joins=True),
}
"""Name -> function. The first eight are the logical suite's; those without a rule are facts of the lessons."""
_KINDS_OF_FACTS = {
    "two sum": "number word",
    "past tense": "verb",
    "opposite": "title",
    "plural": "word",
    "gerund": "verb",
    "digits": "number word",
}
"""Function -> kind of the operands of its facts; numbers if not told."""


class Example(NamedTuple):
    """One example of a prompt."""

    function: str
    given: str
    answer: str


@dataclass(frozen=True)
class Lessons:
    """Operands by kind, and facts by function: what ``adaptbench.tasks.compositional.lessons`` writes.

    Attributes:
        operands: Kind -> operands.
        facts: Function -> pairs of an input and its output.
    """

    operands: dict[str, list[str]]
    facts: dict[str, list[tuple[str, str]]]

    @classmethod
    def read(cls, path: Path) -> Lessons:
        """Read the file."""
        told = json.loads(path.read_text(encoding="utf-8"))
        operands = dict(told["operands"])
        operands["title"] = operands.pop("opposite") + [word.title() for word in operands["invented"][::12]]
        integers = operands["integer"]
        operands["small"] = [number for number in integers if int(number) < 100]
        operands["integer"] = [number for number in integers for _ in range(9 if int(number) <= 1000 else 1)]
        return cls(operands, {name: [(a, b) for a, b in pairs] for name, pairs in told["facts"].items()})

    def words(self) -> dict[str, list[str]]:
        """Return kind -> all words, in lower case, results of functions included."""
        results = [word for pairs in self.facts.values() for pair in pairs for text in pair for word in text.split()]
        kinds = {kind: words for kind, words in self.operands.items() if kind not in ("integer", "small")}
        return kinds | {"opposite": [word for word, _ in self.facts["opposite"]], "results": sorted(set(results))}


class Prompts:
    """Draws prompts.

    Args:
        lessons: What they are made of.
        seed: Of all draws.
    """

    def __init__(self, lessons: Lessons, seed: int = 0) -> None:
        self._lessons, self._seed = lessons, seed

    def prompt(self, name: str, examples: int) -> list[Example]:
        """Return the examples of a prompt, the last of which is its question.

        Args:
            name: Of the prompt; two names are two prompts.
            examples: How many there are, demonstrations and question.
        """
        dice = random.Random(f"{self._seed}/{name}")  # noqa: S311 - no secrets
        count = _chosen(_FUNCTIONS_OF_A_PROMPT, dice)
        signs, brackets = dice.sample(SIGNS, count), dice.sample(BRACKETS, count)
        shown: list[_Shown] = []
        while len(shown) < count:
            place = len(shown)
            drawn = self._shown(shown[-1:], signs[place], brackets[place], dice)
            if all(drawn.differs(other) for other in shown):
                shown.append(drawn)
        found: dict[str, Example] = {}
        for _ in range(20 * examples):  # a function may have few different inputs
            if len(found) == examples:
                break
            example = self._example(dice.choice(shown), dice)
            found.setdefault(example.given, example)
        return list(found.values())

    def _shown(self, before: list[_Shown], sign: str, brackets: str, dice: random.Random) -> _Shown:
        """A function with its kind of operands and its mark."""
        name = _chosen({name: function.often for name, function in FUNCTIONS.items()}, dice)
        function = FUNCTIONS[name]
        kinds = function.kinds or (_KINDS_OF_FACTS.get(name, "small"),)
        alike = before and before[0].kind in kinds and dice.random() < _SAME_KIND
        kind = before[0].kind if alike else _chosen({kind: _OFTEN.get(kind, 1) for kind in kinds}, dice)
        count = 2 if function.joins else dice.choice(function.counts)
        shape = "between" if function.joins and dice.random() < 0.9 else _chosen(_SHAPES, dice)
        if shape == "between" and count != 2:
            shape = "before"
        return _Shown(name, kind, count, shape, sign, brackets)

    def _example(self, shown: _Shown, dice: random.Random) -> Example:
        function = FUNCTIONS[shown.name]
        if function.rule:
            operands: Words = dice.sample(self._lessons.operands[shown.kind], shown.size)
            answer = " ".join(function.rule(operands))
        elif function.joins:
            given, answer = dice.choice(self._lessons.facts[shown.name])
            operands = given.split()
        else:
            pairs = dice.sample(self._lessons.facts[shown.name], shown.size)
            operands, answer = [given for given, _ in pairs], " ".join(said for _, said in pairs)
        return Example(shown.name, shown.written(operands), answer)


class _Shown(NamedTuple):
    """A function as a prompt shows it."""

    name: str
    kind: str
    size: int
    shape: str
    sign: str
    brackets: str

    def differs(self, other: _Shown) -> bool:
        """Whether an input tells which of the two it is."""
        both_bare = self.shape == other.shape == "bare"
        return self.name != other.name and not (both_bare and self._alphabet == other._alphabet)

    @property
    def _alphabet(self) -> str:
        return "digits" if self.kind in ("integer", "small") else "letters"

    def written(self, operands: Words) -> str:
        """Return the input."""
        plain, sign, left, right = " ".join(operands), self.sign, self.brackets[0], self.brackets[1]
        return {
            "bare": plain,
            "before": f"{sign} {plain}",
            "after": f"{plain} {sign}",
            "spaced": f"{left} {plain} {right}",
            "tight": f"{left}{plain}{right}",
            "before tight": f"{sign} {left}{plain}{right}",
            "between": f" {sign} ".join(operands),
        }[self.shape]


def written(examples: Sequence[Example]) -> str:
    """Return the text of a prompt, its last answer included."""
    return "".join(f"input: {example.given}\noutput: {example.answer}\n\n" for example in examples)


def _chosen(often: Mapping[T, int], dice: random.Random) -> T:
    return dice.choices(list(often), list(often.values()))[0]
