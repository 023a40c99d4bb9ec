"""Sentences to translate into chain-structured forms, as a task: the prompt, the answer's way to its scores."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Input, Json, Prompt, Sample, Task
from ...harness.errors import BadSample, UserError
from ...harness.hashing import canonical_json, sha256_hex
from ...harness.lazy import Lazy
from ...harness.predictions import counted, what_was_read
from .chain_form import read
from .scoring import MISTAKES, OTHER, exact_match, first_line, word_match
from .word_errors import word_error_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .chain_form import Chain

_ROOM = 4
"""Tokens that an answer may have for each word of the longest truth: COCKROACH is several, a bracket is one."""
_METRICS = (
    Metric(name="word error rate", better="lower"),
    Metric(name="exact match"),
    Metric(name="word match"),
    Metric(name="well formed"),
)


@dataclass(frozen=True)
class Row:
    """A sentence to translate.

    Attributes:
        id: Unique within the task.
        sentence: The sentence itself.
        form: Its chain-structured form, or the word in upper case that a single word is translated into.
        prompt: All that a model is told. May be given as a function that returns it.
        subsets: As `Sample` has them.
        group: As `Sample` has it.
        readings: What was done -> the texts that this leads to, as in the logical tasks: for baselines.
        fault: Why it cannot be asked; empty if it can.
    """

    id: str
    sentence: str
    form: str
    prompt: Lazy[str] = Lazy()  # noqa: RUF009 - a descriptor
    subsets: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    readings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fault: str = ""


def check_counts(where: str, least: int = 1, **counts: int) -> None:
    """Raise a `UserError` unless all counts are whole numbers of at least ``least``."""
    for name, value in counts.items():
        if type(value) is not int or value < least:
            raise UserError(f"{name}={value!r} is not a whole number of at least {least}", where=where)


def translating_card(summary: str, *, mistakes: bool = False, **fields: Any) -> TaskCard:
    """Return the card of a translation task.

    Args:
        summary: One sentence.
        mistakes: Whether it says which of two operations a wrong answer shows.
        fields: Further fields of the card.
    """
    told = tuple(Metric(name=name, better="lower") for name in (*MISTAKES, OTHER)) if mistakes else ()
    return TaskCard(
        summary=summary,
        capability="generate",
        offers=frozenset({"readings"} if mistakes else ()),
        metrics=(*_METRICS, *told),
        rule="first-line",
        rule_version=2,
        sample_noun="question",
        citation="dissertation sections 4.3.2 and B.2",
        **fields,
    )


class Translating(Task):
    """Sentences to translate, each with its demonstrations.

    Args:
        rows: The sentences.
        card: See `translating_card`.
        subject: Which operation, ``first`` or ``second``, makes the subject of the first clause; the other makes the
            rest. Empty where there are no two.
        source: File that they are from; empty if they were made here.
    """

    def __init__(self, rows: Sequence[Row], card: TaskCard, *, subject: str = "", source: str = "") -> None:
        if not rows:
            raise UserError("there is no sentence to translate", where="compositional", todo="ask for at least one")
        self.rows, self.card, self._subject = rows, card, subject
        faults = [f"{row.id}: {row.fault}" for row in rows if row.fault]
        left_out = {"that cannot be scored": faults}
        self.read = what_was_read(counted(len(rows), "sentence"), source, left_out) if source else ""
        self.max_new_tokens = _ROOM * max(len(row.form.split()) for row in rows)

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One prompt a row."""
        return [self._input(row) for row in self.rows]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample per row."""
        return [self._sample(place, row) for place, row in enumerate(self.rows)]

    def parse(self, sample: Sample, output: Json) -> Json | None:  # noqa: ARG002 - every answer is read alike
        """Return the words of an answer's first line, one blank apart; ``None`` if it is not text."""
        return " ".join(first_line(output).split()) if isinstance(output, str) else None

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Compare the words; of the pairs also say what a wrong answer shows to have been done."""
        row = self.rows[sample.inputs[0]]
        if not isinstance(parsed, str) or row.fault:
            return None
        chain = _chain(parsed)
        scores = {
            "word error rate": word_error_rate(parsed, row.form),
            "exact match": exact_match(parsed, row.form),
            "word match": word_match(parsed, row.form),
            "well formed": float(chain is not None),
        }
        if self._subject:
            mistake = "" if scores["exact match"] else self._mistake(row, parsed, chain)
            scores |= {name: float(name == mistake) for name in (*MISTAKES, OTHER)}
        return scores

    def _mistake(self, row: Row, said: str, chain: Chain | None) -> str:
        """What a wrong answer shows: one half of the truth, the sentence itself, or something else."""
        if said.casefold() == row.sentence.casefold():
            return "copied"
        if chain is None:
            return OTHER
        truth = read(row.form)
        right = [chain[0].agent == truth[0].agent, _rest(chain) == _rest(truth)]
        if self._subject == "second":
            right.reverse()
        return f"{('first', 'second')[right.index(True)]} only" if any(right) else OTHER

    def _sample(self, place: int, row: Row) -> Sample:
        target: dict[str, Json] = {"answers": [row.form]}
        if row.readings:
            target["readings"] = {name: list(texts) for name, texts in row.readings.items()}
        return Sample(row.id, [place], target, group=row.group, subsets=row.subsets)

    def _input(self, row: Row) -> Input:
        def load() -> Prompt:
            if row.fault:
                raise BadSample(row.fault, where=row.id)
            return Prompt(row.prompt, max_new_tokens=self.max_new_tokens, stop=("\n",))

        return Input(lambda: sha256_hex(canonical_json([row.prompt, row.fault, self.max_new_tokens])), load)


def _chain(text: str) -> Chain | None:
    try:
        return read(text)
    except UserError:
        return None


def _rest(chain: Chain) -> Chain:
    return (replace(chain[0], agent=()), *chain[1:])
