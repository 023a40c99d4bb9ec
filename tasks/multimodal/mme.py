"""MME: two yes-or-no questions about each image, in fourteen subtasks (Fu et al., 2023).

A sample is the pair of questions on one image.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError
from ...harness.predictions import some
from ...harness.reading import read_text, shown
from . import yes_no
from .images import LazyImage
from .local import opened
from .open_answers import SHORT_ANSWER, field
from .predictions import read_predictions
from .question import Question
from .subsets import masks
from .tables import Table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ...harness.contracts import Json, Predictions, Scores
    from .predictions import Row

PERCEPTION = tuple("existence count position color posters celebrity scene landmark artwork OCR".split())
COGNITION = tuple("commonsense_reasoning numerical_calculation text_translation code_reasoning".split())
_ENDING = "Please answer yes or no."
"""The end of every official question. LLaVA asks without it, in words of its own."""
_COLUMNS = ("question_id", "question", "label", "text")
"""Of a line of an official result file; the first is the image's name."""


def mme_task(
    annotations: str = "",
    *,
    images: str = "",
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
    predictions: str = "",
) -> VisualQuestions:
    """Return MME.

    Args:
        annotations: The official folder: one folder per subtask, with the images and a text file of two questions for
            each, side by side or in ``images`` and ``questions_answers_YN``; or the folder of the official result
            files, ``subtask.txt``, filled in or not; or a data set with the hub's columns: a parquet file or a folder.
            Without it, the data set of ``org``.
        images: Folder that has one folder per subtask with its images, if they are not with the questions.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.
        predictions: The folder of official result files, whose labels are taken where there are no annotations; `score`
            gives what it scores.

    Raises:
        UserError: A file cannot be read, or an image has not two questions.
    """
    if not annotations and predictions and any(Path(predictions).glob("*.txt")):
        annotations = predictions
    where = annotations or f"{org}/MME"
    source = opened(annotations, where, "test", revision=revision)
    asked = _of_table(source) if isinstance(source, Table) else _of_folder(source, images)
    return BENCHMARK.task(_pairs(list(asked), where), rule, where)


def _of_table(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows("question_id", "question", "answer", "category")):
        place = f"{table.where} row {number}"
        category, text, answer = (field(row, name, place) for name in ("category", "question", "answer"))
        # The name of an image is not a name of a pair: subtasks share some.
        name = field(row, "question_id", place).removeprefix(f"{category}/")
        yield _question(category, name, text, answer, place, table.image(number))


def _of_folder(source: Path, images: str) -> Iterator[Question]:
    texts = sorted(source.glob("*/*.txt")) + sorted(source.glob("*/questions_answers_YN/*.txt"))
    results = [] if texts else sorted(source.glob("*.txt"))
    if not texts and not results:
        raise UserError("it has no folders of subtasks with text files", where=str(source), todo="check annotations=")
    for place, row in _result_rows(results):
        category, name = row["category"], row["question_id"]
        image = LazyImage.within(images or source, f"{category}/{name}")
        yield _question(category, name, row["question"], row["label"], place, image)
    for path in texts:
        category = path.relative_to(source).parts[0]
        home = Path(images).expanduser() / category if images else path.parent
        folders = [home, home / "images", home.parent / "images"]
        candidates = [image for folder in folders for image in sorted(folder.glob(f"{path.stem}.*"))]
        file = next((file for file in candidates if file.suffix != ".txt"), home / f"{path.stem}.jpg")
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if line.strip():
                place = f"{path}, line {number}"
                text, tab, answer = line.rpartition("\t")
                if not tab:
                    raise UserError("no tab between question and answer", where=place, todo="fix the line")
                yield _question(category, file.name, text, answer, place, LazyImage.file(file))


def _question(category: str, name: str, text: str, answer: str, place: str, image: LazyImage | None) -> Question:
    truth = answer.strip().lower()
    if truth not in ("yes", "no"):
        raise UserError(f"the answer {shown(answer)} is neither yes nor no", where=place, todo="fix the data")
    asked = _bare(text)
    subsets = {"category": category} | ({"ability": _ability(category)} if _ability(category) else {})
    pair = f"{category}/{name}"
    return Question(f"{pair}/{asked}", asked, image, truth, subsets=subsets, group=pair, sample=pair)


def _ability(category: str) -> str:
    return "perception" if category in PERCEPTION else "cognition" if category in COGNITION else ""


def _bare(text: str) -> str:
    """The question without its ending."""
    return text.strip().removesuffix(_ENDING).strip()


def _pairs(questions: Sequence[Question], where: str) -> list[Question]:
    """Bring the two questions of an image together."""
    pairs: dict[str, list[Question]] = {}
    for question in questions:
        pairs.setdefault(question.sample, []).append(question)
    for name, pair in pairs.items():
        if len(pair) != 2:
            raise UserError(f"{name} has {len(pair)} questions, not 2", where=where, todo="fix the data")
    return [question for pair in pairs.values() for question in pair]


# Reading predictions


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read the official folder of ``subtask.txt`` files, LLaVA's answers, or a log of lmms-eval or VLMEvalKit."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path] if path.suffix == ".txt" else []
    ids, texts = ("question_id", "index"), ("text", "prediction")
    rows = _checked(_result_rows(files), task) if files else None
    read = read_predictions(
        path, task, ids=ids, texts=texts, row_names=_row_names, question_names=_question_names, rows=rows
    )
    # Where one answer of a pair is missing, the other still counts.
    outputs = {name: [text or "" for text in said] for name, said in read.outputs.items()}
    halves = [
        question.id
        for sample in task.samples
        for question, text in zip(task.questions_of(sample), read.outputs.get(sample.id, ()), strict=False)
        if text is None
    ]
    note = f"no prediction for {some(halves, 'question')}, but for the other one of the pair: counted as wrong"
    return replace(read, outputs=outputs, notes=(*read.notes, *([note] if halves else [])))


def _question_names(question: Question) -> list[str]:
    category, _, name = question.sample.partition("/")
    return _names(category, name, question.text)


def _row_names(row: Row) -> list[str]:
    """Subtask, image and question, as LLaVA's and lmms-eval's rows tell them."""
    name = str(row.get("question_id") or row.get("image_path") or "").strip()
    category = str(row.get("category") or name.partition("/")[0])
    name = name.removeprefix(f"{category}/").rpartition("/")[2]
    return _names(category, name, _bare(str(row.get("prompt") or row.get("question") or "").removesuffix(SHORT_ANSWER)))


def _names(category: str, image: str, asked: str) -> list[str]:
    """What a question may be called: an image's name ends as the image does, in ``.txt``, or not at all."""
    return [f"{category}/{name}/{asked}" for name in dict.fromkeys((image, image.rpartition(".")[0] or image))]


def _result_rows(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield lines of image, question, label and response, separated by tabs; the response is not there yet in some."""
    for file in files:
        for number, line in enumerate(read_text(file).split("\n"), 1):
            if line.strip():
                place = f"{file}, line {number}"
                cells = line.removesuffix("\r").split("\t")
                if len(cells) not in (len(_COLUMNS) - 1, len(_COLUMNS)):
                    what = f"{len(cells)} cells, not image, question, label and response"
                    raise UserError(what, where=place, todo="separate them by tabs")
                yield place, {"category": file.stem, **dict(zip(_COLUMNS, cells, strict=False))}


def _checked(rows: Iterable[tuple[str, Row]], task: VisualQuestions) -> Iterator[tuple[str, Row]]:
    """Yield rows of result files whose labels are those of the task."""
    truths = {name: question.target for question in task.questions for name in _question_names(question)}
    for place, row in rows:
        if "text" not in row:
            what = "3 cells, not image, question, label and response"
            raise UserError(what, where=place, todo="give the files with the responses")
        truth = next((truths[name] for name in _row_names(row) if name in truths), None)
        if truth and row["label"].strip().lower() != truth:
            what = f"the label is {row['label'].strip()}, but the benchmark says {truth}"
            raise UserError(what, where=place, todo="check the benchmark's version")
        yield place, row


# Scoring


def _rule(name: str, read: Callable[[str], str]) -> Rule:
    def parse(_: Sequence[Question], texts: Sequence[str]) -> list[str | None] | None:
        words = [None if (word := read(text)) == "other" else word for text in texts]
        return words if any(words) else None

    return Rule(name, parse, _score, _aggregate)


def _score(questions: Sequence[Question], parsed: Json | None) -> dict[str, float]:
    said = parsed or [None] * len(questions)
    right = [word == question.target for word, question in zip(said, questions, strict=True)]
    return {"accuracy": sum(right) / len(right), "accuracy+": float(all(right))}


def _aggregate(scores: Scores) -> dict[str, float]:
    """Points: of each subtask 100 for the accuracy and 100 for the pairs that are right, added up."""
    points = {}
    for category, where in masks(scores.subsets["category"]).items():
        if scores.weights[where].any():
            points[category] = 100 * (scores.mean("accuracy", where) + scores.mean("accuracy+", where))
    found = {"score": sum(points.values())}
    for ability, members in (("perception", PERCEPTION), ("cognition", COGNITION)):
        own = [points[category] for category in members if category in points]
        if own:
            found[ability] = sum(own)
    return found


RULES = (
    _rule("official", yes_no.mme_official),
    _rule("lmms-eval", yes_no.mme_lmms_eval),
    _rule("vlmevalkit", yes_no.vlmevalkit),
)
BENCHMARK = Benchmark(
    name="mme",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Two yes-or-no questions about each image, in fourteen subtasks",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="accuracy+"),
            Metric(name="perception", unit="", kind="derived"),
            Metric(name="cognition", unit="", kind="derived"),
            Metric(name="score", unit="", kind="derived"),
        ),
        sample_noun="pair",
        chance=0.5,
        source="https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models",
        citation="Fu et al., MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models, 2023",
    ),
    prompt="short-answer",
    rules=RULES,
    predictions=_predictions,
)
