"""TextVQA: questions about text in photographs, each with the answers of ten annotators (Singh et al., 2019)."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from ...harness.cards import TaskCard
from ...harness.errors import UserError
from .normalise import evalai, read_back, vlmevalkit
from .open_answers import SHORT_ANSWER, always, annotators_rule, field, human_answers, image_file, is_json, texts_of
from .predictions import as_text, read_predictions, read_rows
from .question import Question
from .tables import hub_table
from .task import Benchmark, ScoringOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .images import LazyImage
    from .predictions import Row
    from .tables import Table
    from .task import VisualQuestions

_OCR = "Reference OCR token: "
"""How the second line of LLaVA's prompt begins."""
_ANNOTATORS = 10
"""The official script takes no other number."""


def _key(image: str, question: str) -> str:
    """What LLaVA's script knows a question by. No image id has a blank, so no key is that of two pairs."""
    return f"{image} {question.lower()}".strip()


def _question_names(question: Question) -> list[str]:
    return [_key(question.group, question.text), question.id]


def _row_names(row: Row) -> list[str]:
    """The key of one of LLaVA's answers: its ``question_id`` is the image, and the question a line of its prompt."""
    prompt, image = row.get("prompt"), as_text(row.get("question_id"), "")
    if not isinstance(prompt, str) or image is None:
        return []
    lines = prompt.split("\n")
    return [_key(image, lines[1] if lines[0].startswith(_OCR) and len(lines) > 1 else lines[0])]


BENCHMARK = Benchmark(
    name="textvqa",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Questions about text in photographs, scored against ten annotators",
        sample_noun="question",
        licence="CC BY 4.0",
        source="https://textvqa.org",
        revision="0.5.1",
        citation="Singh et al., Towards VQA Models That Can Read, CVPR 2019",
    ),
    prompt="textvqa",
    rules=(
        annotators_rule("official", always(evalai)),
        annotators_rule("lmms-eval", always(evalai)),  # the same
        annotators_rule("vlmevalkit", always(vlmevalkit), read_back),
    ),
    predictions=functools.partial(
        read_predictions,
        ids=("question_id", "index"),
        texts=("text", "prediction", "answer"),
        row_names=_row_names,
        question_names=_question_names,
    ),
)


def textvqa_task(  # noqa: PLR0913 - one parameter is one argument of a spec
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    ocr: bool = True,
    org: str = "lmms-lab",
    split: str = "validation",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return TextVQA.

    Args:
        annotations: The official file (``TextVQA_0.5.1_val.json``); or a data set with the hub's columns: a parquet
            file or a folder. Without it, the data set of ``org`` on the hub.
        questions: LLaVA's question file (JSON lines), whose prompts hold the OCR tokens.
        images: The folder of the images. Not needed to score answers.
        ocr: Whether the prompt lists the data set's OCR tokens, as LLaVA's does; lmms-eval's and VLMEvalKit's do not.
        org: Who keeps the data set on the hub.
        split: Of the data set: ``train``, ``validation`` or ``test``.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` (which is the same) or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or questions and annotations do not belong together.
    """
    where = annotations or f"{org}/textvqa"
    if is_json(annotations):
        asked, complete = list(_local(annotations, questions, images)), bool(questions)
    else:
        table = hub_table(where, split, revision=revision)
        asked, complete = list(_hub(table)), "ocr_tokens" in table.columns
    if not ocr:
        plain = [question.replace(text=question.text.capitalize()) for question in asked]
        return replace(BENCHMARK, prompt="short-answer").task(plain, rule, where)
    if complete:
        return BENCHMARK.task(asked, rule, where)
    todo = "give questions= (LLaVA's llava_textvqa_val_v051_ocr.jsonl), or ocr=false"
    return ScoringOnly(BENCHMARK, asked, rule, where).why(f"the prompt needs OCR tokens, which {where} lacks", todo)


def _hub(table: Table) -> Iterator[Question]:
    for number, row in enumerate(table.rows("question_id", "image_id", "question")):
        place = f"{table.where} row {number}"
        yield _question(row, place, texts_of(row, "ocr_tokens", place), table.image(number))


def _local(annotations: str, questions: str, images: str) -> Iterator[Question]:
    tokens = dict(_tokens(questions)) if questions else {}
    for place, row in read_rows(annotations):
        image = field(row, "image_id", place)
        key = _key(image, field(row, "question", place))
        if questions and key not in tokens:
            raise UserError(f"it is not in {questions}", where=place, todo="give the files of one split")
        yield _question(row, place, tokens.get(key, ()), image_file(images, f"{image}.jpg"))


def _tokens(questions: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key of a question -> its OCR tokens, out of the prompts of LLaVA's question file."""
    for place, row in read_rows(questions):
        lines = field(row, "text", place).removesuffix(SHORT_ANSWER).split("\n")
        if len(lines) != 2 or not lines[1].startswith(_OCR):
            what = f"its text is not a question and a line {_OCR!r}"
            raise UserError(what, where=place, todo="give LLaVA's question file with OCR tokens")
        said = lines[1].removeprefix(_OCR)
        yield _key(field(row, "question_id", place), lines[0]), tuple(said.split(", ")) if said else ()


def _question(row: Row, place: str, ocr: tuple[str, ...], image: LazyImage | None) -> Question:
    humans = human_answers(row.get("answers"), place)
    if humans is not None and len(humans) != _ANNOTATORS and any(humans):
        raise UserError(f"{len(humans)} answers instead of {_ANNOTATORS}", where=place, todo="fix the file")
    return Question(
        field(row, "question_id", place),
        field(row, "question", place),
        image,
        humans,
        ocr=ocr,
        group=field(row, "image_id", place),
    )
