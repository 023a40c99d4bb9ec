"""A multimodal benchmark as a task: what is asked of an image, and by which rule the answers are scored."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ...harness.contracts import Input, Json, Predictions, Prompt, Sample, Scores, Task
from ...harness.errors import UserError
from ...harness.hashing import canonical_json, sha256_hex
from ...harness.predictions import counted, what_was_read
from ...harness.specs import did_you_mean
from .prompts import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from ...harness.cards import TaskCard
    from .images import LazyImage
    from .question import Question


NOTHING: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True, slots=True)
class Rule:
    """A scoring rule: from the raw answers of a sample to its scores.

    Attributes:
        name: ``official``, ``lmms-eval`` or ``vlmevalkit``.
        parse: ``parse(questions, texts)`` reads the answers out of what the model said to a sample's questions;
            ``None`` where there is none to be read.
        score: ``score(questions, parsed)`` returns the mean metrics of the card; ``parsed`` may be ``None``. ``None``
            says "cannot be scored".
        aggregate: Makes the derived metrics of the card, see `Task.aggregate`.
        version: Goes up when the rule changes.
        remarks: Says of what was parsed, sample by sample, what is worth knowing beside the metrics.
    """

    name: str
    parse: Callable[[Sequence[Question], Sequence[str]], Json | None]
    score: Callable[[Sequence[Question], Json | None], Mapping[str, float] | None]
    aggregate: Callable[[Scores], Mapping[str, float]] | None = None
    version: int = 1
    remarks: Callable[[Sequence[Json]], Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark is, apart from its questions.

    Attributes:
        name: As specs have it.
        card: Its card; ``rule``, ``rule_version`` and ``rules`` are filled in from ``rules``.
        prompt: Name of its template in ``tasks/prompts``, or a function that writes the message of a question.
        rules: The first one scores unless a task is given another.
        max_new_tokens: Of LLaVA-1.5's protocol.
        predictions: ``predictions(path, task)`` reads a file or folder of predictions made elsewhere: sample id -> its
            raw output (one text, or a list of texts where a sample has several questions), and the number of
            predictions that belong to no question.
        submission: ``submission(outputs, task, path)`` writes the official file of a benchmark that a server scores.
    """

    name: str
    card: TaskCard
    prompt: str | Callable[[Question], str]
    rules: tuple[Rule, ...]
    max_new_tokens: int = 128
    predictions: Callable[[Path, VisualQuestions], Predictions] | None = None
    submission: Callable[[Mapping[str, Json], VisualQuestions, Path], None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "card", self.card_under(self.rules[0].name))

    def task(
        self,
        questions: Iterable[Question],
        rule: str = "",
        source: str = "",
        left_out: Mapping[str, Sequence[str]] = NOTHING,
    ) -> VisualQuestions:
        """Return these questions as a task.

        Args:
            questions: In the order of the data. Those with one ``sample`` name are scored together and stand one after
                the other.
            rule: Name of the scoring rule; the first one if it is empty.
            source: File or data set that they are from.
            left_out: Why questions of the source are not among them -> their names.

        Raises:
            UserError: There is no such rule.
        """
        return VisualQuestions(self, list(questions), rule or self.rules[0].name, source, left_out)

    def card_under(self, rule: str) -> TaskCard:
        """Return the card with the rule that scores, and those to choose from."""
        chosen = self.rule(rule)
        rules = {rule.name: rule.version for rule in self.rules}
        return self.card.model_copy(update={"rule": chosen.name, "rule_version": chosen.version, "rules": rules})

    def rule(self, name: str) -> Rule:
        """Return a rule by its name."""
        names = [rule.name for rule in self.rules]
        if name not in names:
            raise UserError(
                f"no rule {name!r}{did_you_mean(name, names)}",
                where=f"task {self.name}",
                todo=f"choose rule= from {', '.join(names)}",
            )
        return self.rules[names.index(name)]


class VisualQuestions(Task):
    """The questions of a benchmark.

    Args:
        benchmark: What it is; see `Benchmark.task` for the rest.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        questions: Sequence[Question],
        rule: str,
        source: str = "",
        left_out: Mapping[str, Sequence[str]] = NOTHING,
    ) -> None:
        self.benchmark, self.questions, self.rule = benchmark, questions, benchmark.rule(rule)
        self.card = benchmark.card_under(rule)
        self.read = what_was_read(counted(len(questions), "question"), source or benchmark.name, left_out)

    def under(self, rule: str) -> VisualQuestions:
        """The same questions under another rule."""
        other = copy.copy(self)
        other.rule, other.card = self.benchmark.rule(rule), self.benchmark.card_under(rule)
        return other

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One a question: its prompt, made when it is asked for. Scoring answers again needs none."""
        return [self._input(question) for question in self.questions]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """The questions, or groups of them; samples on one image are a group of the statistics.

        Raises:
            UserError: Two samples have one name.
        """
        members: dict[str, list[int]] = {}
        for position, question in enumerate(self.questions):
            if not question.sample and question.id in members:
                raise UserError(f"question {question.id!r} appears twice", where=self.benchmark.name)
            members.setdefault(question.sample or question.id, []).append(position)
        return [self._sample(name, positions) for name, positions in members.items()]

    def questions_of(self, sample: Sample) -> list[Question]:
        """Return the questions that a sample is made of."""
        return [self.questions[position] for position in sample.inputs]

    def outputs(self, samples: Sequence[Sample], answers: Any) -> list[Json]:
        """Return the text of each sample; a list of texts where it has several questions."""
        texts = [[answers[position] for position in sample.inputs] for sample in samples]
        return [said if len(said) > 1 else said[0] for said in texts]

    def parse(self, sample: Sample, output: Json) -> Json | None:
        """Read the answers out of what the model said, by the rule; ``None`` if it is not text."""
        if isinstance(output, str):
            output = [output]
        elif not isinstance(output, list) or not all(isinstance(text, str) for text in output):
            return None
        questions = self.questions_of(sample)
        return self.rule.parse(questions, output) if len(output) == len(questions) else None

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Score by the rule."""
        return self.rule.score(self.questions_of(sample), parsed)

    def aggregate(self, scores: Scores) -> Mapping[str, float]:
        """Return the derived metrics of the rule."""
        return self.rule.aggregate(scores) if self.rule.aggregate else {}

    def remarks(self, parsed: Sequence[Json]) -> Sequence[str]:
        """Return what the rule says beside the metrics, of what was parsed of each scored sample."""
        return self.rule.remarks(parsed) if self.rule.remarks else ()

    def predictions(self, path: Path) -> Predictions:
        """Read predictions made elsewhere.

        Raises:
            UserError: There is no reader for this benchmark, or the file cannot be read.
        """
        if self.benchmark.predictions is None:
            raise UserError("no predictions of another format can be read", where=f"task {self.benchmark.name}")
        return self.benchmark.predictions(path, self)

    def write_submission(self, outputs: Mapping[str, Json], path: Path) -> None:
        """Write the official file of a benchmark that a server scores.

        Raises:
            UserError: No server scores this one, or outputs are missing.
        """
        if self.benchmark.submission is None:
            raise UserError("no server scores this benchmark", where="--submission", todo="leave it out")
        self.benchmark.submission(outputs, self, path)

    def _sample(self, name: str, positions: list[int]) -> Sample:
        first, *others = [self.questions[position] for position in positions]
        target = [first.target, *(other.target for other in others)] if others else first.target
        return Sample(name, positions, target, group=first.group or _group_of(first.images), subsets=first.subsets)

    def _input(self, question: Question) -> Input:
        name, limit = self.benchmark.prompt, self.benchmark.max_new_tokens
        images = question.images

        def digest() -> str:
            return sha256_hex(canonical_json([render(name, question), [image.digest for image in images], limit]))

        def load() -> Prompt:
            loaded, digests = (tuple(image.load() for image in images), tuple(p.digest for p in images))
            return Prompt(render(name, question), loaded, digests, max_new_tokens=limit)

        return Input(digest, load)


class ScoringOnly(VisualQuestions):
    """Questions of files that do not hold all of the prompt: stored answers can be scored, but no model asked."""

    def why(self, lacking: str, todo: str) -> ScoringOnly:
        """Say what the files lack, and what a user can do."""
        self._lacking, self._todo = lacking, todo
        return self

    def _input(self, question: Question) -> Input:
        def load() -> NoReturn:
            raise UserError(self._lacking, where=f"task {self.benchmark.name}", todo=self._todo)

        return Input(lambda: sha256_hex(canonical_json([self._lacking, question.id, question.text])), load)


def _group_of(images: Sequence[LazyImage]) -> Callable[[], str] | None:
    """Questions on equal images are a group; an image is not read before somebody asks."""
    return (lambda: images[0].digest[:16]) if images else None
