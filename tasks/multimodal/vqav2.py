"""VQAv2: open questions on COCO's photographs, each with the answers of ten annotators (Goyal et al., 2017)."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec

from ...harness.cards import TaskCard
from ...harness.errors import UserError
from ...harness.predictions import without_collection
from ...harness.reading import read_bytes
from .normalise import evalai, one_line, read_back, vlmevalkit, vqa_official
from .open_answers import SHORT_ANSWER, always, annotators_rule, field, human_answers, image_file, is_json
from .predictions import read_predictions, read_rows
from .question import Question
from .tables import hub_table
from .task import Benchmark, ScoringOnly, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...harness.contracts import Json
    from .predictions import Row


_SPLITS = {"validation": "val2014", "train": "train2014", "testdev": "test-dev2015", "test": "test2015"}
"""What the names of the official files say of a split."""
_KINDS = ("answer_type", "question_type")
_SUBTYPE = re.compile(r"(?:train|val|test|test-dev)20\d\d")


class _Answer(TypedDict, total=False):
    answer: str


class _Label(TypedDict, total=False):
    """What is needed of a row of the annotation file."""

    question_id: int | str
    image_id: int | str
    answers: list[_Answer]
    answer_type: str
    question_type: str


class _Asked(TypedDict, total=False):
    """What is needed of a row of a question file, the official one or LLaVA's."""

    question_id: int | str
    image_id: int | str
    question: str
    text: str
    image: str


class _Head(TypedDict, total=False):
    """What the official question file says of itself."""

    data_subtype: str


def _agree(humans: Sequence[str]) -> bool:
    """Whether all annotators said the same; the official script then compares raw texts, case included."""
    return humans.count(humans[0]) == len(humans) or len(set(map(one_line, set(humans)))) == 1


def _official(humans: Sequence[str]) -> Callable[[str], str]:
    return one_line if humans and _agree(humans) else vqa_official


RULES = (
    annotators_rule("official", _official),
    # What LLaVA-1.5 reports: its predictions pass through the EvalAI processor before they are uploaded.
    annotators_rule("llava", _official, evalai),
    annotators_rule("lmms-eval", always(vqa_official)),
    annotators_rule("vlmevalkit", always(vlmevalkit), read_back),
)
BENCHMARK = Benchmark(
    name="vqav2",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Open questions on photographs, scored against ten annotators",
        sample_noun="question",
        licence="CC BY 4.0",
        source="https://visualqa.org",
        citation="Goyal et al., Making the V in VQA Matter, CVPR 2017",
    ),
    prompt="short-answer",
    rules=RULES,
    predictions=functools.partial(read_predictions, ids=("question_id",), texts=("text", "prediction", "answer")),
)


@without_collection()
def vqav2_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    every_question: str = "",
    org: str = "lmms-lab",
    split: str = "validation",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return VQAv2.

    Args:
        annotations: The official annotation file (JSON, or its rows as JSON lines), which is enough to score stored
            answers; the folder of the official files, found by their names; or a data set with the hub's columns: a
            parquet file or a folder. Without it and without ``questions``, the data set of ``org`` on the hub.
        questions: The official question file (JSON, or its rows as JSON lines) or LLaVA's. Without ``annotations``
            nothing can be scored, but a submission can be written.
        images: The folder of COCO's images of the split. Not needed to score answers.
        every_question: The question file of test2015, whose every question a submission must list. Without it a
            submission lists the questions of the task.
        org: Who keeps the data set on the hub.
        split: Of the data set: ``validation``, ``testdev`` or ``test``.
        revision: Of the data set.
        rule: ``official``, ``llava`` (the same after LLaVA's cleaning), ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or questions and annotations do not belong together.
    """
    data = annotations or questions or f"{org}/VQAv2"
    if not questions and annotations and Path(annotations).expanduser().is_dir():
        annotations, questions = _official_files(Path(annotations).expanduser(), split) or (annotations, "")
    every: Callable[[], list[str]] | None = None
    if questions or is_json(annotations):
        asked = _local(annotations, questions, images)
    else:
        asked = _hub(data, split, revision)
        if split == "testdev":
            every = functools.partial(_ids_on_hub, data, revision)
    if every_question:
        every = functools.partial(_ids_in_file, every_question)
    benchmark = replace(BENCHMARK, submission=functools.partial(write_submission, every=every))
    if is_json(annotations) and not questions:
        scored_only = ScoringOnly(benchmark, list(asked), rule, data)
        return scored_only.why("annotations alone do not have the questions", "give questions=")
    return benchmark.task(asked, rule, data)


def _official_files(folder: Path, split: str) -> tuple[str, str] | None:
    """The annotation file and the question file of a split, or an empty text; ``None`` if it has no such files."""
    found = {kind: sorted(folder.glob(f"*{kind}.json*")) for kind in ("annotations", "questions")}
    if not any(found.values()):
        return None
    own = {kind: [path for path in paths if _SPLITS.get(split, split) in path.name] for kind, paths in found.items()}
    if not any(own.values()):
        raise UserError(f"it has no files of the split {split!r}", where=str(folder), todo="check split=")
    several = next((paths for paths in own.values() if len(paths) > 1), None)
    if several:
        what = f"several files of the split {split!r}: {', '.join(path.name for path in several)}"
        raise UserError(what, where=str(folder), todo="name one with annotations= and questions=")
    annotations, questions = (str(paths[0]) if paths else "" for paths in own.values())
    return annotations, questions


def write_submission(
    outputs: Mapping[str, Json], task: VisualQuestions, path: Path, *, every: Callable[[], list[str]] | None = None
) -> None:
    """Write what the server takes: a JSON list of ``question_id`` and ``answer``, as LLaVA's script writes it.

    Answers pass through the EvalAI processor; questions without one get an empty text.

    Args:
        outputs: Sample id -> raw output.
        task: Whose samples they are.
        path: The file to write.
        every: Returns the ids that the file must list; by default those of the task.

    Raises:
        UserError: There is an answer to a question that the file must not list.
    """
    from ...harness.store.files import write_atomic  # with it comes numpy, which a list of tasks does not need

    names = every() if every else [question.id for question in task.questions]
    strange = outputs.keys() - set(names)
    if strange:
        what = f"{len(strange)} answers, such as that to {min(strange)}, are to no question of the submission"
        raise UserError(what, where=str(path), todo="check every_question=")
    rows = [
        {"question_id": int(name) if name.isdecimal() else name, "answer": evalai(outputs.get(name) or "")}
        for name in names
    ]
    write_atomic(path, json.dumps(rows).encode())


def _ids_in_file(path: str) -> list[str]:
    return [field(row, "question_id", place) for place, row in read_rows(path)]


def _ids_on_hub(data: str, revision: str) -> list[str]:
    return [str(row["question_id"]) for row in hub_table(data, "test", revision=revision).rows("question_id")]


def _hub(data: str, split: str, revision: str) -> Iterator[Question]:
    table = hub_table(data, split, revision=revision)
    for number, row in enumerate(table.rows("question_id", "image_id", "question")):
        place = f"{table.where} row {number}"
        name, text, group = (field(row, column, place) for column in ("question_id", "question", "image_id"))
        humans, subsets = _label(row, place)
        yield Question(name, text, table.image(number), humans, subsets=subsets, group=group)


def _local(annotations: str, questions: str, images: str) -> Iterator[Question]:
    if not questions:
        for place, row in read_rows(annotations, _Label):
            humans, subsets = _label(row, place)
            name, group = field(row, "question_id", place), field(row, "image_id", place)
            yield Question(name, "", None, humans, subsets=subsets, group=group)
        return
    rows = read_rows(annotations, _Label) if annotations else ()
    labels = {field(row, "question_id", place): _label(row, place) for place, row in rows}
    folder = _folder(questions) if images else ""
    place = ""
    for place, row in read_rows(questions, _Asked):
        name = field(row, "question_id", place)
        if annotations and name not in labels:
            raise UserError(f"it has no annotation in {annotations}", where=place, todo="give the files of one split")
        humans, subsets = labels.pop(name) if annotations else (None, {})
        if "text" in row:  # LLaVA's
            image, text = field(row, "image", place), field(row, "text", place).removesuffix(SHORT_ANSWER)
            group = Path(image).stem.rpartition("_")[2].lstrip("0") or "0"
        else:
            group, text = field(row, "image_id", place), field(row, "question", place)
            image = f"COCO_{folder}_{group.zfill(12)}.jpg"
        yield Question(name, text, image_file(images, image), humans, subsets=subsets, group=group)
    if not place:
        raise UserError("not a question file of VQA: it has no questions", where=questions, todo="check questions=")
    if labels:
        what = f"{len(labels)} annotations have no question in {questions}"
        raise UserError(what, where=annotations, todo="give the files of one split")


def _folder(questions: str) -> str:
    """COCO's folder of the images that a file asks about, as their names have it; by the file's content or its name."""
    found = _SUBTYPE.search(Path(questions).name)
    folder = found[0] if found else ""
    with contextlib.suppress(msgspec.MsgspecError, RecursionError):  # JSON lines have no such head
        folder = msgspec.json.decode(read_bytes(questions), type=_Head).get("data_subtype", folder)
    return folder.replace("test-dev", "test")


def _label(row: Row, place: str) -> tuple[list[str] | None, Mapping[str, str]]:
    """What annotators said, and the subsets."""
    return human_answers(row.get("answers"), place), _subsets(row)


def _subsets(label: Row) -> Mapping[str, str]:
    """Axis -> subset, as a label states them."""
    return _kinds(str(label.get("answer_type") or ""), str(label.get("question_type") or ""))


@functools.lru_cache(1 << 12)
def _kinds(answer_type: str, question_type: str) -> Mapping[str, str]:
    """One for all questions of a kind: there are a few hundred kinds."""
    kinds = {"answer_type": answer_type, "question_type": question_type}
    return {axis: name for axis, name in kinds.items() if name}
