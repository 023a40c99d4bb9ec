"""Classification by a prompt with one mask: the label word with the highest logit is the answer (dissertation A.6)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Input, Json, MaskedPrompt, Sample, Scores, Task
from ...harness.hashing import canonical_json, sha256_hex
from .templates import masked_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Measure: TypeAlias = Literal["accuracy", "matthews", "f1"]
"""What results are reported by. All tasks are ranked by accuracy, which is a mean over samples."""


class Example(NamedTuple):
    """A sample before it is put into a prompt.

    Attributes:
        id: Unique within the task.
        sentences: One, or two.
        label: Its class: a position among the label words.
    """

    id: str
    sentences: tuple[str, ...]
    label: int


@dataclass(frozen=True, slots=True)
class Verbalised:
    """How examples are asked.

    Attributes:
        template: See `templates`.
        words: Label word of each class.
        first_limit: Tokens of the first sentence that are read.
        max_tokens: Of a prompt.
    """

    template: str
    words: tuple[str, ...]
    first_limit: int | None = None
    max_tokens: int = 128

    def prompt(self, example: Example) -> MaskedPrompt:
        """Put an example into its prompt."""
        limits = {"first_limit": self.first_limit, "max_tokens": self.max_tokens}
        return masked_prompt(self.template, example.sentences, self.words, **limits)  # type: ignore[arg-type]


class PromptTask(Task):
    """Examples, each in a prompt.

    Args:
        examples: Returns them; called when they are first needed.
        asked: How they are asked.
        card: With the first metric ``accuracy``.
    """

    def __init__(self, examples: Callable[[], Sequence[Example]], asked: Verbalised, card: TaskCard) -> None:
        self._read, self._asked, self.card = examples, asked, card

    @functools.cached_property
    def examples(self) -> Sequence[Example]:
        """The examples, in their order."""
        return self._read()

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One prompt per example."""
        return [self._input(example) for example in self.examples]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample per example; its target is the position of its label word."""
        return [Sample(example.id, [place], example.label) for place, example in enumerate(self.examples)]

    def parse(self, sample: Sample, output: Json) -> Json | None:  # noqa: ARG002 - all have the same words
        """Return the position of the word with the highest logit, the first of equal ones; or of a word."""
        if isinstance(output, str):
            said = [word.lower() for word in self._asked.words]
            return said.index(output.strip().lower()) if output.strip().lower() in said else None
        whole = isinstance(output, list) and len(output) == len(self._asked.words)
        if not whole or any(type(one) not in (int, float) or not math.isfinite(one) for one in output):
            return None
        return output.index(max(output))

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return 1 if the class is right, else 0; a sample without an answer is not scored."""
        return None if parsed is None else {"accuracy": float(parsed == sample.target)}

    def aggregate(self, scores: Scores) -> Mapping[str, float]:
        """Return Matthews' correlation, or F1 of the last class, if the card names it; NaN where it has no value."""
        names = {metric.name for metric in self.card.metrics if metric.kind == "derived"}
        if not names:
            return {}
        import numpy as np

        truth = {sample.id: sample.target for sample in self.samples}
        positive = len(self._asked.words) - 1
        right = np.array([truth[name] == positive for name in scores.ids])
        said = np.array([one == positive for one in scores.parsed])
        table = {
            (is_right, is_said): float(scores.weights[(right == is_right) & (said == is_said)].sum())
            for is_right in (True, False)
            for is_said in (True, False)
        }
        return {name: _MEASURES[name](table) for name in names}

    def _input(self, example: Example) -> Input:
        prompt = functools.partial(self._asked.prompt, example)
        return Input(lambda: _digest(prompt()), prompt)


def prompt_card(summary: str, measure: Measure = "accuracy", classes: int = 2, **fields: str) -> TaskCard:
    """Return the card of a task.

    Args:
        summary: What is asked.
        measure: What results are reported by, besides accuracy.
        classes: How many there are.
        fields: Of the card.
    """
    derived = () if measure == "accuracy" else (Metric(name=measure, kind="derived"),)
    return TaskCard(
        summary=summary,
        capability="masked",
        metrics=(Metric(name="accuracy"), *derived),
        rule="highest-logit",
        sample_noun="prompt",
        chance=1 / classes,
        citation="dissertation A.6",
        **fields,
    )


def _digest(prompt: MaskedPrompt) -> str:
    return sha256_hex(canonical_json([prompt.before, prompt.after, prompt.words, prompt.max_tokens]))


def _matthews(table: Mapping[tuple[bool, bool], float]) -> float:
    hit, miss, alarm, rest = (table[key] for key in ((True, True), (True, False), (False, True), (False, False)))
    under = (hit + alarm) * (hit + miss) * (rest + alarm) * (rest + miss)
    return (hit * rest - alarm * miss) / math.sqrt(under) if under else 0.0


def _f1(table: Mapping[tuple[bool, bool], float]) -> float:
    hit, miss, alarm = table[True, True], table[True, False], table[False, True]
    return 2 * hit / (2 * hit + miss + alarm) if hit + miss + alarm else math.nan


_MEASURES = {"matthews": _matthews, "f1": _f1}
