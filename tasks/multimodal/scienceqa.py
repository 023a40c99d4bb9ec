"""ScienceQA: multiple-choice questions from school science, half of them with an image (Lu et al., 2022).

What LLaVA-1.5 reports is the accuracy on the questions with an image.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError
from ...harness.predictions import some
from ...harness.reading import read_json, shown
from .choices import LETTERS, letter_rules, scienceqa_lmms_eval, scienceqa_official, vlmevalkit
from .images import LazyImage
from .local import beside, found, opened
from .open_answers import field, text_of, texts_of
from .predictions import Rows, read_predictions
from .question import Question
from .tables import Table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ...harness.contracts import Json, Predictions, Scores

_PARTS = {"img": "ScienceQA-IMG", "full": "ScienceQA-FULL"}
_LOWER_GRADES = 6
_GRADE_DIGITS = 2
_NO_PREDICTION = "FAILED"
"""The answer in the files of LLaVA's script for a question without a prediction."""


def scienceqa_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    *,
    images: str = "",
    part: str = "img",
    split: str = "test",
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return ScienceQA.

    Args:
        annotations: The folder of ``problems.json`` and ``pid_splits.json``, or either file, whatever its name: the
            other one is beside it, and without ``pid_splits.json`` each problem's own ``split`` counts; or a data set
            with the hub's columns: a parquet file or a folder. Without it, the data set of ``org``.
        images: Folder that has ``test/1/image.png`` and so on; by default ``images`` beside the files.
        part: ``img``, the questions with an image, or ``full``, all of them.
        split: ``train``, ``val`` (``validation`` on the hub), ``test``, ``minitest``, ...
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    if part not in _PARTS:
        raise UserError(f"no part {part!r}", where="task scienceqa", todo=f"choose part= from {', '.join(_PARTS)}")
    where = annotations or f"{org}/ScienceQA"
    source = opened(annotations, where, split, _PARTS[part], revision)
    if isinstance(source, Table) and part == "img" and "image" not in source.image_columns:
        what = "no column 'image' of images, which tells the questions that have one"
        raise UserError(what, where=source.where, todo="give part=full to score them all")
    asked = _of_table(source) if isinstance(source, Table) else _of_files(source, images, split)
    kept, text_only = list[Question](), list[Question]()
    for question in asked:
        textual = part == "img" and question.subsets.get("image context") == "no"
        (text_only if textual else kept).append(question)
    left_out = {"without an image, as part=img says": [question.id for question in text_only]}
    benchmark = replace(BENCHMARK, predictions=functools.partial(_predictions, all_count=part == "full"))
    return benchmark.task(kept, rule, where, left_out)


def _of_table(table: Table) -> Iterator[Question]:
    told = "image" in table.image_columns
    for number, row in enumerate(table.rows("question", "choices", "answer", "hint")):
        yield _question(str(number), row, f"{table.where} row {number}", table.image(number), told=told)


def _of_files(source: Path, images: str, split: str) -> Iterator[Question]:
    path, problems, names = _problems(source, split)
    folder = beside(path, images, "images")
    for name in names:
        row, place = problems.get(name), f"{path}, problem {name}"
        if not isinstance(row, dict):
            raise UserError("it is missing", where=place, todo="take both files from one release")
        image = text_of(row, "image", place)
        image = f"{text_of(row, 'split', place) or split}/{name}/{image}" if image else ""
        yield _question(name, row, place, LazyImage.within(folder, image) if image else None)


def _problems(source: Path, split: str) -> tuple[Path, dict[str, Any], list[str]]:
    """The file of the problems, what it holds, and the names of those in a split."""
    home = source if source.is_dir() else source.parent
    path, splits = home / "problems.json", home / "pid_splits.json"
    if source.is_file():
        lists = all(isinstance(names, list) for names in _object(source).values())
        path, splits = (path, source) if lists else (source, splits)
    problems = _object(path)
    named: dict[str, Any] = defaultdict(list)
    if splits.is_file() or source.is_dir():
        named = _object(splits)
    else:
        for name, row in problems.items():
            named[str(row.get("split")) if isinstance(row, dict) else ""].append(name)
    if not isinstance(named.get(split), list):
        raise UserError(f"it has no split {split!r}", where=str(splits), todo="check split=")
    return path, problems, [str(name) for name in named[split]]


def _object(path: Path) -> dict[str, Any]:
    content = read_json(found(path.parent, path.name))
    if not isinstance(content, dict):
        raise UserError("it is not an object", where=str(path), todo="give problems.json and pid_splits.json")
    return content


def _question(name: str, row: Mapping[str, Any], place: str, image: LazyImage | None, *, told: bool = True) -> Question:
    choices, answer = texts_of(row, "choices", place), row.get("answer")
    if len(choices) > len(LETTERS):
        raise UserError(f"it has {len(choices)} choices, more than letters", where=place, todo="fix the data")
    if type(answer) is not int or not 0 <= answer < len(choices):
        what = f"its answer {shown(answer)} is not the number of one of its {len(choices)} choices"
        raise UserError(what, where=place, todo="fix the data")
    hint = text_of(row, "hint", place) or ""
    return Question(
        name,
        field(row, "question", place),
        image,
        LETTERS[answer],
        options=choices,
        hint=hint,
        subsets=_subsets(row, place, text=bool(hint), image=image is not None if told else None),
    )


def _subsets(row: Mapping[str, Any], place: str, *, text: bool, image: bool | None) -> dict[str, str]:
    """A question's subsets; of data without a column of images nothing says which questions have one."""
    subsets = {"text context": "yes" if text else "no"}
    if image is not None:
        context = " and ".join(name for name, there in (("text", text), ("image", image)) if there) or "none"
        subsets = {"context": context, **subsets, "image context": "yes" if image else "no"}
    subsets |= {axis: name for axis in ("subject", "topic") if (name := text_of(row, axis, place))}
    grade = (text_of(row, "grade", place) or "").removeprefix("grade")
    if grade.isdecimal() and len(grade) <= _GRADE_DIGITS:
        subsets["grades"] = "1-6" if int(grade) <= _LOWER_GRADES else "7-12"
    return subsets


def _predictions(path: Path, task: VisualQuestions, *, all_count: bool) -> Predictions:
    """Read LLaVA's answers, either file that its script makes of them, or a log of lmms-eval or VLMEvalKit.

    As in the official script a missing prediction is wrong among all questions, and does not count among those with an
    image: only a prediction's prompt tells that script of the image.
    """
    rows = Rows(path)
    ids, texts = ("question_id", "index"), ("text", "prediction", "pred")
    read = read_predictions(path, task, ids=ids, texts=texts, rows=rows)
    if path.suffix.lower() == ".json" or any("pred" in row for _, row in rows):  # the script's
        given = {name: text for name, text in read.outputs.items() if text != _NO_PREDICTION}
        read = replace(read, outputs=given)
    missing = [sample.id for sample in task.samples if sample.id not in read.outputs]
    if not missing or not all_count:
        return read
    note = f"no prediction for {some(missing, 'question')}: counted as wrong"
    outputs = {**read.outputs, **dict.fromkeys(missing, _NO_PREDICTION)}
    return replace(read, outputs=outputs, notes=(*read.notes, note))


# Scoring


def _rule(letters: Rule) -> Rule:
    def parse(asked: Sequence[Question], texts: Sequence[str]) -> Json | None:
        return texts[0] if texts[0] == _NO_PREDICTION else letters.parse(asked, texts)

    return replace(letters, parse=parse, aggregate=_aggregate)


def _aggregate(scores: Scores) -> dict[str, float]:
    """The accuracy on the questions with an image that have a prediction, where there are others."""
    if "image context" not in scores.subsets:
        return {}
    if "counted" not in scores.kept:
        given = [said != _NO_PREDICTION for said in scores.parsed]
        shown = scores.subsets["image context"] == "yes"
        scores.kept["counted"] = shown & given if given else shown
    counted = scores.kept["counted"]
    everything = counted.all() or not scores.weights[counted].any()
    return {} if everything else {"IMG accuracy": scores.mean("accuracy", counted)}


RULES = tuple(
    map(_rule, letter_rules(official=scienceqa_official, lmms_eval=scienceqa_lmms_eval, vlmevalkit=vlmevalkit))
)
BENCHMARK = Benchmark(
    name="scienceqa",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Multiple-choice questions from school science",
        metrics=(Metric(name="accuracy"), Metric(name="IMG accuracy", kind="derived")),
        sample_noun="question",
        licence="CC BY-NC-SA 4.0",
        source="https://scienceqa.github.io",
        citation="Lu et al., Learn to Explain, NeurIPS 2022",
    ),
    prompt="scienceqa",
    rules=RULES,
    max_new_tokens=1024,
    predictions=functools.partial(_predictions, all_count=False),
)
