"""GQA: questions made of scene graphs, with one short answer each (Hudson and Manning, 2019)."""

from __future__ import annotations

import functools
import re
import string
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import BadSample, UserError
from ...harness.reading import part, shown
from .images import LazyImage
from .normalise import read_back
from .open_answers import field, image_file, is_json, text_of, texts_of
from .predictions import read_predictions, read_rows
from .question import Question
from .tables import Table, hub_table
from .task import NOTHING, Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.contracts import Json, Predictions, Sample, Scores
    from .predictions import Row

_NO_STEPS = ("exist", "query: name", "choose name")
"""Operations that the official script does not count as reasoning."""
_CHOICES = ("valid", "plausible")
_COMMON = ["color", "material", "shape"]
"""What the official script takes for the choices of every question about what things have in common."""
_WITHOUT_MARKS = str.maketrans("", "", string.punctuation)


def official(text: str) -> str:
    """Read an answer as LLaVA's conversion does: full stops at its end go, and capitals. Blanks stay."""
    return text.rstrip(".").lower()


def lmms_eval(text: str) -> str:
    """Read an answer as lmms-eval does: capitals and all ASCII punctuation go."""
    return text.lower().translate(_WITHOUT_MARKS)


def vlmevalkit(text: str) -> str:
    """Read an answer as VLMEvalKit does: outer blanks and capitals go."""
    return text.strip().lower()


def _vlmevalkit_said(text: str) -> str:
    return vlmevalkit(read_back(text))


def _rule(name: str, said: Callable[[str], str], known: Callable[[str], str]) -> Rule:
    def parse(_: Sequence[Question], texts: Sequence[str]) -> Json:
        answers = [said(text) for text in texts]
        return answers if len(answers) > 1 else answers[0]

    def score(questions: Sequence[Question], parsed: Json | None) -> Mapping[str, float] | None:
        own, target = parsed[0] if isinstance(parsed, list) else parsed, questions[0].target
        return None if target is None else {"accuracy": float(own == known(target))}

    return Rule(name, parse, score)


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read the answer to each sample's question, and to those that it entails.

    Raises:
        UserError: The file cannot be read, or an entailed question has no answer, which the official script refuses.
    """
    each = task.benchmark.task(task.questions)
    ids, texts = ("questionId", "question_id", "id", "index"), ("text", "prediction")  # an "answer" is the right one
    found = read_predictions(path, each, ids=ids, texts=texts)
    outputs: dict[str, Json] = {}
    for sample in task.samples:
        own, *entailed = [question.id for question in task.questions_of(sample)]
        missing = [name for name in entailed if name not in found.outputs]
        if own in found.outputs and missing:
            raise UserError(
                f"no prediction for question {missing[0]}, which question {own} entails",
                where=str(path),
                todo="give predictions for all questions, or leave consistency out",
            )
        if own in found.outputs:
            outputs[sample.id] = [found.outputs[name] for name in (own, *entailed)] if entailed else found.outputs[own]
    return replace(found, outputs=outputs)


BENCHMARK = Benchmark(
    name="gqa",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Compositional questions on photographs, made of scene graphs",
        sample_noun="question",
        licence="CC BY 4.0",
        source="https://cs.stanford.edu/people/dorarad/gqa",
        citation="Hudson and Manning, GQA, CVPR 2019",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="consistency", kind="derived"),
            Metric(name="validity", kind="derived"),
            Metric(name="plausibility", kind="derived"),
            Metric(name="distribution", kind="derived", unit="", better="lower"),
        ),
    ),
    prompt="short-answer",
    rules=(
        _rule("official", official, str),
        _rule("lmms-eval", lmms_eval, lmms_eval),
        _rule("vlmevalkit", _vlmevalkit_said, vlmevalkit),
    ),
    predictions=_predictions,
)


class GqaQuestions(VisualQuestions):
    """The balanced questions of GQA.

    Args:
        questions: With the fields ``balanced``, ``entailed`` (names of questions), ``group`` (may be ``None``) and,
            where choices are known, ``valid`` and ``plausible``.
        rule: Name of the scoring rule.
        source: File or data set that they are from.
        left_out: Why questions of the source are not among them -> their names.
        consistency: A sample is a balanced question with all that it entails, which must be among ``questions``.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        rule: str = "official",
        source: str = "",
        left_out: Mapping[str, Sequence[str]] = NOTHING,
        *,
        consistency: bool = False,
    ) -> None:
        super().__init__(BENCHMARK, questions, rule, source, left_out)
        self._consistency = consistency

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One a balanced question; its first input is that question, the others are what it entails.

        Raises:
            UserError: Two questions have one name.
        """
        places = {sample.id: place for place, sample in enumerate(super().samples)}
        samples = []
        for question in self.questions:
            if question.fields["balanced"]:
                names = [question.id, *(question.fields["entailed"] if self._consistency else ())]
                samples.append(self._sample(question.id, [places[name] for name in names]))
        return samples

    def parse(self, sample: Sample, output: Json) -> Json | None:
        """Read the answers; one to an entailed question that is missing is wrong, and leaves the others as they are."""
        if isinstance(output, list):
            output = output[:1] + [text if isinstance(text, str) else "" for text in output[1:]]
        return super().parse(sample, output)

    def aggregate(self, scores: Scores) -> Mapping[str, float]:
        """Return the aggregates of the official script; other harnesses have none."""
        if self.rule.name != "official":
            return {}
        from .gqa_aggregates import official_aggregates

        return official_aggregates(scores, self._asked)

    @functools.cached_property
    def _asked(self) -> Mapping[str, Sequence[Question]]:
        return {sample.id: self.questions_of(sample) for sample in self.samples}


def gqa_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    choices: str = "",
    consistency: bool = False,
    org: str = "lmms-lab",
    subset: str = "testdev_balanced",
    split: str = "testdev",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return the balanced questions of GQA.

    Args:
        annotations: The official question file (``testdev_balanced_questions.json``); or a data set with the hub's
            columns: a parquet file or a folder. Without it, the data set of ``org`` on the hub.
        questions: Another name for ``annotations``: GQA has one file for both.
        images: The folder of the images, or a data set with the columns ``id`` and ``image``; by default the one
            beside the questions on the hub. Not needed to score answers.
        choices: The official file of choices (``val_choices.json``), or the folder of its parts: what validity and
            plausibility are made of.
        consistency: Ask what each question entails, too, for the metric of that name. The data must be of all
            questions (``val_all_questions.json``, ``subset=testdev_all``), since most entailed ones are not balanced.
        org: Who keeps the data set on the hub.
        subset: Which of its configurations, without ``_instructions`` and ``_images``.
        split: Of the data set.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or lacks an entailed question or the choices of a question.
    """
    data = annotations or questions or f"{org}/GQA"
    file = Path(data).expanduser().is_file()
    if is_json(data):
        placed = list(read_rows(data))
    else:
        table = hub_table(data, split, "" if file else f"{subset}_instructions", revision)
        placed = [(f"{table.where} row {n}", row) for n, row in enumerate(table.rows("id", "imageId", "question"))]
    image_of: Callable[[str], LazyImage | None] = functools.partial(_in_folder, images)
    if _holds_a_table(images):
        image_of = _in_table(images, split, "", revision)
    elif not images and not file:
        image_of = _in_table(data, split, f"{subset}_images", revision)
    wanted = _wanted(placed, data) if consistency else [(at, row) for at, row in placed if _balanced(row, at)]
    asked = [_question(row, place, image_of) for place, row in wanted]
    names = {question.id for question in asked}
    others = [name for place, row in placed if (name := _name(row, place)) not in names]
    left_out = {"that are neither balanced nor entailed" if consistency else "that are not balanced": others}
    return GqaQuestions(
        _with_choices(asked, choices) if choices else asked, rule, data, left_out, consistency=consistency
    )


def _wanted(placed: Sequence[tuple[str, Row]], data: str) -> list[tuple[str, Row]]:
    """The balanced questions and those that they entail."""
    rows = {_name(row, place): (row, place) for place, row in placed}
    balanced = [name for name, (row, place) in rows.items() if _balanced(row, place)]
    entailed = {other: name for name in balanced for other in _entailed(*rows[name])}
    missing = next((other for other in entailed if other not in rows), None)
    if missing is not None:
        raise UserError(
            f"no question {missing}, which question {entailed[missing]} entails",
            where=data,
            todo="give the data of all questions, such as val_all_questions.json, or leave consistency out",
        )
    wanted = {*balanced, *entailed}
    return [(place, row) for place, row in placed if _name(row, place) in wanted]


def _with_choices(questions: Sequence[Question], choices: str) -> list[Question]:
    """Add to balanced questions which answers are valid and plausible."""
    balanced = {question.id: question for question in questions if question.fields["balanced"]}
    found: dict[str, dict[str, Json]] = {}
    for place, row in read_rows(choices):
        name = field(row, "question_id", place)
        if any(row.get(kind) is None for kind in _CHOICES):
            raise UserError("no lists valid and plausible", where=place, todo="give the official file of choices")
        if name in balanced:
            common = "Common" in balanced[name].subsets.get("detailed", "")
            found[name] = {kind: _COMMON if common else list(texts_of(row, kind, place)) for kind in _CHOICES}
    missing = next((name for name in balanced if name not in found), None)
    if missing is not None:
        raise UserError(f"no choices for question {missing}", where=choices, todo="give those of the same questions")
    return [question.replace(fields={**question.fields, **found.get(question.id, {})}) for question in questions]


def _holds_a_table(path: str) -> bool:
    place = Path(path).expanduser()
    kinds = ("*.parquet", "*.arrow")
    return bool(path) and (not place.is_dir() or any(any(place.rglob(kind)) for kind in kinds))


def _in_folder(folder: str, image: str) -> LazyImage | None:
    return image_file(folder, f"{image}.jpg")


def _in_table(data: str, split: str, config: str, revision: str) -> Callable[[str], LazyImage | None]:
    """Find images by their ids in a table, which is opened for the first one that a model is shown."""

    @functools.cache
    def opened() -> tuple[Table, dict[str, int]]:
        table = hub_table(data, split, config, revision)
        return table, {str(row["id"]): number for number, row in enumerate(table.rows("id"))}

    def fetch(image: str) -> bytes:
        table, rows = opened()
        found = table.image(rows[image]) if image in rows else None
        if found is None:
            raise BadSample("there is no image", where=f"{table.where}, image {image}", todo="fix the data")
        return found.fetch()

    @functools.cache
    def image_of(image: str) -> LazyImage:
        return LazyImage(f"{data}, image {image}", functools.partial(fetch, image))

    return image_of


def _question(row: Row, place: str, image_of: Callable[[str], LazyImage | None]) -> Question:
    image, text = field(row, "imageId", place), field(row, "question", place)
    return Question(
        _name(row, place),
        text,
        image_of(image),
        text_of(row, "answer", place),
        subsets=_subsets(row, text, place),
        group=image,
        fields={
            "balanced": _balanced(row, place),
            "entailed": _entailed(row, place),
            "group": text_of(part(row, "groups", dict, place) or {}, "global", place),
        },
    )


def _name(row: Row, place: str) -> str:
    return field(row, "id" if "id" in row else "question_id", place)


def _balanced(row: Row, place: str) -> bool:
    """Whether a question is one of the balanced ones, which a file may have alone."""
    balanced = part(row, "isBalanced", bool, place)
    return balanced is None or balanced


def _entailed(row: Row, place: str) -> list[str]:
    """What a question entails except itself; tables have the list as a text."""
    names = row.get("entailed")
    others = re.findall(r"\w+", names) if isinstance(names, str) else texts_of(row, "entailed", place)
    return [other for other in others if other != _name(row, place)]


def _subsets(row: Row, text: str, place: str) -> dict[str, str]:
    """A question's subsets on the axes of the official script, as far as the data say."""
    types = part(row, "types", dict, place) or {}
    axes = ("structural", "semantic", "detailed")
    subsets = {axis: kind for axis in axes if (kind := text_of(types, axis, place))}
    if "structural" in subsets:
        subsets["form"] = "open" if subsets["structural"] == "query" else "binary"
    if program := part(row, "semantic", list, place):
        subsets["steps"] = str(sum(_reasons(step, place) for step in program))
    return subsets | {"words": str(len(text.split()))}


def _reasons(step: Any, place: str) -> bool:
    """Whether the official script counts a step of a question's program as reasoning."""
    if not isinstance(step, dict):
        raise UserError(f"its semantic has a step {shown(step)}, not an object", where=place, todo="fix the file")
    name = f"{field(step, 'operation', place)}: {text_of(step, 'argument', place) or ''}"
    return not any(other in name for other in _NO_STEPS)
