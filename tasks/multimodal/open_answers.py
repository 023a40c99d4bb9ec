"""What the benchmarks with open answers share: scoring against several annotators, and their local files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.reading import part, shown
from .images import LazyImage
from .normalise import soft_accuracy
from .predictions import as_text
from .task import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.contracts import Json
    from .predictions import Row
    from .question import Question

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
"""How the texts of LLaVA's question files end."""


def annotators_rule(
    name: str,
    chain: Callable[[Sequence[str]], Callable[[str], str]],
    cleaned: Callable[[str], str] = str,
) -> Rule:
    """Return a rule that scores by `soft_accuracy`.

    A question without annotators cannot be scored. An answer that is missing is wrong.

    Args:
        name: Of the rule.
        chain: ``chain(humans)`` returns what normalises each of the annotators' answers, and the prediction.
        cleaned: What happens to a prediction before that.
    """

    def parse(questions: Sequence[Question], texts: Sequence[str]) -> Json:
        return chain(questions[0].target or ())(cleaned(texts[0]))

    def score(questions: Sequence[Question], parsed: Json | None) -> Mapping[str, float] | None:
        humans = questions[0].target
        if not humans:
            return None
        if parsed is None:
            return {"accuracy": 0.0}
        normalised, first = chain(humans), humans[0]
        if humans.count(first) == len(humans):  # as often
            return {"accuracy": soft_accuracy((normalised(first) == parsed,) * len(humans))}
        return {"accuracy": soft_accuracy(tuple([normalised(human) == parsed for human in humans]))}

    return Rule(name, parse, score)


def always(chain: Callable[[str], str]) -> Callable[[Sequence[str]], Callable[[str], str]]:
    """Normalise what any annotators said by one chain."""
    return lambda _: chain


def human_answers(value: Any, place: str) -> list[str] | None:
    """Return what annotators said, from a list of texts or of objects with an ``answer``; ``None`` without labels.

    Raises:
        UserError: It is something else.
    """
    if not value:
        return None
    if not isinstance(value, list):
        raise UserError("its answers are not a list", where=place, todo="fix the file")
    try:  # a few thousand texts make up millions of answers
        return [sys.intern(item["answer"] if type(item) is dict else item) for item in value]
    except (KeyError, TypeError):
        what = "an answer is neither a text nor an object with one"
        raise UserError(what, where=place, todo="fix the file") from None


def is_json(path: str) -> bool:
    """Whether a path is an official file rather than a data set."""
    return Path(path).suffix.lower() in (".json", ".jsonl")


def field(row: Row, column: str, place: str) -> str:
    """Return a cell that must be there, as text.

    Raises:
        UserError: It is missing, or neither text nor a number.
    """
    value = row.get(column)
    text = str(value) if isinstance(value, str | int) else text_of(row, column, place)
    if text is None:
        raise UserError(f"no {column}", where=place, todo="fix the file")
    return text


def text_of(row: Row, column: str, place: str) -> str | None:
    """Return a cell as text; ``None`` if it is missing.

    Raises:
        UserError: It is neither text nor a number.
    """
    value = row.get(column)
    try:
        return as_text(value, place)
    except UserError as error:
        raise UserError(f"its {column} is {shown(value)}, not text", where=place, todo="fix the file") from error


def texts_of(row: Row, column: str, place: str) -> tuple[str, ...]:
    """Return a cell that holds a list of texts; an empty one if it is missing.

    Raises:
        UserError: It holds something else.
    """
    items = part(row, column, list, place) or []
    return tuple(field({column: item}, column, place) for item in items)


def image_file(folder: str, name: str) -> LazyImage | None:
    """Return the image of that name; ``None`` if no folder is given, as when stored answers are scored."""
    return LazyImage.within(folder, name) if folder else None
