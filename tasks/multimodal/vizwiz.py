"""VizWiz: questions that blind people asked of their own photographs, each with ten answers (Gurari et al., 2018)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError
from ...harness.reading import shown
from .normalise import evalai, read_back, vizwiz, vlmevalkit
from .open_answers import SHORT_ANSWER, always, annotators_rule, field, human_answers, image_file, is_json, text_of
from .predictions import read_predictions, read_rows
from .question import Question
from .tables import hub_table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...harness.contracts import Json, Scores

_UNANSWERABLE = "unanswerable"
_SUFFIX = f"\nWhen the provided information is insufficient, respond with 'Unanswerable'.{SHORT_ANSWER}"
"""How the texts of LLaVA's question file end."""


def _rule(name: str, chain: Callable[[str], str], cleaned: Callable[[str], str]) -> Rule:
    """A rule that also asks whether an answer is "unanswerable", which the official script counts by itself."""
    plain = annotators_rule(name, always(chain), cleaned)

    def score(questions: Sequence[Question], parsed: Json | None) -> Mapping[str, float] | None:
        scores = plain.score(questions, parsed)
        return scores and {**scores, "said unanswerable": float(parsed == _UNANSWERABLE)}

    return Rule(name, plain.parse, score, aggregate=_unanswerable)


def _unanswerable(scores: Scores) -> Mapping[str, float]:
    """F1 and average precision of "unanswerable", which an answer says or does not say: a curve of two points."""
    known = scores.subsets.get("answerable")
    if known is None:
        return {}
    said, weights = scores.values["said unanswerable"], scores.weights
    true = (known == "no").astype(float)
    hits, claims = float(weights @ (said * true)), float(weights @ said)
    total, positives = float(weights.sum()), float(weights @ true)
    if not total or not positives:
        return {}
    recall = hits / positives
    precision = hits / claims if claims else 0.0
    return {
        "unanswerable F1": 2 * hits / (claims + positives),
        "unanswerable average precision": recall * precision + (1 - recall) * positives / total,
    }


def _names(question: Question) -> list[str]:
    """The name of the image with and without its ending, and its number, which is the id in LLaVA's question file."""
    return [question.id, f"{question.id}.jpg", question.id.rpartition("_")[2].lstrip("0") or "0"]


def write_submission(outputs: Mapping[str, Json], task: VisualQuestions, path: Path) -> None:
    """Write what the server takes: a JSON list of ``image`` and ``answer``, as LLaVA's script writes it.

    Answers pass through the EvalAI processor.

    Raises:
        UserError: A question has no answer.
    """
    from ...harness.store.files import write_atomic  # with it comes numpy, which a list of tasks does not need

    names = [question.id for question in task.questions]
    missing = [name for name in names if name not in outputs]
    if missing:
        what = f"{len(missing)} questions have no answer, {missing[0]} first"
        raise UserError(what, where=str(path), todo="a submission needs all of them")
    rows = [{"image": f"{name}.jpg", "answer": evalai(outputs[name] or "")} for name in names]
    write_atomic(path, json.dumps(rows).encode())


BENCHMARK = Benchmark(
    name="vizwiz",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Questions that blind people asked of their photographs, scored against ten annotators",
        sample_noun="question",
        licence="CC BY 4.0",
        source="https://vizwiz.org",
        citation="Gurari et al., VizWiz Grand Challenge, CVPR 2018",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="said unanswerable"),
            Metric(name="unanswerable F1", kind="derived"),
            Metric(name="unanswerable average precision", kind="derived"),
        ),
    ),
    prompt="vizwiz",
    rules=(
        _rule("official", str, vizwiz),
        # What LLaVA-1.5 reports: its predictions pass through the EvalAI processor before they are uploaded.
        _rule("llava", str, lambda text: vizwiz(evalai(text))),
        _rule("lmms-eval", evalai, str),
        _rule("vlmevalkit", vlmevalkit, read_back),
    ),
    predictions=functools.partial(
        read_predictions,
        ids=("question_id", "image"),
        texts=("text", "prediction", "answer"),
        question_names=_names,
    ),
    submission=write_submission,
)


def vizwiz_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    org: str = "lmms-lab",
    split: str = "val",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return VizWiz.

    Args:
        annotations: The official file (``val.json``, ``test.json``); or a data set with the hub's columns: a parquet
            file or a folder. Without it and without ``questions``, the data set of ``org`` on the hub.
        questions: LLaVA's question file (JSON lines), if there is no official one; nothing can be scored then.
        images: The folder of the images. Not needed to score answers.
        org: Who keeps the data set on the hub.
        split: Of the data set: ``val`` or ``test``.
        revision: Of the data set.
        rule: ``official``, ``llava`` (the same after LLaVA's cleaning), ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read.
    """
    if is_json(annotations) or (questions and not annotations):
        asked = list(_local(annotations or questions, images))
    else:
        asked = list(_hub(annotations or f"{org}/VizWiz-VQA", split, revision))
    return BENCHMARK.task(asked, rule, annotations or questions or f"{org}/VizWiz-VQA")


def _hub(data: str, split: str, revision: str) -> Iterator[Question]:
    table = hub_table(data, split, revision=revision)
    for number, row in enumerate(table.rows("question_id", "question")):
        place = f"{table.where} row {number}"
        category = text_of(row, "category", place) or ""
        subsets = {"category": category, "answerable": "no" if category == _UNANSWERABLE else "yes"} if category else {}
        name = Path(field(row, "question_id", place)).stem
        humans = human_answers(row.get("answers"), place)
        yield Question(name, field(row, "question", place), table.image(number), humans, subsets=subsets, group=name)


def _local(path: str, images: str) -> Iterator[Question]:
    for place, row in read_rows(path):
        image = field(row, "image", place)
        text = field(row, "question" if "question" in row else "text", place).removesuffix(_SUFFIX)
        kind, answerable = text_of(row, "answer_type", place), row.get("answerable")
        subsets = {"category": kind} if kind else {}
        if answerable not in (None, 0, 1):
            what = f"its answerable is {shown(answerable)}, neither 0 nor 1"
            raise UserError(what, where=place, todo="fix the file")
        if answerable is not None:
            subsets["answerable"] = "yes" if answerable else "no"
        humans, name = human_answers(row.get("answers"), place), Path(image).stem
        yield Question(name, text, image_file(images, image), humans, subsets=subsets, group=name)
