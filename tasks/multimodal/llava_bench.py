"""LLaVA-Bench (in the wild): open questions on 24 images, judged against a reference answer (Liu et al., 2023)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Predictions
from ...harness.errors import UserError
from ...harness.predictions import counted, what_was_read
from ...harness.reading import read_json, shown
from .images import LazyImage
from .judged import (
    JudgedQuestions,
    LlavaBenchSummary,
    judge_for,
    llava_bench_lmms_eval,
    llava_bench_official,
    llava_bench_summary,
    same_runs,
    spread,
    stored_output,
)
from .local import beside, found, labelled, official_rows, opened
from .open_answers import field, text_of, texts_of
from .predictions import as_text, read_rows, with_files
from .question import Question
from .tables import Table
from .task import Benchmark, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ...harness.contracts import Json, Scores
    from .judge import Judge
    from .judged import Pair
    from .predictions import Row
    from .task import VisualQuestions

_SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
"""The system message of the protocol."""
_RULE_PREFIX = "llava_bench_"
"""Before a category's name in the files of rules and reviews."""


def llava_bench_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    *,
    images: str = "",
    judge: str = "",
    rubric: str = "",
    verdicts: str = "",
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
    predictions: str = "",
) -> JudgedQuestions:
    """Return LLaVA-Bench (in the wild). Without ``judge`` only stored reviews can be scored.

    Args:
        annotations: The folder of ``questions.jsonl``, ``context.jsonl`` and ``answers_gpt4.jsonl``; or a data set with
            the hub's columns: a parquet file or a folder. Without it, the data set of ``org``.
        images: Folder of the images; by default ``images`` beside the files.
        judge: Name of the language model that judges, such as ``gpt-4-0314``; see `judge` for where it is asked.
        rubric: LLaVA's ``rule.json``, which says what the judge is told.
        verdicts: File in which the judge's verdicts are kept; by default one in the user's cache.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.
        predictions: Reviews, whose questions and categories are taken where there are no annotations; `score` gives
            what it scores.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    where = annotations or f"{org}/llava-bench-in-the-wild"
    own = [] if annotations or judge else labelled(predictions, "category")
    if own:
        where, asked = predictions, _of_reviews(own)
    else:
        source = opened(annotations, where, "train", revision=revision)
        asked = list(_of_table(source) if isinstance(source, Table) else _of_folder(source, images))
    ask = functools.partial(_judged, judge_for(judge, verdicts), read_rules(rubric, asked)) if judge else None
    return JudgedQuestions(BENCHMARK, asked, rule, ask, where)


def _of_reviews(rows: Sequence[tuple[str, Row]]) -> list[Question]:
    """The questions of reviews, which have their categories; several runs are of the same ones."""
    named = {_name(row, place): (place, row) for place, row in rows}
    return [
        _question({**row, "question_id": name, "question": row.get("question") or ""}, place, name, None)
        for name, (place, row) in named.items()
    ]


def _name(row: Row, place: str) -> str:
    return as_text(row.get("question_id", row.get("index")), place) or ""


def _of_table(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows("question_id", "question", "category")):
        place = f"{table.where} row {number}"
        asked = {**row, "reference": row.get("gpt_answer")}
        yield _question(asked, place, text_of(row, "image_id", place) or "", table.image(number))


def _of_folder(source: Path, images: str) -> Iterator[Question]:
    home = source if source.is_dir() else source.parent
    captions, references = {}, {}
    if (home / "context.jsonl").is_file():
        rows = official_rows(home / "context.jsonl", "image", "caption")
        captions = {field(row, "image", place): row["caption"] for place, row in rows}
    if (home / "answers_gpt4.jsonl").is_file():
        rows = official_rows(home / "answers_gpt4.jsonl", "question_id", "text")
        references = {field(row, "question_id", place): field(row, "text", place) for place, row in rows}
    folder = beside(home, images, "images")
    for place, row in official_rows(found(home, "questions.jsonl"), "question_id", "image", "text", "category"):
        image, name = field(row, "image", place), field(row, "question_id", place)
        beside_it = {"question": row["text"], "caption": captions.get(image), "reference": references.get(name)}
        yield _question({**row, **beside_it}, place, image, LazyImage.within(folder, image))


def _question(row: Mapping[str, Any], place: str, group: str, image: LazyImage | None) -> Question:
    several = isinstance(row.get("caption"), list)
    context = "\n".join(texts_of(row, "caption", place)) if several else text_of(row, "caption", place) or ""
    category = field(row, "category", place).removeprefix(_RULE_PREFIX)
    fields = {"context": context, "reference": text_of(row, "reference", place)}
    name, text = field(row, "question_id", place), field(row, "question", place)
    return Question(name, text, image, subsets={"category": category}, group=group, fields=fields)


# Judging


def read_rules(path: str, questions: Sequence[Question]) -> dict[str, dict[str, str]]:
    """Return what the judge is told of each category: ``prompt``, and what it calls the answers: ``role``.

    Args:
        path: LLaVA's ``rule.json``.
        questions: Those whose categories must be there.

    Raises:
        UserError: There is no such file, or a category is missing.
    """
    if not path:
        raise UserError("the judge has no rubric", where="task llava-bench", todo="give rubric=, LLaVA's rule.json")
    content = read_json(path)
    rules = {}
    for category in {question.subsets["category"] for question in questions}:
        rule = content.get(f"{_RULE_PREFIX}{category}") if isinstance(content, dict) else None
        if not isinstance(rule, dict) or not isinstance(rule.get("prompt"), str) or not rule.get("role"):
            raise UserError(f"it has no rule {_RULE_PREFIX}{category}", where=path, todo="give LLaVA's rule.json")
        rules[category] = {"prompt": rule["prompt"], "role": str(rule["role"])}
    return rules


def _judged(judge: Judge, rules: Mapping[str, Mapping[str, str]], question: Question, answer: str) -> list[str]:
    from .judge import Asked

    rule, reference = rules[question.subsets["category"]], question.fields["reference"]
    if reference is None:
        raise UserError("it has no reference answer", where=f"question {question.id}", todo="add answers_gpt4.jsonl")
    role = rule["role"]
    message = (
        f"[Context]\n{question.fields['context']}\n\n"
        f"[Question]\n{question.text}\n\n"
        f"[{role} 1]\n{reference}\n\n[End of {role} 1]\n\n"
        f"[{role} 2]\n{answer}\n\n[End of {role} 2]\n\n"
        f"[System]\n{rule['prompt']}\n\n"
    )
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": message}]
    return [judge.ask(Asked(messages, 0.2, 1024))]


# Reading predictions


def _predictions(path: Path, task: VisualQuestions) -> Predictions:
    """Read LLaVA's answers, or reviews - of several runs of the judge a file each -, or a log of another harness."""
    known = {question.id for question in task.questions}
    texts: dict[str, Any] = {}
    verdicts: dict[str, dict[str, str]] = {}
    unmatched: list[str] = []
    rows = odd = 0
    for place, row in read_rows(path):
        rows += 1
        name = _name(row["doc"] if isinstance(row.get("doc"), dict) else row, place)
        if name not in known:
            unmatched.append(name)
            continue
        file = place.rpartition(", ")[0]
        if file in verdicts.setdefault(name, {}) or (name in texts and texts[name] is not None):
            raise UserError(f"question {name} appears twice", where=place, todo="give a file for each run of the judge")
        verdict = _review(row, place)
        odd += verdict is not None and "content" in row and verdict != row["content"]
        texts[name] = row.get("filtered_resps", row.get("resps", row.get("text", row.get("prediction"))))
        if verdict is None and texts[name] is None:
            raise UserError("neither an answer nor a review", where=place, todo="check that these are predictions")
        if verdict is not None:
            verdicts[name][file] = verdict
    if not texts:
        what = f"none of its {len(unmatched)} predictions is for a question of this task"
        raise UserError(what, where=str(path), todo="check task and file")
    judged = {name: list(runs.values()) for name, runs in verdicts.items()}
    same_runs(judged, str(path))
    notes = (f"{odd} reviews have other scores than their text says: the scores count",) if odd else ()
    if not any(judged.values()):
        notes = (*notes, "no reviews are stored: a judge is asked, if judge= names one")
    names = [question.id for question in task.questions if question.id in texts]
    outputs = {name: stored_output(texts[name], judged[name], str(path)) for name in names}
    read = what_was_read(counted(rows, "row"), with_files(path), {"to no question of this task": unmatched})
    return Predictions(outputs, tuple(unmatched), notes, read=read)


def _review(row: Mapping[str, Any], place: str) -> str | None:
    """The verdict in a row: its text where that says what its scores are, else the scores.

    Scores are in ``tuple`` (LLaVA) or in ``gpt4_score`` and ``score`` (VLMEvalKit); lmms-eval has the text.
    """
    judged = row.get("gpt_eval_llava_all")  # lmms-eval
    content = judged.get("review") if isinstance(judged, dict) else row.get("content")
    if "gpt4_score" in row and "score" in row:
        pair: Any = [row["gpt4_score"], row["score"]]
    else:
        pair = row.get("tuple")
    if pair is None:
        return content if isinstance(content, str) else None
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(score, int | float) for score in pair):
        raise UserError(f"the scores {shown(pair)} are not two numbers", where=place, todo="fix the row")
    if isinstance(content, str) and list(llava_bench_official(content)) == [float(score) for score in pair]:
        return content
    return f"{pair[0]} {pair[1]}"


# Scoring


def _rule(name: str, read: Callable[[str], Pair], *, rounded: bool = True) -> Rule:
    def parse(_: Sequence[Question], verdicts: Sequence[str]) -> list[list[float]]:
        return [list(read(verdict)) for verdict in verdicts]

    def aggregate(scores: Scores) -> dict[str, float]:
        import numpy as np

        if "points" not in scores.kept:
            scores.kept["points"] = np.array(scores.parsed, dtype=float)
        runs = _summaries(scores.kept["points"], scores.weights, rounded=rounded)
        means = dict(zip(LlavaBenchSummary._fields, np.mean(runs, axis=0).tolist(), strict=True))
        return means if rounded else {"ratio": means["ratio"]}

    def remarks(parsed: Sequence[Json]) -> list[str]:
        import numpy as np

        points = np.array(parsed, dtype=float)
        return spread("ratio", [run.ratio for run in _summaries(points, None, rounded=rounded)]) if len(points) else []

    return Rule(name, parse, _score, aggregate, version=2, remarks=remarks)


def _summaries(
    points: npt.NDArray[np.float64], weights: npt.NDArray[np.floating] | None, *, rounded: bool
) -> list[LlavaBenchSummary]:
    """The summary of each run of the judge; points are float64 [questions, runs, reference and model]."""
    runs = range(points.shape[1])
    return [llava_bench_summary(points[:, run, 0], points[:, run, 1], weights, rounded=rounded) for run in runs]


def _score(_: Sequence[Question], parsed: Json | None) -> dict[str, float] | None:
    if not parsed:
        return None
    reference, model = (sum(points) / len(parsed) for points in zip(*parsed, strict=True))
    return {"model": 10 * model, "reference": 10 * reference}


BENCHMARK = Benchmark(
    name="llava-bench",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Open questions on images from the wild, judged against a reference answer",
        metrics=(
            Metric(name="model", unit=""),
            Metric(name="reference", unit=""),
            Metric(name="ratio", unit="", kind="derived"),
        ),
        sample_noun="question",
        licence="Apache-2.0",
        source="https://huggingface.co/datasets/liuhaotian/llava-bench-in-the-wild",
        citation="Liu et al., Visual Instruction Tuning, NeurIPS 2023",
    ),
    prompt="bare",
    rules=(
        _rule("official", llava_bench_official),
        _rule("lmms-eval", llava_bench_lmms_eval),
        _rule("vlmevalkit", llava_bench_official, rounded=False),
    ),
    max_new_tokens=1024,
    predictions=_predictions,
)
