"""GQA: questions made of scene graphs, with one short answer each (Hudson and Manning, 2019)."""

from __future__ import annotations

import functools
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import TaskCard
from .open_answers import field, is_json, picture_file
from .predictions import read_predictions, read_rows
from .question import Question
from .tables import hub_table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.contracts import Json
    from .pictures import Picture
    from .predictions import Row

_NO_STEPS = ("exist", "query: name", "choose name")
"""Operations that the official script does not count as reasoning."""
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


def _rule(name: str, said: Callable[[str], str], known: Callable[[str], str]) -> Rule:
    def parse(_: Sequence[Question], texts: Sequence[str]) -> Json:
        return said(texts[0])

    def score(questions: Sequence[Question], parsed: Json | None) -> Mapping[str, float] | None:
        target = questions[0].target
        return None if target is None else {"accuracy": float(parsed == known(target))}

    return Rule(name, parse, score)


BENCHMARK = Benchmark(
    name="gqa",
    card=TaskCard(
        capability="generate",
        summary="Compositional questions on photographs, made of scene graphs",
        sample_noun="question",
        licence="CC BY 4.0",
        source="https://cs.stanford.edu/people/dorarad/gqa",
        citation="Hudson and Manning, GQA, CVPR 2019",
    ),
    prompt="short-answer",
    rules=(
        _rule("official", official, str),
        _rule("lmms-eval", lmms_eval, lmms_eval),
        _rule("vlmevalkit", vlmevalkit, vlmevalkit),
    ),
    predictions=functools.partial(
        read_predictions,
        ids=("questionId", "question_id", "id", "index"),
        texts=("text", "prediction"),  # an "answer" is the right one
    ),
)


def gqa_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
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
        images: The folder of the pictures, or a data set with the columns ``id`` and ``image``; by default the one
            beside the questions on the hub. Not needed to score answers.
        org: Who keeps the data set on the hub.
        subset: Which of its configurations, without ``_instructions`` and ``_images``.
        split: Of the data set.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read.
    """
    data = annotations or questions or f"{org}/GQA"
    file = Path(data).expanduser().is_file()
    if is_json(data):
        placed = list(read_rows(data))
    else:
        table = hub_table(data, split, "" if file else f"{subset}_instructions", revision)
        placed = [(f"{table.where} row {n}", row) for n, row in enumerate(table.rows("id", "imageId", "question"))]
    picture: Callable[[str], Picture | None] = functools.partial(_in_folder, images)
    if _holds_a_table(images):
        picture = _in_table(images, split, "", revision)
    elif not images and not file:
        picture = _in_table(data, split, f"{subset}_images", revision)
    balanced = [_question(row, place, picture) for place, row in placed if row.get("isBalanced", True)]
    return VisualQuestions(BENCHMARK, balanced, rule)


def _holds_a_table(path: str) -> bool:
    place = Path(path).expanduser()
    kinds = ("*.parquet", "*.arrow")
    return bool(path) and (not place.is_dir() or any(any(place.rglob(kind)) for kind in kinds))


def _in_folder(folder: str, image: str) -> Picture | None:
    return picture_file(folder, f"{image}.jpg")


def _in_table(data: str, split: str, config: str, revision: str) -> Callable[[str], Picture | None]:
    table = hub_table(data, split, config, revision)
    rows = {str(row["id"]): number for number, row in enumerate(table.rows("id"))}

    @functools.cache
    def picture(image: str) -> Picture | None:
        return table.picture(rows[image]) if image in rows else None

    return picture


def _question(row: Row, place: str, picture: Callable[[str], Picture | None]) -> Question:
    image, text = field(row, "imageId", place), field(row, "question", place)
    name = field(row, "id" if "id" in row else "question_id", place)
    answer = row.get("answer")
    subsets = _subsets(row, text)
    return Question(name, text, picture(image), None if answer is None else str(answer), subsets=subsets, group=image)


def _subsets(row: Row, text: str) -> dict[str, str]:
    """Where a question stands on the axes of the official script, as far as the data say."""
    types = row.get("types") or {}
    subsets = {axis: str(types[axis]) for axis in ("structural", "semantic", "detailed") if types.get(axis)}
    if "structural" in subsets:
        subsets["form"] = "open" if subsets["structural"] == "query" else "binary"
    if row.get("semantic"):
        subsets["steps"] = str(_steps(row["semantic"]))
    return subsets | {"words": str(len(text.split()))}


def _steps(program: Sequence[Mapping[str, Any]]) -> int:
    named = (f"{step['operation']}: {step['argument']}" for step in program)
    return sum(not any(part in name for part in _NO_STEPS) for name in named)
