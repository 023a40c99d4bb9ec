"""Composite linguistic translation, T1 and T2: English to chain-structured forms (sections 4.3.2 and B.2).

Two pairs of simple tasks. Both are separable: each simple task acts on a part of the sentence that is its own.

- T1: *phrase recombination* puts a place after a subject (``The baby on a tray screamed .``), where demonstrations have
  places after objects only; *longer chain* joins more clauses than any demonstration. The composite does both.
- T2: *passive to active* asks for a verb in the active that demonstrations have in the passive only; *object to
  subject* asks for a noun as subject that they have as object only. The composite does both.

Every demonstration set shows all words of its question that have a meaning (primitive coverage).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from ...harness.specs import did_you_mean
from ..dice import Dice
from .chain_form import read, write
from .demonstrations import Needs, Style, demonstrate, needs_of
from .grammar import (
    ACTIVE,
    CLOSING,
    NAMES,
    PASSIVE,
    PEOPLE,
    TEMPLATES,
    THAT,
    THINGS,
    Frame,
    any_place,
    kind_of,
    placed,
    translation,
    verbs,
    with_article,
)
from .prompting import prompt_of
from .scoring import ORDERS
from .translating import Row, Translating, check_counts, translating_card

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .grammar import Sentence, Verb

SETTINGS = ("first", "second", "composite", "composite-in-context")
"""A simple task; the composite after demonstrations of the simple tasks, or after demonstrations of itself."""
_SHORTEST = 4
"""Clauses of the shortest chain that is asked: one more than a demonstration has, `XCOMP` aside."""
_SOURCE = {"licence": "Apache-2.0", "source": "adaptbench.tasks.compositional.grammar", "revision": "1"}
T1 = translating_card(
    "Translation T1 (separable): a phrase as subject, and a longer chain of clauses", mistakes=True, **_SOURCE
)
T2 = translating_card(
    "Translation T2 (separable): a verb from passive to active, and a noun from object to subject",
    mistakes=True,
    **_SOURCE,
)


@dataclass(frozen=True, slots=True)
class _Protocol:
    """How questions are asked: see `linguistic_t1`."""

    setting: str
    k: int
    queries: int
    with_simple: bool
    seed: int

    def __post_init__(self) -> None:
        check_counts("linguistic tasks", k=self.k, queries=self.queries)
        check_counts("linguistic tasks", least=0, seed=self.seed)

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings that are asked for."""
        known = (*SETTINGS, "all")
        if self.setting not in known:
            raise UserError(
                f"no setting {self.setting!r}{did_you_mean(self.setting, known)}",
                where="linguistic tasks",
                todo=f"choose from {', '.join(known)}",
            )
        return SETTINGS if self.setting == "all" else (self.setting,)


class _Item(NamedTuple):
    """One draw: the same words asked in all settings.

    Attributes:
        questions: ``first``, ``second``, ``composite`` -> what is asked.
        needs: Setting -> what its demonstrations must show.
        composed: Style of demonstrations of the composite itself.
        subsets: As ``questions`` -> its subsets on the axes of the task.
    """

    questions: Mapping[str, Sentence]
    needs: Mapping[str, Needs]
    composed: Style
    subsets: Mapping[str, Mapping[str, str]]


def linguistic_t1(
    setting: str = "composite",
    *,
    k: int = 10,
    queries: int = 800,
    longest: int = 13,
    with_simple: bool = False,
    seed: int = 0,
) -> Translating:
    """Return phrase recombination with longer chain.

    Args:
        setting: ``first`` (phrase recombination), ``second`` (longer chain), ``composite``, ``composite-in-context``,
            or ``all`` four.
        k: Demonstrations of each question.
        queries: Questions in a setting, 800 in the dissertation.
        longest: Clauses of the longest chain that is asked. The shortest has four, the longest that is shown three.
        with_simple: Whether ``composite-in-context`` has the demonstrations of ``composite`` besides its own.
        seed: Of all draws.

    Raises:
        UserError: There is no such setting; or, when a prompt is made, k demonstrations cannot show its words.
    """
    check_counts("linguistic-t1", least=_SHORTEST, longest=longest)
    protocol = _Protocol(setting, k, queries, with_simple, seed)
    return Translating(_rows(1, lambda dice: _phrase_and_chain(dice, longest), protocol), T1, subject="first")


def linguistic_t2(
    setting: str = "composite", *, k: int = 10, queries: int = 800, with_simple: bool = False, seed: int = 0
) -> Translating:
    """Return passive to active with object to subject.

    Args:
        setting: ``first`` (passive to active), ``second`` (object to subject), ``composite``, ``composite-in-context``,
            or ``all`` four.
        k: As `linguistic_t1`.
        queries: As `linguistic_t1`.
        with_simple: As `linguistic_t1`.
        seed: As `linguistic_t1`.

    Raises:
        UserError: As `linguistic_t1`.
    """
    protocol = _Protocol(setting, k, queries, with_simple, seed)
    return Translating(_rows(2, lambda dice: _voice_and_place(dice, k), protocol), T2, subject="second")


def _rows(pair: int, draw: Callable[[Dice], _Item], protocol: _Protocol) -> list[Row]:
    seed, rows = protocol.seed, []
    for setting in protocol.settings:
        what = "composite" if setting == "composite-in-context" else setting
        for index in range(protocol.queries):
            item = draw(Dice(seed, pair, index, 0))
            sentence, form = translation(item.questions[what])
            stream = (pair, index, 1 + SETTINGS.index(setting))
            rows.append(
                Row(
                    f"{setting}/{seed}/{index:04d}",
                    sentence,
                    form,
                    functools.partial(_prompt, item, setting, protocol, stream),
                    subsets={"setting": setting, **item.subsets[what]},
                    group=f"{seed}/{index:04d}",
                    readings=_readings(pair, setting, sentence, form),
                )
            )
    return rows


def _prompt(item: _Item, setting: str, protocol: _Protocol, stream: Sequence[int]) -> str:
    """A question of a setting below its demonstrations, which are drawn for it alone."""
    gold, dice = setting == "composite-in-context", Dice(protocol.seed, *stream)
    question = item.questions["composite" if gold else setting]
    shown = demonstrate(question, item.needs[setting], item.composed if gold else Style(), protocol.k, dice)
    if gold and protocol.with_simple:
        simple = demonstrate(question, item.needs["composite"], Style(), protocol.k, dice)
        shown = dice.shuffled(shown + simple)
    return prompt_of(shown, translation(question)[0])


def _readings(pair: int, setting: str, sentence: str, form: str) -> dict[str, list[str]]:
    """What is said by one who does a half of the work, for baselines.

    T1: a chain that is no longer than those shown; a subject without its places. T2: no subject; no object.
    """
    first, *others = read(form)
    if pair == 1:
        halves = [(first, *others[: _SHORTEST - 2]), (replace(first, agent=first.agent[:1]), *others)]
    else:
        halves = [(replace(first, agent=()),), (replace(first, theme=()),)]
    texts = [form if setting == what else write(half) for what, half in zip(SETTINGS, halves, strict=False)]
    return {"first only": texts[:1], "second only": texts[1:], "copied": [sentence], ORDERS[0]: [form]}


def _phrase_and_chain(dice: Dice, longest: int) -> _Item:
    """T1. The subject with its places is put into the first clause of the chain, and into a sentence of one clause."""
    cast = _Cast(dice)
    subject = with_article(cast.person(), dice)
    for _ in range(1 + dice.below(2)):
        subject = placed(subject, any_place(dice), dice)
    acts = [(verb, how) for verb in verbs(*CLOSING) for how in TEMPLATES[kind_of(verb)] if how.startswith("{agent}")]
    short = cast.frame(*dice.choose(acts), agent=subject)
    clauses = _SHORTEST + dice.below(longest - _SHORTEST + 1)
    last = dice.choose(verbs(*CLOSING))
    chain = [cast.frame(dice.choose(verbs("embedding")), THAT) for _ in range(clauses - 1)]
    chain.append(cast.frame(last, dice.choose(TEMPLATES[kind_of(last)])))
    first = Frame(chain[0].verb, THAT, {"agent": subject})
    questions = {"first": [short], "second": chain, "composite": [first, *chain[1:]]}
    needs = {what: needs_of(question, dice) for what, question in questions.items()}
    needs["composite-in-context"] = needs["composite"]
    subsets = {what: {"clauses": str(len(question))} for what, question in questions.items()}
    return _Item(questions, needs, Style(_SHORTEST - 1, longest - 1, phrased_subjects=True), subsets)


def _voice_and_place(dice: Dice, k: int) -> _Item:
    """T2. A verb, a noun, what is done to something; and another verb and noun for the simple tasks."""
    cast = _Cast(dice)
    verb, other_verb, *_ = dice.shuffled(verbs("omissible", "transitive"))
    noun, other = cast.person(), cast.living()
    # No name: it takes no place, so that a composite demonstration of it would be the question itself.
    theme, has_place = with_article(dice.choose((cast.person, cast.thing))(), dice), dice.below(2) == 0
    if has_place:
        theme = placed(theme, any_place(dice), dice)

    def ask(verb: Verb, noun: str) -> Sentence:
        return [Frame(verb, ACTIVE, {"agent": with_article(noun, dice), "theme": theme})]

    questions = {"first": ask(verb, other), "second": ask(other_verb, noun), "composite": ask(verb, noun)}
    hidden = frozenset({verb.lemma, noun})
    words = needs_of([Frame(verb, ACTIVE, {"theme": theme})], dice)._replace(hidden=hidden)
    objects = (noun, *words.objects)
    needs = {
        "first": words._replace(closing=((verb, PASSIVE),), subjects=(other,)),
        "second": words._replace(closing=((other_verb, ACTIVE),), objects=objects),
        "composite": words._replace(closing=((verb, PASSIVE),), objects=objects),
        "composite-in-context": words._replace(closing=((verb, ACTIVE),) * k, subjects=(noun,) * k),
    }
    theme_is = {"theme": "with a place" if has_place else "plain"}
    return _Item(questions, needs, Style(0, 0), dict.fromkeys(questions, theme_is))


class _Cast:
    """Draws nouns, none of them twice."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._living, self._things = dice.shuffled((*NAMES, *PEOPLE)), dice.shuffled(THINGS)

    def living(self) -> str:
        """Return a living thing, maybe by name."""
        return self._living.pop()

    def person(self) -> str:
        """Return a living thing that has no name."""
        noun = next(noun for noun in self._living if noun in PEOPLE)
        self._living.remove(noun)
        return noun

    def thing(self) -> str:
        """Return a lifeless thing."""
        return self._things.pop()

    def frame(self, verb: Verb, template: str, **slots: str) -> Frame:
        """Return a frame with nouns in all roles but those that are given."""
        frame = Frame(verb, template, slots)
        for role in frame.roles:
            if role not in slots:
                noun = self.thing() if role == "theme" and self._dice.below(2) else self.living()
                frame.slots[role] = with_article(noun, self._dice)
        return frame
