"""A small world of English sentences: what somebody thinks of things, and what somebody does with them.

Everything that a sentence says is a field of it - its topic, polarity, tense, number -, so that tasks can ask for one
field and pairs can differ in one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from ..dice import Dice

Tense: TypeAlias = Literal["past", "present", "future"]
TENSES: tuple[Tense, ...] = ("past", "present", "future")
_BE = {"past": ("was", "were"), "present": ("is", "are")}
_TIME = {"past": "yesterday", "present": "today", "future": "tomorrow"}


class Scale(NamedTuple):
    """Two words for one end of a scale, two for the other: equal words and opposites."""

    good: tuple[str, str]
    bad: tuple[str, str]


class Topic(NamedTuple):
    """What sentences of a topic are made of.

    Attributes:
        nouns: Things, singular and plural.
        verbs: What is done with them: infinitive, third person, past.
        scales: What they may be, besides what all things may be.
    """

    nouns: tuple[tuple[str, str], ...]
    verbs: tuple[tuple[str, str, str], ...]
    scales: tuple[Scale, ...]


def _topic(nouns: str, verbs: str, *scales: str) -> Topic:
    def forms(word: str) -> tuple[str, str, str]:
        base, past = word.split("/")
        return base, f"{base}es" if base.endswith(("ch", "sh")) else f"{base}s", past

    return Topic(
        tuple((noun, f"{noun}es" if noun.endswith(("ch", "sh")) else f"{noun}s") for noun in nouns.split()),
        tuple(forms(word) for word in verbs.split()),
        tuple(map(_scale, scales)),
    )


def _scale(words: str) -> Scale:
    good, fine, bad, poor = words.split()
    return Scale((good, fine), (bad, poor))


COMMON = tuple(map(_scale, ("good fine bad poor", "lovely wonderful awful dreadful", "nice pleasant nasty horrid")))
TOPICS = {
    "food": _topic(
        "apple soup cake pie lunch salad sandwich pizza",
        "eat/ate cook/cooked taste/tasted order/ordered",
        "tasty delicious bland tasteless",
        "fresh crisp stale soggy",
    ),
    "film": _topic(
        "film show drama comedian actor scene plot song",
        "watch/watched record/recorded follow/followed rent/rented",
        "gripping thrilling boring dull",
        "funny clever silly stupid",
    ),
    "travel": _topic(
        "hotel train beach town island tour flight road",
        "visit/visited leave/left book/booked find/found",
        "scenic sunny gloomy rainy",
        "quiet calm noisy crowded",
    ),
    "shop": _topic(
        "coat shirt shoe lamp chair table clock phone",
        "buy/bought sell/sold wrap/wrapped return/returned",
        "cheap affordable costly expensive",
        "sturdy solid flimsy fragile",
    ),
}
PEOPLE = tuple("Anna Tom Mary Paul Lisa Jack Nina Carl".split())
GROUPS = tuple((f"the {one}", f"the {one}s") for one in "girl boy teacher farmer doctor guest".split())
DEGREES = ("", "", "very ", "really ", "quite ")


@dataclass(frozen=True, slots=True)
class Opinion:
    """A thing is so, as in ``The soups were not very fresh yesterday``.

    Attributes:
        topic: Of the thing.
        noun: Singular and plural.
        plural: Whether it is several.
        tense: When.
        scale: What is said of it: a scale,
        good: which end of it,
        word: and which of the two words.
        negated: Whether it is said not to be so.
        degree: Before the word.
        timed: Whether the sentence ends with the time.
        agrees: Whether the verb has the number of the noun.
    """

    topic: str
    noun: tuple[str, str]
    plural: bool
    tense: Tense
    scale: Scale
    good: bool
    word: int
    negated: bool
    degree: str
    timed: bool
    agrees: bool = True

    @property
    def praises(self) -> bool:
        """Whether the sentence is in favour of the thing."""
        return self.good != self.negated

    def __str__(self) -> str:
        no = " not" if self.negated else ""
        be = f"will{no} be" if self.tense == "future" else _BE[self.tense][self.plural == self.agrees] + no
        word = (self.scale.good if self.good else self.scale.bad)[self.word]
        return f"The {self.noun[self.plural]} {be} {self.degree}{word}{_time(self)}."


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody does something with a thing, as in ``The girls will cook the soup tomorrow``.

    Attributes:
        topic: Of the thing.
        subject: Who.
        plural: Whether that is several.
        verb: Infinitive, third person, past.
        thing: As it stands in the sentence.
        tense: When.
        timed: Whether the sentence ends with the time.
        agrees: Whether the verb has the number of the subject.
    """

    topic: str
    subject: str
    plural: bool
    verb: tuple[str, str, str]
    thing: str
    tense: Tense
    timed: bool
    agrees: bool = True

    def __str__(self) -> str:
        said = f"{self.subject} {self.done} the {self.thing}{_time(self)}."
        return said[0].upper() + said[1:]

    @property
    def done(self) -> str:
        """The verb in its form."""
        base, third, past = self.verb
        if self.tense == "future":
            return f"will {base}"
        return past if self.tense == "past" else base if self.plural == self.agrees else third

    @property
    def question(self) -> str:
        """Who does it."""
        return f"Who {replace(self, plural=False).done} the {self.thing}?"


def _time(clause: Opinion | Event) -> str:
    return f" {_TIME[clause.tense]}" if clause.timed else ""


def opinion(dice: Dice, topic: str = "", tense: Tense | None = None) -> Opinion:
    """Draw an opinion on a thing of a topic, of any if empty."""
    name = topic or dice.choose(tuple(TOPICS))
    return Opinion(
        name,
        dice.choose(TOPICS[name].nouns),
        plural=dice.below(2) == 1,
        tense=dice.choose(TENSES) if tense is None else tense,
        scale=dice.choose((*TOPICS[name].scales, *COMMON)),
        good=dice.below(2) == 1,
        word=dice.below(2),
        negated=dice.below(4) == 0,
        degree=dice.choose(DEGREES),
        timed=dice.below(4) == 0,
    )


def event(dice: Dice, topic: str = "", tense: Tense | None = None) -> Event:
    """Draw what somebody does with a thing of a topic, of any if empty."""
    name = topic or dice.choose(tuple(TOPICS))
    plural = dice.below(2) == 1
    named = not plural and dice.below(2) == 1
    return Event(
        name,
        dice.choose(PEOPLE) if named else dice.choose(GROUPS)[plural],
        plural,
        dice.choose(TOPICS[name].verbs),
        dice.choose(dice.choose(TOPICS[name].nouns)),
        dice.choose(TENSES) if tense is None else tense,
        timed=dice.below(4) == 0,
    )


def restated(dice: Dice, said: Opinion) -> Opinion:
    """Say the same of the thing in another word, in other degrees, or by denying the opposite."""
    if dice.below(3) == 0:
        return replace(said, good=not said.good, negated=not said.negated, word=dice.below(2), degree="")
    return replace(said, word=1 - said.word, degree=dice.choose(DEGREES))


def denied(dice: Dice, said: Opinion) -> Opinion:
    """Say the opposite of the thing: by the other end of the scale, or by a negation."""
    if dice.below(3) == 0:
        return replace(said, negated=not said.negated, word=dice.below(2), degree="")
    return replace(said, good=not said.good, word=dice.below(2), degree=dice.choose(DEGREES))


def beside(dice: Dice, said: Opinion) -> Opinion:
    """Say something of the thing that neither follows from what was said nor contradicts it."""
    scales = [scale for scale in (*TOPICS[said.topic].scales, *COMMON) if scale != said.scale]
    return replace(
        said, scale=dice.choose(scales), good=dice.below(2) == 1, word=dice.below(2), degree=dice.choose(DEGREES)
    )
