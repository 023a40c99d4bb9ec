"""SEED-Bench: multiple-choice questions on images and videos, of twelve types (Li et al., 2023)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import TaskCard
from ...harness.errors import UserError
from ...harness.predictions import some
from ...harness.reading import read_json, shown
from .choices import letter_rules, seed_lmms_eval, seed_official, vlmevalkit
from .images import LazyImage
from .local import beside, found, labelled, official_rows, opened
from .open_answers import field, text_of
from .predictions import read_predictions
from .question import Question
from .tables import Table
from .task import Benchmark, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ...harness.contracts import Predictions

TYPES = (
    "Scene Understanding",
    "Instance Identity",
    "Instance Attributes",
    "Instance Location",
    "Instances Counting",
    "Spatial Relation",
    "Instance Interaction",
    "Visual Reasoning",
    "Text Understanding",
    "Action Recognition",
    "Action Prediction",
    "Procedure Understanding",
)
"""By ``question_type_id``, from 1."""
_PARTS = ("all", "image", "video")
_NEEDED = ("question", "answer", "question_id", "question_type_id", "data_type")


def seed_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    part: str = "all",
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
    predictions: str = "",
) -> VisualQuestions:
    """Return SEED-Bench. Of a video the middle frame is shown, as LLaVA does.

    Args:
        annotations: ``SEED-Bench.json`` or its folder; or a data set with the hub's columns: a parquet file or a
            folder. Without it, the data set of ``org``.
        questions: LLaVA's question file, which names the file of each question's image.
        images: Folder that has ``SEED-Bench-image`` and ``SEED-Bench-video-image``; by default that of the file.
        part: ``all``, ``image`` or ``video``.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.
        predictions: A log of lmms-eval or a sheet of VLMEvalKit, whose labels are taken where there are no annotations;
            `score` gives what it scores.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    if part not in _PARTS:
        raise UserError(f"no part {part!r}", where="task seed-bench", todo=f"choose part= from {', '.join(_PARTS)}")
    where = annotations or f"{org}/SEED-Bench"
    own = [] if annotations else labelled(predictions, "question", "answer")
    asked: Iterable[Question]
    if own:
        where, asked = predictions, itertools.starmap(_labelled, own)
    else:
        source = opened(annotations, where, "test", revision=revision)
        asked = _of_table(source) if isinstance(source, Table) else _of_file(source, questions, images)
    every = list(_told_apart(asked))
    kept = [question for question in every if part in ("all", question.subsets["data"])]
    others = [question.id for question in every if part not in ("all", question.subsets["data"])]
    return BENCHMARK.task(kept, rule, where, {f"of the other part than part={part}": others})


def _labelled(place: str, row: Mapping[str, Any]) -> Question:
    """A question as a log of lmms-eval or a sheet of VLMEvalKit has it, which is of the images only."""
    kinds = {name: number for number, name in enumerate(TYPES, 1)}
    told = {
        "question_id": row.get("index"),
        "question_type_id": kinds.get(str(row.get("category"))),
        "data_type": "image",
    }
    options = {f"choice_{letter.lower()}": row.get(letter) for letter in "ABCD"}
    return _question({**told, **options, **row}, place, None)


def _of_table(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows(*_NEEDED)):
        yield _question(row, f"{table.where} row {number}", table.image(number))


def _of_file(source: Path, questions: str, images: str) -> Iterator[Question]:
    path = found(source, "SEED-Bench.json") if source.is_dir() else source
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("questions"), list):
        raise UserError("it has no list of questions", where=str(path), todo="give SEED-Bench.json")
    file_of = _files(questions)
    folder = beside(path, images, ".")
    for number, row in enumerate(content["questions"], 1):
        place = f"{path}, question {number}"
        if not isinstance(row, dict):
            raise UserError(f"{shown(row)} is not an object", where=place, todo="give SEED-Bench.json")
        missing = [name for name in _NEEDED if row.get(name) is None]
        if missing:
            raise UserError(f"it has no {missing[0]!r}", where=place, todo="give SEED-Bench.json")
        yield _question(row, place, LazyImage.within(folder, file_of(row, place)))


def _files(questions: str) -> Callable[[Mapping[str, Any], str], str]:
    """How the file of a question's image is called."""
    if questions:
        rows = official_rows(Path(questions).expanduser(), "question_id", "image")
        named = {field(row, "question_id", place): field(row, "image", place) for place, row in rows}
    else:
        named = {}

    def file_of(row: Mapping[str, Any], place: str) -> str:
        name = field(row, "question_id", place)
        if row["data_type"] == "image":
            return named.get(name, f"SEED-Bench-image/{text_of(row, 'data_id', place) or name}")
        return named.get(name, f"SEED-Bench-video-image/{name}.png")

    return file_of


def _question(row: Mapping[str, Any], place: str, image: LazyImage | None) -> Question:
    options = tuple(str(text_of(row, f"choice_{letter}", place)) for letter in "abcd")
    kind, answer = row["question_type_id"], row["answer"]
    if answer not in list("ABCD") or str(kind) not in map(str, range(1, len(TYPES) + 1)):
        what = f"answer {shown(answer)} of type {shown(kind)} is not valid"
        raise UserError(what, where=place, todo="fix the data")
    name, data = field(row, "question_id", place), field(row, "data_type", place).lower()
    data_id = row.get("data_id")
    return Question(
        name,
        field(row, "question", place),
        image,
        str(answer),
        options=options,
        subsets={"type": TYPES[int(kind) - 1], "data": data},
        group=f"{data}/{data_id if isinstance(data_id, str) else name}",
    )


def _told_apart(questions: Iterable[Question]) -> Iterator[Question]:
    """Number the questions of one id: the official script counts both of the one pair that there is."""
    seen: dict[str, int] = {}
    for question in questions:
        times = seen[question.id] = seen.get(question.id, 0) + 1
        yield question if times == 1 else question.replace(id=f"{question.id}#{times}")


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read LLaVA's answers, a submission, or a log of lmms-eval or VLMEvalKit.

    A missing prediction is wrong, as in the official script; one that is there answers all questions of its id.
    """
    read = read_predictions(path, task, ids=("question_id", "q_id", "index"), texts=("text", "prediction"))
    outputs = {
        sample.id: read.outputs.get(sample.id, read.outputs.get(sample.id.partition("#")[0], ""))
        for sample in task.samples
    }
    missing = [name for name in outputs if name.partition("#")[0] not in read.outputs]
    note = f"no prediction for {some(missing, 'question')}: counted as wrong"
    return replace(read, outputs=outputs, notes=(*read.notes, *([note] if missing else [])))


RULES = letter_rules(official=seed_official, lmms_eval=seed_lmms_eval, vlmevalkit=vlmevalkit)
BENCHMARK = Benchmark(
    name="seed-bench",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Multiple-choice questions on images and videos, of twelve types",
        sample_noun="question",
        chance=0.25,
        licence="CC BY-NC 4.0",
        source="https://github.com/AILab-CVC/SEED-Bench",
        citation="Li et al., SEED-Bench, CVPR 2024",
    ),
    prompt="option-letter",
    rules=RULES,
    predictions=_predictions,
)
