"""POPE: is there such an object in the picture? (Li et al., 2023.) Yes or no, with three ways to choose what is absent.

LLaVA-1.5's labels are those of commit e3e3926, whose random split has 2,910 questions; in later ones it has 3,000.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Predictions
from ...harness.errors import UserError
from . import yes_no
from .local import beside, official_rows, opened
from .pictures import Picture
from .predictions import as_text, read_predictions, read_rows
from .question import Question
from .subsets import masks
from .tables import Table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...harness.contracts import Json, Scores

SPLITS = ("adversarial", "popular", "random")
_TEN_MILLION = 10_000_000
_LLAVA_SPLITS = ("adversarial", "random", "popular")
"""By the ten-millions of a question's number in LLaVA's question file."""


def pope_task(
    annotations: str = "",
    questions: str = "",
    images: str = "",
    *,
    org: str = "lmms-lab",
    revision: str = "",
    rule: str = "official",
) -> VisualQuestions:
    """Return POPE.

    Args:
        annotations: The official label files (``coco_pope_random.json``, ...), one or the folder that has them; or a
            data set with the hub's columns: a parquet file or a folder. Without it, the data set of ``org``.
        questions: LLaVA's question file, which tells the split of LLaVA's answers. Without it their numbers do.
        images: Folder of COCO's val2014; by default ``val2014`` beside the label files.
        org: Who keeps the data set on the hub.
        revision: Of the data set.
        rule: ``official``, ``lmms-eval`` or ``vlmevalkit``.

    Raises:
        UserError: A file cannot be read, or is not what it should be.
    """
    source = opened(annotations, f"{org}/POPE", "test", revision=revision)
    asked = _of_table(source) if isinstance(source, Table) else _of_files(source, images)
    benchmark = replace(BENCHMARK, predictions=functools.partial(_predictions, questions=questions))
    return VisualQuestions(benchmark, list(asked), rule)


def _of_table(table: Table) -> Iterator[Question]:
    counts: dict[str, int] = defaultdict(int)
    for number, row in enumerate(table.rows("question", "answer", "category")):
        split = row["category"]
        counts[split] += 1
        place, picture = f"{table.where} row {number}", table.picture(number)
        yield _question(
            split, counts[split], row["question"], row["answer"], place, str(row.get("image_source", "")), picture
        )


def _of_files(source: Path, images: str) -> Iterator[Question]:
    files = {}
    for split in SPLITS:
        places = [source] if source.is_file() else sorted(source.rglob(f"*pope_{split}.json"))
        files.update({path: split for path in places if f"pope_{split}" in path.name})
    if not files or len(set(files.values())) < len(files):
        raise UserError(
            f"it has {len(files)} label files of POPE", where=str(source), todo="give the folder of one set of images"
        )
    folder = beside(source, images, "val2014", "coco/val2014")
    for path, split in files.items():
        for number, (place, row) in enumerate(official_rows(path, "text", "label", "image"), 1):
            picture = Picture.file(folder / row["image"])
            yield _question(split, number, row["text"], row["label"], place, row["image"], picture)


def _question(  # noqa: PLR0913, PLR0917 - one parameter is one thing that both sources know
    split: str, number: int, text: str, label: str, place: str, group: str, picture: Picture | None
) -> Question:
    answer = label.strip().lower()
    if answer not in ("yes", "no"):
        raise UserError(f"the label {label!r} is neither yes nor no", where=place, todo="mend the data")
    subsets = {"split": split, "answer": answer}
    return Question(f"{split}/{number}", text, picture, answer, subsets=subsets, group=group)


# Reading predictions


class _Answer(NamedTuple):
    place: str
    number: int
    row: Mapping[str, Any]


def _predictions(path: Path, task: VisualQuestions, *, questions: str) -> Predictions:
    """Read LLaVA's answers, POPE's own, or a log of lmms-eval or VLMEvalKit.

    The official script pairs the answers of a split with its labels by their order, and so do we where there are as
    many of both; an answer that states another question than its label is refused. Where some are missing, LLaVA's
    numbers pair them, if the answers state their questions.
    """
    place, first = next(read_rows(path), (str(path), {}))
    if "text" in first and "question_id" in first:
        answers = _by_split(path, questions)
    elif "question" in first and "answer" in first and not {"prediction", "doc", "resps"} & set(first):
        answers = _own_format(path, task)
    else:
        ids, texts = ("id", "question_id"), ("text", "prediction")
        return read_predictions(path, task, ids=ids, texts=texts, row_names=_logged_name)
    if not answers:
        raise UserError("it has no predictions", where=place, todo="check the file")
    outputs: dict[str, Json] = {}
    unmatched: list[str] = []
    for split, given in answers.items():
        asked = [question for question in task.questions if question.subsets["split"] == split]
        if not asked:
            unmatched += [f"{split}/{answer.number}" for answer in given]
            continue
        for question, answer in _paired(split, asked, given, path):
            text = answer.row.get("text", answer.row.get("answer"))
            outputs[question.id] = as_text(text, answer.place)
    if not outputs:
        what = f"none of its {len(unmatched)} predictions is for a question of this task"
        raise UserError(what, where=str(path), todo="check task and file")
    return Predictions({q.id: outputs[q.id] for q in task.questions if q.id in outputs}, tuple(unmatched))


def _by_split(path: Path, questions: str) -> dict[str, list[_Answer]]:
    """LLaVA's answers by split, in the order of the file."""
    told = {}
    if questions:
        rows = official_rows(Path(questions).expanduser(), "question_id", "category")
        told = {str(row["question_id"]): str(row["category"]) for _, row in rows}
    answers: dict[str, list[_Answer]] = {}
    for place, row in read_rows(path):
        name = as_text(row.get("question_id"), place) or ""
        if not (name.isascii() and name.isdecimal()) or (told and name not in told):
            raise UserError(f"{name!r} is no question of LLaVA's question file", where=place, todo="check questions=")
        number = int(name)
        split = told.get(name) or _LLAVA_SPLITS[min(number // _TEN_MILLION, 2)]
        answers.setdefault(split, []).append(_Answer(place, number % _TEN_MILLION, row))
    return answers


def _own_format(path: Path, task: VisualQuestions) -> dict[str, list[_Answer]]:
    """POPE's own answers: one file a split, whose name tells the split; of a task with one split, any name."""
    splits = list(dict.fromkeys(question.subsets["split"] for question in task.questions))
    answers: dict[str, list[_Answer]] = {}
    for place, row in read_rows(path):
        file = place.rpartition(", ")[0].rpartition("/")[2]
        named = [split for split in splits if split in file] or splits
        if len(named) > 1:
            raise UserError(
                f"it is not clear which of the splits {', '.join(named)} this is",
                where=place,
                todo="put the split into the name of the file",
            )
        given = answers.setdefault(named[0], [])
        given.append(_Answer(place, len(given) + 1, row))
    return answers


def _paired(
    split: str, asked: Sequence[Question], given: Sequence[_Answer], path: Path
) -> Iterator[tuple[Question, _Answer]]:
    if len(given) == len(asked):
        pairs = list(zip(asked, given, strict=True))
    elif len(given) < len(asked) and all(_stated(answer) for answer in given):
        pairs = [(asked[answer.number - 1], answer) for answer in given if 1 <= answer.number <= len(asked)]
    else:
        raise UserError(
            f"{len(given):,} answers to the {len(asked):,} questions of the {split} split",
            where=str(path),
            todo="take the labels that the answers were made for (the random split of commit e3e3926 has 2,910)",
        )
    for question, answer in pairs:
        stated = _stated(answer)
        if stated and stated != _plain(question.text):
            raise UserError(
                f"this answers {stated!r}, but the label is for {question.text!r}",
                where=answer.place,
                todo="take the labels that the answers were made for",
            )
        yield question, answer


def _stated(answer: _Answer) -> str:
    """The question as the answer states it, if it does."""
    return _plain(str(answer.row.get("prompt") or answer.row.get("question") or "").split("\n", maxsplit=1)[0])


def _plain(text: str) -> str:
    return text.strip().replace("imange", "image")  # a slip of the pen in some versions of the questions


def _logged_name(row: Mapping[str, Any]) -> list[str]:
    """How a log of lmms-eval tells the question: its number within the category."""
    return [f"{row.get('category')}/{row.get('question_id')}"]


# Scoring


def _rule(name: str, read: Callable[[str], str], figures: Callable[[Scores], Mapping[str, float]]) -> Rule:
    def parse(_: Sequence[Question], texts: Sequence[str]) -> str | None:
        word = read(texts[0])
        return None if word == "other" else word

    def score(questions: Sequence[Question], parsed: Json | None) -> dict[str, float]:
        truth = questions[0].target
        # lmms-eval takes the labels for the answers here, so that its ratio is a constant of the benchmark.
        said = truth if name == "lmms-eval" else parsed
        return {
            "accuracy": float(parsed == truth),
            "yes ratio": float(said == "yes"),
            "unread": float(parsed is None),
        }

    return Rule(name, parse, score, figures)


def _figures(scores: Scores, *, by_split: bool, unread_is_no: bool, nothing: float) -> dict[str, float]:
    """Precision, recall and F1 of "yes".

    Args:
        scores: Of questions that are on the axes ``split`` and ``answer``.
        by_split: Take the mean of the splits' figures instead of the figures of all questions.
        unread_is_no: An answer that could not be read counts as a "no".
        nothing: What 0 / 0 is.
    """
    right, unread = scores.values["accuracy"], scores.values["unread"]
    wrong = 1 - right if unread_is_no else 1 - right - unread
    yes = masks(scores.subsets["answer"]).get("yes", right < 0)  # nobody, if there is none
    false_yes = (1 - right - unread) * ~yes
    splits = masks(scores.subsets["split"]).values()
    parts = [scores.weights * split for split in splits] if by_split else [scores.weights]
    found = []
    for weights in parts:
        if weights.any():
            hits, misses = float(weights @ (right * yes)), float(weights @ (wrong * yes))
            false = float(weights @ false_yes)
            precision, recall = _share(hits, hits + false, nothing), _share(hits, hits + misses, nothing)
            found.append((_share(2 * precision * recall, precision + recall, nothing), precision, recall))
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return dict(zip(("F1", "precision", "recall"), means, strict=False))


def _share(part: float, whole: float, nothing: float) -> float:
    return part / whole if whole else nothing


RULES = (
    _rule(
        "official",
        yes_no.pope_official,
        functools.partial(_figures, by_split=True, unread_is_no=False, nothing=math.nan),
    ),
    _rule(
        "lmms-eval", yes_no.pope_lmms_eval, functools.partial(_figures, by_split=False, unread_is_no=False, nothing=0.0)
    ),
    _rule("vlmevalkit", yes_no.vlmevalkit, functools.partial(_figures, by_split=False, unread_is_no=True, nothing=0.0)),
)
BENCHMARK = Benchmark(
    name="pope",
    card=TaskCard(
        capability="generate",
        summary="Is there such an object in the picture? Yes or no",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="F1", kind="derived"),
            Metric(name="precision", kind="derived"),
            Metric(name="recall", kind="derived"),
            Metric(name="yes ratio"),
            Metric(name="unread", better="lower"),
        ),
        sample_noun="question",
        chance=0.5,
        licence="MIT",
        source="https://github.com/AoiDragon/POPE",
        citation="Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023",
    ),
    prompt="short-answer",
    rules=RULES,
    predictions=functools.partial(_predictions, questions=""),
)
