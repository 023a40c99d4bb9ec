"""POPE: is there such an object in the image? (Li et al., 2023.) Yes or no, with three ways to choose what is absent.

LLaVA-1.5's labels are those of commit e3e3926, whose random split has 2,910 questions; in later ones it has 3,000.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError
from ...harness.reading import shown
from . import yes_no
from .images import LazyImage
from .local import beside, official_rows, opened
from .open_answers import field, text_of
from .predictions import Rows, read_predictions
from .question import Question
from .subsets import masks
from .tables import Table
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ...harness.contracts import Json, Predictions, Scores
    from .predictions import Row

SPLITS = ("adversarial", "popular", "random")
_TEN_MILLION = 10_000_000
_LLAVA_SPLITS = ("adversarial", "random", "popular")
"""By the ten-millions of a question's number in LLaVA's question file."""
_RANDOM = (2910, 3000)
"""Questions of the random split in the two versions of the labels."""
_LOGGED = {"index", "doc", "resps", "filtered_resps"}
"""Columns that logs of lmms-eval and VLMEvalKit have, and no answers of LLaVA's or POPE's own."""


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
    return benchmark.task(asked, rule, annotations or f"{org}/POPE")


def _of_table(table: Table) -> Iterator[Question]:
    rows = list(table.rows("question", "answer", "category"))
    places = [f"{table.where} row {position}" for position in range(len(rows))]
    of = [field(row, "category", place) for row, place in zip(rows, places, strict=True)]
    numbers = {
        split: iter(_numbers([row for row, own in zip(rows, of, strict=True) if own == split]))
        for split in dict.fromkeys(of)
    }
    for position, (row, split, place) in enumerate(zip(rows, of, places, strict=True)):
        number, group, image = next(numbers[split]), str(row.get("image_source", "")), table.image(position)
        text, label = field(row, "question", place), field(row, "answer", place)
        yield _question(split, number, text, label, place, group, image)


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
        rows = list(official_rows(path, "text", "label"))
        for (place, row), number in zip(rows, _numbers([row for _, row in rows]), strict=True):
            name = text_of(row, "image", place) or ""  # labels alone are enough for scoring
            image, text = LazyImage.within(folder, name), field(row, "text", place)
            yield _question(split, number, text, field(row, "label", place), place, name, image)


def _numbers(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Number a split's questions from 1, with the numbers that the labels give them beside: some begin at 0."""
    own = [number for row in rows if (number := _whole(row.get("question_id"))) is not None]
    if len(set(own)) < len(rows):
        own = list(range(1, len(rows) + 1))
    starts_at_0 = 0 in own
    return [(number + starts_at_0, number) for number in own]


def _whole(name: Any) -> int | None:
    """Read a number of at most 18 digits, given as a number or as text."""
    text = str(int(name) if isinstance(name, float) and name.is_integer() else name).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _question(  # noqa: PLR0913, PLR0917 - one parameter is one thing that both sources know
    split: str, numbers: tuple[int, int], text: str, label: str, place: str, group: str, image: LazyImage | None
) -> Question:
    answer = label.strip().lower()
    if answer not in ("yes", "no"):
        raise UserError(f"the label {shown(label)} is neither yes nor no", where=place, todo="fix the data")
    subsets = {"split": split, "answer": answer}
    number, own = numbers
    return Question(f"{split}/{number}", text, image, answer, subsets=subsets, group=group, fields={"question_id": own})


# Reading predictions


def _predictions(path: Path, task: VisualQuestions, *, questions: str) -> Predictions:
    """Read LLaVA's answers, POPE's own, or a log of lmms-eval or VLMEvalKit.

    The official scripts pair the answers of a split with its labels by their order; here only answers without a
    ``question_id`` are. An answer that states another question than its label is refused.
    """
    rows = Rows(path)
    if any(_LOGGED & set(row) for _, row in itertools.islice(rows, 1)):
        ids, texts = ("id", "question_id"), ("text", "prediction")
        return read_predictions(path, task, ids=ids, texts=texts, row_names=_logged_name, question_names=_own_name)
    numbered = any(row.get("question_id") is not None for _, row in rows)
    names = _by_number(rows, task, questions) if numbered else _by_order(rows, task, path)
    named = _checked(rows, names, task, path)
    return read_predictions(path, task, ids=("question_id",), texts=("text", "prediction", "answer"), rows=named)


def _by_number(rows: Rows, task: VisualQuestions, questions: str) -> list[str]:
    """The split of each answer, and its number there.

    Numbers are those of LLaVA's question file, which tell the split, too; or those of the labels, where a category, the
    name of the file or the task tells it.
    """
    told = _told(questions) if questions else {}
    numbers = []
    for place, row in rows:
        number = _whole(row.get("question_id"))
        if number is None or (told and number not in told):
            what = f"{shown(row.get('question_id'))} is not a question of LLaVA's question file"
            raise UserError(what, where=place, todo="check questions=" if questions else "give its question_id")
        numbers.append(number)
    if told:
        return [told[number] for number in numbers]
    if max(numbers) >= _TEN_MILLION:
        places = (divmod(number, _TEN_MILLION) for number in numbers)
        return [f"{dict(enumerate(_LLAVA_SPLITS)).get(split, split)}/{number}" for split, number in places]
    own = {_own_name(question)[0]: question.id for question in task.questions}
    splits = _splits(rows, task)
    if "" in splits and len(numbers) >= 2 * len(set(numbers)):
        raise _unclear(rows, 0, task)
    names = [f"{split or _LLAVA_SPLITS[0]}/{number}" for split, number in zip(splits, numbers, strict=True)]
    return [own.get(name, name) for name in names]


def _told(questions: str) -> dict[int, str]:
    """Number in LLaVA's question file -> the split, and the number there: its order is that of the labels."""
    told: dict[int, str] = {}
    counts: dict[str, int] = defaultdict(int)
    for place, row in official_rows(Path(questions).expanduser(), "question_id", "category"):
        number, split = _whole(row["question_id"]), field(row, "category", place)
        if number is None:
            raise UserError(f"{shown(row['question_id'])} is not a number", where=place, todo="check questions=")
        counts[split] += 1
        told[number] = f"{split}/{counts[split]}"
    return told


def _by_order(rows: Rows, task: VisualQuestions, path: Path) -> list[str]:
    asked: dict[str, list[str]] = defaultdict(list)
    for question in task.questions:
        asked[question.subsets["split"]].append(question.id)
    splits = _splits(rows, task)
    if "" in splits:
        raise _unclear(rows, splits.index(""), task)
    for split in set(splits) & set(asked):
        if splits.count(split) != len(asked[split]):
            raise _other_version(splits.count(split), len(asked[split]), split, path)
    places = {split: iter(asked[split] or map(f"{split}/{{}}".format, itertools.count(1))) for split in splits}
    return [next(places[split]) for split in splits]


def _splits(rows: Rows, task: VisualQuestions) -> list[str]:
    """The split of each row: that of its category or its file's name, or the only one of the task; else empty."""
    asked = list(dict.fromkeys(question.subsets["split"] for question in task.questions))
    known = dict.fromkeys((*asked, *SPLITS))
    found = []
    for place, row in rows:
        file = place.rpartition(", ")[0].rpartition("/")[2]
        named = (
            [stated]
            if (stated := text_of(row, "category", place)) in known
            else [name for name in known if name in file] or asked
        )
        found.append(named[0] if len(named) == 1 else "")
    return found


def _unclear(rows: Rows, number: int, task: VisualQuestions) -> UserError:
    place, _ = next(itertools.islice(rows, number, None))
    splits = ", ".join(dict.fromkeys(question.subsets["split"] for question in task.questions))
    what = f"it is not clear which of the splits {splits} this is"
    return UserError(what, where=place, todo="put the split into the name of the file")


def _other_version(given: int, asked: int, split: str, path: Path) -> UserError:
    what = f"{given:,} answers to the {asked:,} questions of the {split} split"
    todo = "take the labels that the answers were made for (the random split of commit e3e3926 has 2,910)"
    return UserError(what, where=str(path), todo=todo)


def _checked(
    rows: Rows, names: Sequence[str], task: VisualQuestions, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows under their names; refuse answers to other questions than those of the task, if they tell."""
    known = {question.id: question for question in task.questions}
    untold = set()
    for (place, row), name in zip(rows, names, strict=True):
        stated = _plain(str(row.get("prompt") or row.get("question") or ""))
        if not stated:
            untold.add(name)
        elif name in known and _plain(known[name].text) not in stated:
            stated = stated.partition("\n")[0]
            what = f"this answers {stated!r}, but the label is for {known[name].text!r}"
            raise UserError(what, where=place, todo="take the labels that the answers were made for")
        yield place, {**row, "question_id": name}
    given, asked = (sum(name.startswith("random/") for name in found) for found in (untold, known))
    if {given, asked} == set(_RANDOM):
        raise _other_version(given, asked, "random", path)


def _plain(text: str) -> str:
    return text.strip().replace("imange", "image")  # a slip of the pen in some versions of the questions


def _own_name(question: Question) -> list[str]:
    """The split, and the number that the labels give a question."""
    return [f"{question.subsets['split']}/{question.fields['question_id']}"]


def _logged_name(row: Row) -> list[str]:
    """How a log of lmms-eval tells the question: its number within the category."""
    return [f"{row.get('category')}/{row.get('question_id')}"]


# Scoring


def _rule(name: str, read: Callable[[str], str], aggregate: Callable[[Scores], Mapping[str, float]]) -> Rule:
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

    return Rule(name, parse, score, aggregate)


def _aggregate(scores: Scores, *, by_split: bool, unread_is_no: bool, nothing: float) -> dict[str, float]:
    """Precision, recall and F1 of "yes".

    Args:
        scores: Of questions that are on the axes ``split`` and ``answer``.
        by_split: Take the mean over the splits instead of one value over all questions.
        unread_is_no: An answer that could not be read counts as a "no".
        nothing: What 0 / 0 is.
    """
    if "counted" not in scores.kept:
        scores.kept["counted"] = _counted(scores, by_split=by_split, unread_is_no=unread_is_no)
    found = []
    for asked, hits, misses, false in (scores.kept["counted"] @ scores.weights).tolist():
        if asked:
            precision, recall = _share(hits, hits + false, nothing), _share(hits, hits + misses, nothing)
            found.append((_share(2 * precision * recall, precision + recall, nothing), precision, recall))
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return dict(zip(("F1", "precision", "recall"), means, strict=False))


def _counted(scores: Scores, *, by_split: bool, unread_is_no: bool) -> npt.NDArray[np.float64]:
    """Of each split, which answers are its own, and of those the "yes" that is right, missed and wrong: [splits, 4, n].

    Arguments as in `_aggregate`.
    """
    import numpy as np

    right, unread = scores.values["accuracy"], scores.values["unread"]
    wrong = 1 - right if unread_is_no else 1 - right - unread
    yes = masks(scores.subsets["answer"]).get("yes", right < 0)  # all false, if there is none
    kinds = np.stack([np.ones_like(right), right * yes, wrong * yes, (1 - right - unread) * ~yes])
    splits = masks(scores.subsets["split"]).values() if by_split else [np.ones_like(right)]
    return np.stack([kinds * split for split in splits])


def _share(part: float, whole: float, nothing: float) -> float:
    return part / whole if whole else nothing


RULES = (
    _rule(
        "official",
        yes_no.pope_official,
        functools.partial(_aggregate, by_split=True, unread_is_no=False, nothing=math.nan),
    ),
    _rule(
        "lmms-eval",
        yes_no.pope_lmms_eval,
        functools.partial(_aggregate, by_split=False, unread_is_no=False, nothing=0.0),
    ),
    _rule(
        "vlmevalkit", yes_no.vlmevalkit, functools.partial(_aggregate, by_split=False, unread_is_no=True, nothing=0.0)
    ),
)
BENCHMARK = Benchmark(
    name="pope",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Is there such an object in the image? Yes or no",
        metrics=(
            Metric(name="accuracy"),
            Metric(name="F1", kind="derived"),
            Metric(name="precision", kind="derived"),
            Metric(name="recall", kind="derived"),
            Metric(name="yes ratio", better="neither"),
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
