"""Chain-structured forms, and COGS's logical forms turned into them (section B.2 and table B.3).

::

    form   = clause { ("CCOMP" | "XCOMP") clause }
    clause = verb "(" phrase "," phrase "," phrase ")"          agent, theme, recipient
    phrase = "NONE" | place
    place  = noun | ("IN" | "ON" | "BESIDE") "(" noun "," place ")"

Words and signs stand one blank apart. ``BESIDE ( DOG , IN ( BOX , ROOM ) )`` is a dog beside a box in a room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, TypeVar

from ...harness.errors import UserError

Phrase: TypeAlias = tuple[str, ...]
"""A phrase as a row of words: noun, preposition, noun, preposition ... noun; empty for ``NONE``."""
T = TypeVar("T")

ROLES = ("agent", "theme", "recipient")
LINKS = ("CCOMP", "XCOMP")
PREPOSITIONS = ("IN", "ON", "BESIDE")
NONE = "NONE"
_SIGNS = frozenset("(),")
_RESERVED = frozenset((NONE, *LINKS))

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_BARE = re.compile(r"(\w+)|(?:LAMBDA \w+ \. )+(\w+) .*")
"""COGS's form of a single word, such as ``Paula`` or ``LAMBDA a . LAMBDA e . crawl . agent ( e , a )``."""
_TERM = re.compile(r"(?:\* )?(?P<path>\w+(?: \. \w+)*) \( (?P<arguments>\w+(?: _ \d+)?(?: , \w+(?: _ \d+)?)?) \)")


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of a chain.

    Attributes:
        verb: Lemma in upper case.
        agent: Who does it.
        theme: What it is done to.
        recipient: Who is given something.
        link: What joins the clause to the one before it; empty for the first.
    """

    verb: str
    agent: Phrase = ()
    theme: Phrase = ()
    recipient: Phrase = ()
    link: str = ""

    @property
    def slots(self) -> tuple[Phrase, Phrase, Phrase]:
        """Agent, theme, recipient."""
        return self.agent, self.theme, self.recipient


Chain: TypeAlias = tuple[Clause, ...]


def write(chain: Chain) -> str:
    """Return the text of a chain."""
    clauses = []
    for clause in chain:
        slots = " , ".join(_written(phrase) for phrase in clause.slots)
        clauses.append(f"{clause.link} {clause.verb} ( {slots} )".lstrip())
    return " ".join(clauses)


def read(text: str) -> Chain:
    """Read a chain from its text.

    Raises:
        UserError: The text does not keep the grammar; the message names the word.
    """
    reader = _Reader(text.split(), text)
    clauses = [reader.clause("")]
    while reader.next in LINKS:
        clauses.append(reader.clause(reader.take(*LINKS)))
    reader.take("")
    return tuple(clauses)


def primitives(form: str) -> frozenset[str]:
    """Return the words of a form that have a meaning: verbs, nouns, names and prepositions (section B.2)."""
    return frozenset(form.split()) - _RESERVED - _SIGNS


def convert(logical_form: str) -> str:
    """Return the chain-structured form of a sentence or a single word of COGS.

    Raises:
        UserError: It is not one of COGS's logical forms; the message says why.
    """
    bare = _BARE.fullmatch(logical_form)
    return bare[bare.lastindex or 0].upper() if bare else write(chain_of(logical_form))


def chain_of(logical_form: str) -> Chain:
    """Return the chain of a sentence's logical form, such as ``* cake ( x _ 1 ) ; grow . theme ( x _ 2 , x _ 1 )``.

    Raises:
        UserError: As `convert`.
    """
    terms = _Terms(logical_form)
    for term in re.split(r" ; | AND ", logical_form):
        terms.add(term)
    return terms.chain()


def _written(phrase: Phrase) -> str:
    if not phrase:
        return NONE
    nouns, prepositions = phrase[::2], phrase[1::2]
    opened = "".join(f"{how} ( {noun} , " for noun, how in zip(nouns, prepositions, strict=False))
    return opened + nouns[-1] + " )" * len(prepositions)


class _Reader:
    """Reads the words of a chain from left to right."""

    def __init__(self, words: list[str], text: str) -> None:
        self._words, self._text, self._place = words, text, 0

    @property
    def next(self) -> str:
        """The word that comes; empty at the end."""
        return self._words[self._place] if self._place < len(self._words) else ""

    def take(self, *expected: str) -> str:
        """Return the next word if it is expected; the empty word means the end."""
        word = self.next
        if word not in expected:
            self._refuse(" or ".join(repr(item) if item else "the end" for item in expected))
        self._place += 1
        return word

    def word(self) -> str:
        """Return the next word if it is a verb, a noun or a name."""
        word = self.next
        if word in {*_RESERVED, *PREPOSITIONS} or not _WORD.fullmatch(word) or word != word.upper():
            self._refuse("a word in upper case")
        self._place += 1
        return word

    def clause(self, link: str) -> Clause:
        """Return a clause."""
        verb = self.word()
        self.take("(")
        agent = self.phrase()
        self.take(",")
        theme = self.phrase()
        self.take(",")
        recipient = self.phrase()
        self.take(")")
        return Clause(verb, agent, theme, recipient, link)

    def phrase(self) -> Phrase:
        """Return a phrase; it may be nested as deeply as the text is long."""
        if self.next == NONE:
            self.take(NONE)
            return ()
        words = []
        while self.next in PREPOSITIONS:
            how = self.take(*PREPOSITIONS)
            self.take("(")
            words += [self.word(), how]
            self.take(",")
        words.append(self.word())
        if self.next == "(":
            self._place -= 1
            self._refuse(" or ".join(map(repr, PREPOSITIONS)))
        for _ in words[1::2]:
            self.take(")")
        return tuple(words)

    def _refuse(self, expected: str) -> NoReturn:
        found = repr(self.next) if self.next else "the end"
        where = f"word {self._place + 1} of {self._text[:80]!r}"
        raise UserError(f"{found} was found instead of {expected}", where=where, todo="write a chain-structured form")


class _Terms:
    """What the terms of a logical form say of its variables."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._nouns: dict[str, str] = {}
        self._modifiers: dict[str, tuple[str, str]] = {}
        self._verbs: dict[str, str] = {}
        self._slots: dict[str, dict[str, str]] = {}
        self._links: dict[str, tuple[str, str]] = {}

    def add(self, term: str) -> None:
        """Take in a term such as ``cake ( x _ 1 )``, ``grow . theme ( x _ 2 , x _ 1 )``."""
        found = _TERM.fullmatch(term)
        match (found["path"].split(" . "), found["arguments"].split(" , ")) if found else None:
            case [noun], [variable]:
                self._put(self._nouns, variable, noun)
            case [_, "nmod", how], [variable, other] if how.upper() in PREPOSITIONS:
                self._put(self._modifiers, variable, (how, other))
            case [verb, role], [event, filler] if role in ROLES:
                self._event(event, verb)
                self._put(self._slots[event], role, filler)
            case [verb, link], [event, other] if link.upper() in LINKS:
                self._event(event, verb)
                self._put(self._links, event, (link.upper(), other))
            case _:
                self._refuse(f"{term!r} is not a term of COGS")

    def chain(self) -> Chain:
        """Return the clauses, from the event that no other one links to."""
        first = self._verbs.keys() - {event for _, event in self._links.values()}
        if len(first) != 1:
            self._refuse(f"{len(first)} events could come first")
        link, event = "", next(iter(first))
        clauses: list[Clause] = []
        while event:
            if event not in self._verbs:
                self._refuse(f"nothing is said of {event!r}")
            slots = {role: self._phrase(filler) for role, filler in self._slots[event].items()}
            clauses.append(Clause(self._verbs.pop(event).upper(), **slots, link=link))
            link, event = self._links.get(event, ("", ""))
        if self._verbs:
            self._refuse(f"{', '.join(self._verbs)} hang on no chain")
        return tuple(clauses)

    def _phrase(self, filler: str) -> Phrase:
        words = [self._noun(filler)]
        seen = {filler}
        while filler in self._modifiers:
            how, filler = self._modifiers[filler]
            if filler in seen:
                self._refuse(f"{filler!r} stands inside itself")
            seen.add(filler)
            words += [how, self._noun(filler)]
        return tuple(word.upper() for word in words)

    def _noun(self, filler: str) -> str:
        if " " in filler and filler not in self._nouns:
            self._refuse(f"nothing is said of {filler!r}")
        return self._nouns.get(filler, filler)  # a name is its own noun

    def _event(self, event: str, verb: str) -> None:
        if self._verbs.setdefault(event, verb) != verb:
            self._refuse(f"{event!r} is {self._verbs[event]!r} and {verb!r}")
        self._slots.setdefault(event, {})

    def _put(self, where: dict[str, T], key: str, value: T) -> None:
        if where.setdefault(key, value) != value:
            self._refuse(f"{key!r} is {where[key]!r} and {value!r}")

    def _refuse(self, what: str) -> NoReturn:
        raise UserError(what, where=f"logical form {self._form[:80]!r}", todo="see COGS for what a form looks like")
