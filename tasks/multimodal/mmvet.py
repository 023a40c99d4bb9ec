"""MM-Vet: open questions that need several capabilities at once, judged by a language model (Yu et al., 2023)."""

from __future__ import annotations

import ast
import functools
import itertools
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Predictions
from ...harness.errors import UserError
from ...harness.predictions import counted, what_was_read
from ...harness.reading import read_json, read_text, shown
from .images import LazyImage
from .judged import JudgedQuestions, judge_for, mmvet_score, same_runs, spread, stored_output
from .local import beside, found, labelled, opened
from .open_answers import field, texts_of
from .predictions import as_text, read_rows, with_files
from .question import Question
from .subsets import masks
from .tables import Table
from .task import Benchmark, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...harness.contracts import Json, Scores
    from .judge import Judge
    from .predictions import Row
    from .task import VisualQuestions

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
_ATTEMPTS = 5
"""Verdicts of one question that are looked at before its score is 0."""
_AGAIN = "\nPredict the correctness of the answer (digit): "
"""What is added to the question after a verdict that is not a number."""


def mmvet_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    *,
    images: str = "",
    judge: str = "",
    rubric: str = "",
    verdicts: str = "",
    judge_runs: int = 1,
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
    predictions: str = "",
) -> JudgedQuestions:
    """Return MM-Vet. Without ``judge`` only predictions with stored grades can be scored.

    Args:
        annotations: ``mm-vet.json`` or its folder; or a data set with the hub's columns: a parquet file or a folder.
            Without it, the data set of ``org``.
        images: Folder of the images; by default ``images`` beside the file.
        judge: Name of the language model that judges, such as ``gpt-4-0613``; see `judge` for where it is asked.
        rubric: What the judge is told first: ``mm-vet_evaluator.py`` of MM-Vet's repository, or a text file.
        verdicts: File in which the judge's verdicts are kept; by default one in the user's cache.
        judge_runs: How often every answer is judged.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``.
        predictions: Grades, which are scored alone where there are no annotations, by capability if they have it;
            `score` gives what it scores.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    where = annotations or f"{org}/MMVet"
    own = [] if annotations or judge else labelled(predictions, "score") or labelled(predictions, "capability")
    if own:
        where, asked = predictions, _of_grades(own)
    else:
        source = opened(annotations, where, "test", revision=revision)
        asked = _of_table(source) if isinstance(source, Table) else _of_file(source, images)
    ask = None
    if judge:
        ask = functools.partial(_judged, judge_for(judge, verdicts), read_rubric(rubric), judge_runs)
    return JudgedQuestions(BENCHMARK, list(asked), rule, ask, where)


def _of_grades(rows: Sequence[tuple[str, Row]]) -> Iterator[Question]:
    named = {_name(row, place): (place, row) for place, row in rows}
    for name, (place, row) in named.items():
        needed = row.get("capability") or row.get("category") or ""  # of lmms-eval, of VLMEvalKit
        yield _question(name, {"question": "", "answer": "", **row, "capability": needed}, place, None)


def _of_table(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows("question_id", "question", "answer", "capability")):
        place = f"{table.where} row {number}"
        yield _question(field(row, "question_id", place), row, place, table.image(number))


def _of_file(source: Path, images: str) -> Iterator[Question]:
    path = found(source, "mm-vet.json") if source.is_dir() else source
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError("it is not an object of questions", where=str(path), todo="give mm-vet.json")
    folder = beside(path, images, "images")
    for name, row in content.items():
        place = f"{path}, {name}"
        if not isinstance(row, dict):
            raise UserError(f"{shown(row)} is not an object", where=place, todo="give mm-vet.json")
        image = LazyImage.within(folder, field(row, "imagename", place))
        yield _question(name, row, place, image)


def _question(name: str, row: Mapping[str, Any], place: str, image: LazyImage | None) -> Question:
    needed = row.get("capability")
    if needed is None:
        raise UserError("no capability", where=place, todo="give mm-vet.json")
    capabilities = needed.split(",") if isinstance(needed, str) else texts_of(row, "capability", place)
    integration = "+".join(sorted(capability.strip() for capability in capabilities))
    subsets = {"integration": integration} if integration else {}
    return Question(name, field(row, "question", place), image, field(row, "answer", place), subsets=subsets)


def _name(row: Row, place: str) -> str:
    return as_text(next((row[key] for key in ("question_id", "id", "index") if key in row), None), place) or ""


# Judging


def read_rubric(path: str) -> str:
    """Return the text that the judge is told first.

    Args:
        path: MM-Vet's ``mm-vet_evaluator.py``, whose variable ``prompt`` is read and not run; or the text itself.

    Raises:
        UserError: There is no such file, or no such variable.
    """
    if not path:
        raise UserError(
            "the judge has no rubric", where="task mm-vet", todo="give rubric=, MM-Vet's mm-vet_evaluator.py"
        )
    text = read_text(path)
    if not path.endswith(".py"):
        return text
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise UserError("it is not a Python file", where=path, todo="check rubric=") from error
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if "prompt" in names and isinstance(statement.value.value, str):
                return statement.value.value
    raise UserError("it has no variable 'prompt' with a text", where=path, todo="check rubric=")


def _judged(judge: Judge, rubric: str, runs: int, question: Question, answer: str) -> list[str]:
    return [_one_verdict(judge, rubric, run, question, answer) for run in range(runs)]


def _one_verdict(judge: Judge, rubric: str, run: int, question: Question, answer: str) -> str:
    """Ask until the verdict is a number, a little bolder each time."""
    from .judge import Asked

    truth = question.target.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    message = "\n".join((rubric, " | ".join((question.text, truth, answer, ""))))
    verdict = judge.ask(Asked([{"role": "user", "content": message}], 0.0, 3, turn=run))
    for attempt in range(_ATTEMPTS - 1):
        if mmvet_score(verdict) is not None:
            break
        bolder = Asked([{"role": "user", "content": message + _AGAIN}], 0.5 * attempt, 3, turn=run)
        verdict = judge.ask(bolder)
    return verdict


# Reading predictions


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read answers (an object from ids to texts, or rows) or grades: the official script's, with each run's score.

    Of a folder each file has further runs of the judge.
    """
    known = {question.id for question in task.questions}
    answers: dict[str, Any] = {}
    runs: dict[str, dict[str, list[str]]] = {}
    unmatched: list[str] = []
    where, rows = str(path), 0
    for place, row in read_rows(path):
        rows += 1
        document = row["doc"] if isinstance(row.get("doc"), dict) else row
        named = _name(document, place)
        name = named if named in known else f"v1_{named}"
        if name not in known:
            unmatched.append(named)
            continue
        judged = row.get("gpt_eval_score", row)  # lmms-eval's is in an object of its own
        if isinstance(judged, dict) and "score" in judged:
            runs.setdefault(name, {})[place.rpartition(", ")[0]] = _grade(judged["score"], place)
        text = row.get("filtered_resps", row.get("resps", row.get("text", row.get("prediction"))))
        if text is not None:
            answers[name] = as_text(text, place)
    grades = {name: list(itertools.chain(*files.values())) for name, files in runs.items()}
    same_runs(grades, where)
    names = [question.id for question in task.questions if question.id in answers or question.id in grades]
    if not names:
        what = f"none of its {len(unmatched)} predictions is for a question of this task"
        raise UserError(what, where=where, todo="check task and file")
    outputs = {name: stored_output(answers.get(name), grades.get(name, []), where) for name in names}
    notes = () if grades else ("no grades are stored: a judge is asked, if judge= names one",)
    read = what_was_read(counted(rows, "row"), with_files(path), {"to no question of this task": unmatched})
    return Predictions(outputs, tuple(unmatched), notes, read=read)


def _grade(scores: Json, place: str) -> list[str]:
    listed = scores if isinstance(scores, list) else [scores]
    verdicts = [as_text(score, place) or "" for score in listed]
    for verdict in verdicts:
        if mmvet_score(verdict) is None:
            raise UserError(f"the grade {shown(verdict)} is not a number from 0 to 1", where=place, todo="fix the row")
    return verdicts


# Scoring


def _parse(_: Sequence[Question], verdicts: Sequence[str]) -> Json:
    return [mmvet_score(verdict) or 0.0 for verdict in verdicts]


def _score(_: Sequence[Question], parsed: Json | None) -> dict[str, float] | None:
    return {"score": sum(parsed) / len(parsed)} if parsed else None


def _remarks(parsed: Sequence[Json]) -> list[str]:
    """The total of each run of the judge, as the official script shows them."""
    totals = [100 * sum(run) / len(parsed) for run in zip(*parsed, strict=True)]
    return spread("score", totals)


def _aggregate(scores: Scores) -> dict[str, float]:
    """The score of the questions that need a capability, for each."""
    integrations = masks(scores.subsets["integration"]) if "integration" in scores.subsets else {}
    found = {}
    for capability in CAPABILITIES:
        needing = [where for name, where in integrations.items() if capability in name.split("+")]
        if needing:
            found[capability] = scores.mean("score", functools.reduce(operator.or_, needing))
    return found


BENCHMARK = Benchmark(
    name="mm-vet",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Open questions that need several capabilities at once, judged by a language model",
        metrics=(
            Metric(name="score"),
            *(Metric(name=capability, kind="derived") for capability in CAPABILITIES),
        ),
        sample_noun="question",
        licence="CC BY-NC 4.0",
        source="https://github.com/yuweihao/MM-Vet",
        citation="Yu et al., MM-Vet, ICML 2024",
    ),
    prompt="bare",
    rules=(Rule("official", _parse, _score, _aggregate, remarks=_remarks),),
    max_new_tokens=1024,
    predictions=_predictions,
)
