"""Scores of an answer against its truth, and which of two operations it shows (facts: dissertation B.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RIGHT = "right"
ORDERS = ("first, then second", "second, then first")
"""The orders in which two operations may be applied."""
MISTAKES = ("first only", "second only", "copied")
OTHER = "other"


def first_line(text: str) -> str:
    """Return what a model said up to its first line break, without blanks around it."""
    return text.partition("\n")[0].strip()


def word_match(answer: str, truth: str) -> float:
    """Return the share of the truth's words that the answer has in their places; further words are free."""
    right = truth.split()
    return sum(said == word for said, word in zip(answer.split(), right, strict=False)) / len(right)


def exact_match(answer: str, truth: str) -> float:
    """Return 1 if the answer is the truth, blanks around it aside, else 0."""
    return float(answer.strip() == truth.strip())


def contains(answer: str, truth: str) -> float:
    """Return 1 if the truth stands anywhere in the answer, else 0: 4360 contains 436."""
    return float(truth in answer)


def best(answer: str, truths: Iterable[str]) -> dict[str, float]:
    """Return the scores against that accepted truth which suits each of them best."""
    truths = list(truths)
    return {
        "word match": max(word_match(answer, truth) for truth in truths),
        "exact match": max(exact_match(answer, truth) for truth in truths),
        "contains": max(contains(answer, truth) for truth in truths),
    }


def applied(answer: str, target: Mapping[str, Any]) -> str:
    """Return what an answer shows to have been done with its input.

    Args:
        answer: What the model said.
        target: ``answers``: the accepted ones; ``readings``: one of `ORDERS` or `MISTAKES` -> the texts that it leads
            to; ``marks``: signs of the input, which do not count when mistakes are told apart.

    Returns:
        `RIGHT`, followed by the order where the two orders lead to different answers, one of `MISTAKES`, or `OTHER`.
    """
    readings: Mapping[str, list[str]] = target["readings"]
    if answer in target["answers"]:
        shown = [order for order in ORDERS if answer in readings.get(order, ())]
        possible = [order for order in ORDERS if order in readings]
        return f"{RIGHT}: {shown[0]}" if len(shown) == 1 < len(possible) else RIGHT
    bare = _bare(answer, target["marks"])
    for mistake in MISTAKES:
        if any(bare == _bare(text, target["marks"]) for text in readings.get(mistake, ())):
            return mistake
    return OTHER


def _bare(text: str, marks: str) -> list[str]:
    return text.translate({ord(mark): " " for mark in marks}).split()
