"""Other people's data, where the user has them: COGS (Kim and Linzen, 2020) and CoFe (An et al., 2023).

COGS's files have no demonstrations: they are chosen here, so that they show every word of the question. A line of CoFe
has its own, as the files that the dissertation's authors made of CoFe have (``PR_LC.json``, ``compose_pa_os.json``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...harness.errors import UserError
from ...harness.reading import json_value, read_lines
from ...harness.specs import did_you_mean
from ..dice import Dice
from .chain_form import convert, primitives, read
from .grammar import Translation
from .prompting import prompt_of
from .translating import Row, Translating, check_counts, translating_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COGS = translating_card(
    "COGS: English to chain-structured forms, with demonstrations that show every word",
    licence="MIT",
    source="https://github.com/najoungkim/COGS",
    revision="165a7b66",
)
COFE = translating_card(
    "CoFe: English to chain-structured forms, with the demonstrations of its files",
    licence="MIT",
    source="https://github.com/microsoft/ContextualSP, folder cofe",
    revision="369743e3",
)
LAYOUTS = ("clean", "released")
"""One blank line between the blocks of a prompt, and ``output:`` in each; or the text of the file as it stands."""
_LOOKED_AT = 50
"""Sentences with a missing word among which the one with most missing words is taken."""


class Sentence(NamedTuple):
    """A line of COGS."""

    text: str
    logical_form: str
    category: str


@dataclass(frozen=True, slots=True)
class Case:
    """A line of CoFe.

    Attributes:
        context: Demonstrations and the sentence, as the file has them.
        shown: The demonstrations.
        sentence: What is asked.
        form: Its chain-structured form.
        category: Kind of generalisation.
        line: Of the file, from 1.
        fault: Why it cannot be asked or scored; empty if it can.
    """

    context: str
    shown: tuple[Translation, ...]
    sentence: str
    form: str
    category: str
    line: int
    fault: str = ""


def cogs_task(
    train: str, questions: str, *, category: str = "", k: int = 10, queries: int = 800, seed: int = 0
) -> Translating:
    """Return questions of one of COGS's files, with demonstrations from another one.

    Args:
        train: File that demonstrations are taken from: ``train.tsv``.
        questions: File of the questions: ``gen.tsv``, ``test.tsv``.
        category: Which questions, such as ``passive_to_active``; empty for all.
        k: Demonstrations of each question. A question whose words k sentences cannot show is not scored.
        queries: Maximum number of questions; a sample is drawn where there are more.
        seed: Of all draws.

    Raises:
        UserError: A file is not COGS's, or has no such category.
    """
    check_counts("cogs", k=k, queries=queries)
    check_counts("cogs", least=0, seed=seed)
    asked = read_cogs(questions)
    categories = dict.fromkeys(sentence.category for sentence in asked)
    if category and category not in categories:
        raise UserError(
            f"no category {category!r}{did_you_mean(category, categories)}",
            where=questions,
            todo=f"choose from {', '.join(categories)}",
        )
    asked = [sentence for sentence in asked if category in {"", sentence.category}]
    pool = _Pool([Translation(sentence.text, convert(sentence.logical_form)) for sentence in read_cogs(train)])
    drawn = sorted(Dice(seed, 0).shuffled(range(len(asked)))[:queries])
    rows = []
    for place in drawn:
        question = Translation(asked[place].text, convert(asked[place].logical_form))
        shown = pool.showing(question, k, Dice(seed, 1, place))
        fault = "" if shown else f"no {k} sentences of {train} show all words of {question.sentence!r}"
        subsets, prompt = {"category": asked[place].category}, functools.partial(prompt_of, shown, question.sentence)
        rows.append(Row(f"{place:05d}", *question, prompt, subsets=subsets, fault=fault))
    return Translating(rows, COGS, source=questions)


def cofe_task(path: str, *, layout: str = "clean") -> Translating:
    """Return the questions of a file of CoFe.

    The released composites of the dissertation have lines whose subject was exchanged inside of other words. Their
    forms cannot be read: they are recorded with that reason and not scored.

    Args:
        path: File of JSON lines with ``context``, ``ground_truth`` and ``category``.
        layout: ``clean`` or ``released``: see `LAYOUTS`.

    Raises:
        UserError: The file is not CoFe's, or there is no such layout.
    """
    if layout not in LAYOUTS:
        raise UserError(
            f"no layout {layout!r}{did_you_mean(layout, LAYOUTS)}",
            where="cofe",
            todo=f"choose from {', '.join(LAYOUTS)}",
        )
    rows = []
    for case in read_cofe(path):
        prompt = prompt_of(case.shown, case.sentence) if layout == "clean" else f"{case.context}\noutput:"
        covered = primitives(case.form) <= _shown_words(case.shown)
        subsets = {"category": case.category, "words shown": "all" if covered else "not all"}
        rows.append(Row(f"{case.line:05d}", case.sentence, case.form, prompt, subsets=subsets, fault=case.fault))
    return Translating(rows, COFE, source=path)


def read_cogs(path: str) -> list[Sentence]:
    """Read a file of COGS: sentence, logical form and category, separated by tabs.

    Raises:
        UserError: It cannot be read, or a line has other columns.
    """
    sentences = []
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        if len(cells) != len(Sentence._fields):
            raise UserError(
                f"{len(cells)} columns instead of 3", where=f"{path}, line {number}", todo="name a COGS file"
            )
        sentences.append(Sentence(*cells))
    return sentences


def read_cofe(path: str) -> list[Case]:
    """Read a file of CoFe.

    What the released files got wrong is set right: a ``ground_truth`` that begins with ``output:``, demonstrations
    that lack ``output:`` or have a blank line before it, and sentences that lack ``input:``. A case that cannot be
    read, or whose right answer cannot, has its fault.

    Raises:
        UserError: It cannot be read, a line is not a JSON object, or none of its lines is a case; the message names the
            line.
    """
    cases: list[Case] = []
    unread: list[UserError] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            where = f"{path}, line {number}"
            fields = _fields(line, where)
            try:
                cases.append(_case(fields, number, where))
            except UserError as error:
                unread.append(error)
                category = str(fields.get("category") or "")
                cases.append(Case("", (), "", "", category, number, fault=error.what))
    if unread and len(unread) == len(cases):
        raise unread[0]
    return cases


def _fields(line: str, where: str) -> dict[str, Any]:
    fields = json_value(line, where, "name a file of JSON lines")
    if not isinstance(fields, dict):
        raise UserError("not an object", where=where, todo="name a file of JSON lines")
    return fields


def _case(fields: dict[str, Any], number: int, where: str) -> Case:
    names = ("context", "ground_truth", "category")
    if not all(isinstance(fields.get(name), str) for name in names):
        raise UserError(f"no text for each of {', '.join(names)}", where=where, todo="name a CoFe file")
    context, truth, category = (fields[name] for name in names)
    *shown, (sentence, _) = _blocks(context, where)
    form = _after("output:", truth)
    return Case(context, tuple(shown), sentence, form, category, number, _fault(form))


def _blocks(context: str, where: str) -> Iterator[Translation]:
    """The demonstrations, and at last the sentence that is asked, with an empty form."""
    sentence = ""
    for line in filter(None, map(str.strip, context.splitlines())):
        # A sentence that has lost its `input:` is still told by its full stop.
        is_sentence = line.startswith("input:") or (line.endswith(".") and not line.startswith("output:"))
        if is_sentence == bool(sentence):
            raise UserError(f"unexpected line {line[:60]!r}", where=where, todo="name a CoFe file")
        if sentence:
            yield Translation(sentence, _after("output:", line))
            sentence = ""
        else:
            sentence = _after("input:", line)
    if not sentence:
        raise UserError("no sentence is asked", where=where, todo="name a CoFe file")
    yield Translation(sentence, "")


def _after(prefix: str, text: str) -> str:
    return text.strip().removeprefix(prefix).strip()


def _fault(form: str) -> str:
    try:
        read(form)
    except UserError as error:
        return f"its right answer is not a chain-structured form: {error.what}"
    return ""


def _shown_words(shown: Sequence[Translation]) -> frozenset[str]:
    return frozenset().union(*(primitives(one.form) for one in shown))


class _Pool:
    """Sentences that demonstrations are taken from."""

    def __init__(self, sentences: Sequence[Translation]) -> None:
        self._sentences = sentences
        self._words = [primitives(one.form) for one in sentences]
        self._holders: dict[str, list[int]] = {}
        for place, words in enumerate(self._words):
            for word in words:
                self._holders.setdefault(word, []).append(place)

    def showing(self, question: Translation, k: int, dice: Dice) -> list[Translation]:
        """Return k sentences that together show the words of a question but not itself; none if there are no such.

        The rarest missing word is looked after first.
        """
        missing, chosen = set(primitives(question.form)), dict[int, None]()
        while missing:
            rarest = min(missing, key=lambda word: (len(self._holders.get(word, ())), word))
            places = self._drawn(self._holders.get(rarest, ()), question, dice)
            if not places or len(chosen) == k:
                return []
            best = max(places, key=lambda place: len(missing & self._words[place]))
            chosen[best] = None
            missing -= self._words[best]
        while len(chosen) < k:
            others = [place for place in self._drawn(range(len(self._words)), question, dice) if place not in chosen]
            if not others:
                return []
            chosen[others[0]] = None
        return dice.shuffled([self._sentences[place] for place in chosen])

    def _drawn(self, places: Sequence[int], question: Translation, dice: Dice) -> list[int]:
        """Some of the places whose sentences are not the question."""
        drawn = dice.shuffled(places) if len(places) <= _LOOKED_AT else [dice.choose(places) for _ in range(_LOOKED_AT)]
        return [place for place in drawn if self._sentences[place].form != question.form]
