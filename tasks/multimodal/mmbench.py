"""MMBench: multiple-choice questions, each asked several times with its options rotated (Liu et al., 2023).

The data hold every pass as a row: a question's rows are ``index``, ``index + 1,000,000`` and so on, and not always as
many as there are options. A sample is one question with all its passes; it is right if every pass is. LLaVA-1.5's file
is mmbench_dev_20230712.tsv with 1,176 questions; later ones have 1,164.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import BadSample, UserError
from ...harness.reading import shown
from .choices import LETTERS, mmbench_lmms_eval, offered, vlmevalkit
from .images import LazyImage
from .local import opened
from .open_answers import field, text_of
from .predictions import read_predictions, read_rows
from .prompts import render
from .question import Question
from .tables import Table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ...harness.contracts import Json, Predictions, Scores
    from .choices import Options

PASS = 1_000_000
_AXES = ("category", "L2-category", "split")
_COLUMNS = ("index", "question", "A", "B", "C", "D", "prediction", "answer", "split")
"""Of the file for the server, as LLaVA's script writes it."""
_SHORTEST_IMAGE = 64
"""A shorter cell is not an image but the index of the row that has it."""
_PROMPTS = {"en": "option-letter", "cn": "option-letter-cn"}


def mmbench_task(
    annotations: str = "",
    *,
    language: str = "en",
    split: str = "dev",
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return MMBench.

    Args:
        annotations: The official file (TSV), which needs no images for scoring, or the sheet (XLSX) that LLaVA makes of
            it for the server; or a data set with the hub's columns: a parquet file or a folder. Without it, the data
            set of ``org``.
        language: ``en`` or ``cn``.
        split: Of the data set: ``dev`` or ``test``, whose answers only the server knows.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    if language not in _PROMPTS:
        raise UserError(
            f"no language {language!r}", where="task mmbench", todo=f"choose language= from {', '.join(_PROMPTS)}"
        )
    source = opened(annotations, f"{org}/MMBench", split, language, revision)
    asked = _of_table(source) if isinstance(source, Table) else _of_file(source)
    name = BENCHMARK.name if language == "en" else f"{BENCHMARK.name}-{language}"
    benchmark = replace(BENCHMARK, name=name, prompt=functools.partial(_as_llava_asks, _PROMPTS[language]))
    where = annotations or f"{org}/MMBench"
    return benchmark.task(_passes(list(asked), where), rule, where)


def _of_table(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows("index", "question", "A", "B")):
        yield _question(row, f"{table.where} row {number}", table.image(number))


def _of_file(path: Path) -> Iterator[Question]:
    images: dict[str, str] = {}
    for place, row in read_rows(path):
        if not {"index", "question"} <= row.keys():
            raise UserError("it does not have the columns of MMBench", where=place, todo="give the official file")
        # The passes repeat their image: one text in memory serves all of them.
        given = text_of(row, "image", place) or ""
        encoded = images.setdefault(given, given)
        if len(encoded) < _SHORTEST_IMAGE:
            encoded = images.get(encoded, "")
        images[field(row, "index", place)] = encoded
        yield _question(row, place, LazyImage(place, functools.partial(_decoded, encoded, place)))


def _decoded(encoded: str, place: str) -> bytes:
    if not encoded:
        raise BadSample("there is no image", where=place, todo="give the official file, which has them")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSample("its image is not base64 text", where=place, todo="fix the data") from error


def _question(row: Mapping[str, Any], place: str, image: LazyImage | None) -> Question:
    try:
        index = int(field(row, "index", place))
    except ValueError as error:
        raise UserError(f"the index {shown(row['index'])} is not a number", where=place, todo="fix the data") from error
    options = ["" if _is_missing(row.get(letter)) else str(text_of(row, letter, place)) for letter in LETTERS]
    while options and not options[-1]:
        options.pop()
    base = str(index % PASS)
    return Question(
        str(index),
        field(row, "question", place),
        image,
        _cell(row, "answer", place) or None,
        options=tuple(options),
        hint=_cell(row, "hint", place),
        subsets={axis: name for axis in _AXES if (name := _cell(row, axis, place) or _cell(row, axis.lower(), place))},
        sample=base,
        fields={name: _cell(row, name, place) for name in _COLUMNS if name != "prediction"},
    )


def _is_missing(value: Any) -> bool:
    return value is None or str(value).lower() in ("", "nan")


def _cell(row: Mapping[str, Any], column: str, place: str) -> str:
    """A cell as LLaVA reads it: nothing, NaN, and the texts nan and none are missing."""
    value = row.get(column)
    return "" if _is_missing(value) or str(value).lower() == "none" else str(text_of(row, column, place))


def _as_llava_asks(prompt: str, question: Question) -> str:
    """The message, whose list of options ends before the first that is missing or ``None``; a rule reads them all."""
    listed = itertools.takewhile(lambda option: option.lower() not in ("", "none"), question.options)
    return render(prompt, question.replace(options=tuple(listed)))


def _passes(questions: Sequence[Question], where: str) -> list[Question]:
    """Bring the passes of a question together, the unrotated one first."""
    samples: dict[str, list[Question]] = {}
    for question in sorted(questions, key=lambda question: int(question.id)):
        passes = samples.setdefault(question.sample, [])
        if not passes and int(question.id) >= PASS:
            raise UserError(f"question {question.id} has no unrotated pass", where=where, todo="fix the data")
        if passes and passes[-1].id == question.id:
            raise UserError(f"index {question.id} appears twice", where=where, todo="fix the data")
        passes.append(question)
    return [
        question.replace(subsets={**question.subsets, "passes": str(len(passes))})
        for passes in samples.values()
        for question in passes
    ]


# Predictions and submissions


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read LLaVA's answers, a sheet (XLSX or TSV), or a log of lmms-eval or VLMEvalKit."""
    read = read_predictions(path, task, ids=("question_id", "index"), texts=("text", "prediction"))
    outputs = {name: _filled(said) for name, said in read.outputs.items()}
    return replace(read, outputs=outputs)


def _filled(output: Json) -> Json:
    """A pass without answer is a wrong one; the others can still be read."""
    return [text or "" for text in output] if isinstance(output, list) else output


def write_submission(outputs: Mapping[str, Json], task: VisualQuestions, path: Path) -> None:
    """Write the sheet that MMBench's server takes, as LLaVA's script writes it.

    Args:
        outputs: Sample id -> raw output. What is missing is left empty.
        task: Whose samples they are.
        path: The file to write.

    Raises:
        UserError: openpyxl is missing, or the file cannot be written.
    """
    from ...harness.store.files import write_atomic  # with it comes numpy, which a list of tasks does not need

    try:
        import openpyxl
    except ImportError as error:
        raise UserError("openpyxl is needed", where=str(path), todo="pip install 'adaptbench[tables]'") from error
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(_COLUMNS)
    for sample in task.samples:
        passes = task.questions_of(sample)
        output = outputs.get(sample.id)
        said = output if isinstance(output, list) else [output] * len(passes)
        for question, text in zip(passes, said, strict=True):
            cells: dict[str, Any] = {**question.fields, "index": int(question.id), "question": question.text}
            cells["prediction"] = None if text is None else openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", text)
            sheet.append([_written(sheet, cells.get(column)) for column in _COLUMNS])
    content = io.BytesIO()
    book.save(content)
    write_atomic(path, content.getvalue())


def _written(sheet: Any, value: Any) -> Any:
    """A cell; a text that begins with ``=`` is not a formula."""
    from openpyxl.cell import WriteOnlyCell

    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(sheet, value or None)
    if value:
        cell.data_type = "s"
    return cell


# Scoring


def _rule(name: str, read: Callable[[str, Options], str | None]) -> Rule:
    def parse(questions: Sequence[Question], texts: Sequence[str]) -> list[str | None] | None:
        letters = [read(text, offered(question)) for question, text in zip(questions, texts, strict=True)]
        return letters if any(letters) else None

    return Rule(name, parse, _score, _vanilla)


def _score(questions: Sequence[Question], parsed: Json | None) -> dict[str, float] | None:
    if any(question.target is None for question in questions):
        return None
    said = parsed or [None] * len(questions)
    right = [letter == question.target for letter, question in zip(said, questions, strict=True)]
    return {"accuracy": float(all(right)), "first pass": float(right[0]), "passes right": sum(right) / len(right)}


def _vanilla(scores: Scores) -> dict[str, float]:
    """The accuracy over all rows: a question counts as often as it is asked."""
    if "passes" not in scores.subsets:
        return {}
    if "asked" not in scores.kept:
        scores.kept["asked"] = scores.subsets["passes"].astype(float)
    weights = scores.weights * scores.kept["asked"]
    return {"vanilla": float(weights @ scores.values["passes right"] / weights.sum())} if weights.any() else {}


RULES = (
    _rule("official", vlmevalkit),
    _rule("lmms-eval", mmbench_lmms_eval),
    _rule("vlmevalkit", vlmevalkit),
)
BENCHMARK = Benchmark(
    name="mmbench",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Multiple-choice questions, right if they are with the options in every rotation",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="first pass"),
            Metric(name="passes right"),
            Metric(name="vanilla", kind="derived"),
        ),
        sample_noun="question",
        source="https://github.com/open-compass/MMBench",
        citation="Liu et al., MMBench: Is Your Multi-modal Model an All-around Player?, ECCV 2024",
    ),
    prompt="option-letter",
    rules=RULES,
    max_new_tokens=1024,
    predictions=_predictions,
    submission=write_submission,
)
