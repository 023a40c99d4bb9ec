"""Classification tasks about the sentences of `words_world`: some share what they ask for, some do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from .words_world import TENSES, Event, Opinion, beside, denied, event, opinion, restated

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..dice import Dice

Sentences: TypeAlias = "tuple[str, ...]"
"""One sentence, or two."""


@dataclass(frozen=True, slots=True)
class WordsTask:
    """A generated task.

    Attributes:
        group: Tasks of a group ask for the same thing.
        summary: What is asked.
        template: As in `prompts`.
        words: Label word of each class.
        draw: Draws the sentences of an example of a class.
    """

    group: str
    summary: str
    template: str
    words: tuple[str, ...]
    draw: Callable[[Dice, int], Sentences]


def _praise(topic: str) -> Callable[[Dice, int], Sentences]:
    def draw(dice: Dice, label: int) -> Sentences:
        said = opinion(dice, topic)
        return (str(said if said.praises == bool(label) else replace(said, good=not said.good)),)

    return draw


def _tense_of_events(dice: Dice, label: int) -> Sentences:
    return (str(event(dice, tense=TENSES[label])),)


def _tense_of_opinions(dice: Dice, label: int) -> Sentences:
    return (str(opinion(dice, tense=TENSES[label])),)


def _number(dice: Dice, label: int) -> Sentences:
    while True:
        said: Event | Opinion = event(dice) if dice.below(2) else opinion(dice)
        if said.plural == bool(label):
            return (str(said),)


def _agreement(dice: Dice, label: int) -> Sentences:
    said: Event | Opinion = event(dice, tense="present") if dice.below(2) else opinion(dice, tense="past")
    return (str(replace(said, agrees=bool(label))),)


def _topic(dice: Dice, label: int) -> Sentences:
    name = ("food", "film", "travel", "shop")[label]
    return (str(event(dice, name) if dice.below(2) else opinion(dice, name)),)


def _entailment(dice: Dice, label: int) -> Sentences:
    said = opinion(dice)
    return str(said), str((denied, restated, beside)[label](dice, said))


def _paraphrase(dice: Dice, label: int) -> Sentences:
    said = opinion(dice)
    return str(said), str((denied, restated)[label](dice, said))


def _answers(dice: Dice, label: int) -> Sentences:
    asked = event(dice)
    other = event(dice, asked.topic, asked.tense)
    said = replace(asked, subject=other.subject, plural=other.plural)
    if not label:
        while (said.verb, said.thing) == (asked.verb, asked.thing):
            other = event(dice, asked.topic)
            said = replace(said, **({"verb": other.verb} if dice.below(2) else {"thing": other.thing}))
    return asked.question, str(said)


IT_WAS = "{s1} It was {mask}."
_OPINION, _WORDS = "opinion", ("terrible", "great")
TASKS = {
    **{
        name: WordsTask(_OPINION, f"Whether a sentence about {name} praises", IT_WAS, _WORDS, _praise(name))
        for name in ("food", "film", "travel", "shop")
    },
    "events": WordsTask(
        "time", "When somebody does something", "{mask}: {s1}", ("Before", "Now", "Later"), _tense_of_events
    ),
    "states": WordsTask(
        "time", "When a thing is as it is said to be", "{mask}: {s1}", ("Before", "Now", "Later"), _tense_of_opinions
    ),
    "number": WordsTask(
        "number", "Whether the subject is one or several", "{s1} This is {mask}.", ("one", "many"), _number
    ),
    "agreement": WordsTask(
        "grammar", "Whether the verb agrees with its subject", "{s1} This is {mask}.", ("wrong", "correct"), _agreement
    ),
    "topic": WordsTask("topic", "What a sentence is about", "{mask}: {s1}", ("Food", "Film", "Travel", "Shop"), _topic),
    "entailment": WordsTask(
        "pairs", "Whether one opinion follows from another", "{s1-}? {mask}, {s2}", ("No", "Yes", "Maybe"), _entailment
    ),
    "answers": WordsTask(
        "pairs", "Whether a sentence answers a question", "{s1-}? {mask}, {s2}", ("No", "Yes"), _answers
    ),
    "paraphrase": WordsTask(
        "pairs", "Whether two opinions say the same", "{s1} {mask}, {s2}", ("No", "Yes"), _paraphrase
    ),
}
"""Name -> task."""
HELD_OUT = ("shop", "states", "paraphrase")
"""Tasks that are targets of studies: no training sees them but their own."""
