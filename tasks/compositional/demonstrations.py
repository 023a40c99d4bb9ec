"""Demonstrations that show every word of a question, and not its structure (section B.2, primitive coverage).

The words that must be shown are dealt over the frames of k sentences; what is left open is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from ...harness.errors import UserError
from .chain_form import primitives
from .grammar import (
    ACTIVE,
    CLOSING,
    INFINITIVE,
    NAMES,
    PEOPLE,
    TEMPLATES,
    THAT,
    THINGS,
    TO,
    TRANSITIVE,
    Frame,
    Verb,
    any_place,
    kind_of,
    placed,
    translation,
    verbs,
    with_article,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..dice import Dice
    from .grammar import Sentence, Translation

    Slot: TypeAlias = tuple[Frame, str]

T = TypeVar("T")
_TRIES = 100
"""Draws after which k is taken to be too small. Some draws happen to show the question itself or one sentence twice."""


@dataclass(frozen=True, slots=True)
class Style:
    """What the demonstrations look like, apart from their words.

    Attributes:
        least: The fewest clauses with ``that`` in a sentence.
        most: The most.
        phrased_subjects: Whether the first subject of every sentence has a place after it (``the baby on a tray``).
            If not, no subject has one: places follow objects.
    """

    least: int = 0
    most: int = 2
    phrased_subjects: bool = False


class Needs(NamedTuple):
    """The words to show, each where it may stand.

    Attributes:
        embedding: Verbs before ``that``.
        closing: Verbs that end a sentence, each with its template.
        subjects: Nouns that act in an active sentence.
        objects: Nouns that something is done to, after an active verb.
        people: Living things and names; anywhere.
        places: Prepositions with their nouns.
        hidden: Lemmas and nouns that must not be drawn besides.
    """

    embedding: tuple[Verb, ...] = ()
    closing: tuple[tuple[Verb, str], ...] = ()
    subjects: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    hidden: frozenset[str] = frozenset()


def needs_of(question: Sentence, dice: Dice) -> Needs:
    """Return what shows all words of a question; the verb that ends it is shown in any of its templates."""
    nouns: list[str] = []
    places: list[tuple[str, str]] = []
    for frame in question:
        for text in frame.slots.values():
            noun, *rest = (word for word in text.split() if word not in {"a", "the"})
            nouns.append(noun)
            places += zip(rest[::2], rest[1::2], strict=True)
    closing = question[-1].verb
    return Needs(
        embedding=_once(frame.verb for frame in question[:-1]),
        closing=((closing, dice.choose(TEMPLATES[kind_of(closing)])),),
        objects=_once(noun for noun in nouns if noun in THINGS),
        people=_once(noun for noun in nouns if noun not in THINGS),
        places=_once(places),
    )


def demonstrate(question: Sentence, needs: Needs, style: Style, k: int, dice: Dice) -> list[Translation]:
    """Return k different sentences that together show every primitive of a question, in a random order.

    Args:
        question: What is asked; it is never among them.
        needs: All its words.
        style: Of the sentences.
        k: How many.
        dice: For all that is drawn.

    Raises:
        UserError: k sentences of that style have too little room for the words.
    """
    asked = translation(question).form
    for _ in range(_TRIES):
        sentences = _Deal(needs, style, k, dice).sentences()
        shown = [translation(sentence) for sentence in sentences] if sentences else []
        forms = {one.form for one in shown}
        if len(forms - {asked}) == k and not primitives(asked) - frozenset().union(*map(primitives, forms)):
            return dice.shuffled(shown)
    raise UserError(
        f"{k} demonstrations cannot show the {len(primitives(asked))} words of {asked[:60]!r}",
        where="compositional",
        todo="ask for more demonstrations, or for shorter chains",
    )


class _Deal:
    """One way to deal the words over k sentences."""

    def __init__(self, needs: Needs, style: Style, k: int, dice: Dice) -> None:
        self._needs, self._style, self._k, self._dice = needs, style, k, dice
        self._living = [noun for noun in (*NAMES, *PEOPLE) if noun not in needs.hidden]
        self._anything = [*self._living, *THINGS]
        self._closing, self._transitive, self._droppable = (
            [verb for verb in verbs(*kinds) if verb.lemma not in needs.hidden]
            for kinds in (CLOSING, TRANSITIVE, ("omissible", "unergative"))
        )

    def sentences(self) -> list[Sentence] | None:
        """Return the sentences; ``None`` if there is no room for all that they must show."""
        closings = self._closings()
        chains = self._chains()
        if closings is None or chains is None:
            return None
        sentences: list[Sentence] = [
            [*(Frame(verb, THAT) for verb in chain), *closing]
            for chain, closing in zip(chains, self._dice.shuffled(closings), strict=True)
        ]
        return sentences if self._fill(sentences) else None

    def _closings(self) -> list[Sentence] | None:
        """The ends of the sentences: those that must be shown, enough of them with an object, and any others."""
        needs = self._needs
        ends: list[Sentence] = [[Frame(verb, template)] for verb, template in needs.closing]
        objects = max(len(needs.objects), 0 if self._style.phrased_subjects else len(needs.places))
        lacking = objects - sum(_is_object(frame, "theme") for (frame,) in ends)
        ends += [[Frame(self._dice.choose(self._transitive), ACTIVE)] for _ in range(lacking)]
        if len(ends) > self._k:
            return None
        return ends + [self._any_closing() for _ in range(self._k - len(ends))]

    def _any_closing(self) -> Sentence:
        dice = self._dice
        if dice.below(8) == 0:
            return [Frame(dice.choose(verbs("control")), TO), Frame(dice.choose(self._droppable), INFINITIVE)]
        verb = dice.choose(self._closing)
        return [Frame(verb, dice.choose(TEMPLATES[kind_of(verb)]))]

    def _chains(self) -> list[list[Verb]] | None:
        """The verbs before ``that`` of each sentence: those that must be shown, and any others up to a length."""
        style, dice = self._style, self._dice
        if len(self._needs.embedding) > self._k * style.most:
            return None
        chains: list[list[Verb]] = [[] for _ in range(self._k)]
        for verb in self._needs.embedding:
            fewest = min(map(len, chains))
            dice.choose([chain for chain in chains if len(chain) == fewest]).append(verb)
        for chain in chains:
            length = style.least + dice.below(style.most - style.least + 1)
            chain += [dice.choose(verbs("embedding")) for _ in range(length - len(chain))]
        return [dice.shuffled(chain) for chain in chains]

    def _fill(self, sentences: list[Sentence]) -> bool:
        """Put noun phrases into all slots; false if those that must be shown find no room."""
        needs, dice = self._needs, self._dice
        slots = [(frame, role) for one in sentences for frame in one for role in frame.roles]
        objects = [slot for slot in slots if _is_object(*slot)]
        actors = [(frame, role) for frame, role in slots if role == "agent" == frame.roles[0]]
        phrased = objects
        if self._style.phrased_subjects:
            phrased = [(one[0], one[0].roles[0]) for one in sentences]
            self._give([dice.choose(PEOPLE) for _ in phrased], phrased)
        room = (
            self._give(needs.objects, objects)
            and self._give(needs.subjects, actors)
            and self._give(needs.people, slots)
        )
        for frame, role in slots:
            if role not in frame.slots:
                noun = dice.choose(self._anything if role == "theme" else self._living)
                frame.slots[role] = with_article(noun, dice)
        room = self._place(phrased) and room
        for *_, before, last in (one for one in sentences if one[-1].template == INFINITIVE):
            last.slots["agent"] = before.slots["agent"]
        return room

    def _give(self, nouns: Sequence[str], slots: list[Slot]) -> bool:
        """Put nouns into slots that are free; false if there are too few."""
        free = self._dice.shuffled([(frame, role) for frame, role in slots if role not in frame.slots])
        for (frame, role), noun in zip(free, nouns, strict=False):
            frame.slots[role] = with_article(noun, self._dice)
        return len(free) >= len(nouns)

    def _place(self, slots: list[Slot]) -> bool:
        """Put places after nouns - never after a name -; false if there are too few of those."""
        dice, needed = self._dice, list(self._needs.places)
        for frame, role in dice.shuffled([(f, r) for f, r in slots if not f.slots[r][0].isupper()]):
            chance = 1 if self._style.phrased_subjects or needed else 4
            while dice.below(chance) == 0:
                place = needed.pop() if needed and chance == 1 else any_place(dice)
                frame.slots[role] = placed(frame.slots[role], place, dice)
                chance = 4
        return not needed


def _is_object(frame: Frame, role: str) -> bool:
    """Whether something is done to what stands there, and it stands after the verb."""
    return role == "theme" != frame.roles[0]


def _once(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
