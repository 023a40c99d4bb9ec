"""What GQA's official script prints besides accuracies: consistency, validity, plausibility and distribution.

Its grounding is not among them: that compares a model's attention with regions of the image, and an answer has none.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from ...harness.contracts import Json, Scores
    from .question import Question

    Pair: TypeAlias = tuple[Sequence[Question], Sequence[Json | None]]
    Columns: TypeAlias = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]


def official_aggregates(scores: Scores, asked: Mapping[str, Sequence[Question]]) -> dict[str, float]:
    """Return the metrics that the data allow.

    - ``validity``, ``plausibility``: the share of answers that are among the question's choices.
    - ``consistency``: of a question that is answered right and entails others, the share of those that are answered
      right, too; the mean over such questions. 0 if there is none, as in the script.
    - ``distribution``: see `_distribution`. It stands only on samples as they are: drawn again they lie further from
      the truth, since a distance adds up noise and never cancels it, so a bootstrap interval would miss its own value.

    Args:
        scores: Of samples, by the official rule.
        asked: Sample -> its question, with the fields ``group`` and, where choices are known, ``valid`` and
            ``plausible``; after it the questions that it entails, where consistency is wanted.

    Returns:
        Metric -> its value. None of them where ``scores`` does not name its samples.
    """
    if not scores.ids:
        return {}
    if not scores.kept:
        pairs = [
            (asked[name], said if isinstance(said, list) else [said])
            for name, said in zip(scores.ids, scores.parsed, strict=True)
        ]
        scores.kept["means"] = _chosen(pairs) | _consistent(pairs)
        scores.kept["distribution"] = _distribution((questions[0], said[0]) for questions, said in pairs)
    found = {}
    for name, (values, counted) in scores.kept["means"].items():
        weights = scores.weights * counted
        total = float(weights.sum())
        found[name] = float((weights * values).sum()) / total if total else 0.0  # many threads make @ slow, drawn often
    if (scores.weights == 1).all():
        found["distribution"] = scores.kept["distribution"]
    return found


def _chosen(pairs: Sequence[Pair]) -> Columns:
    fields = {"validity": "valid", "plausibility": "plausible"}
    if not all(field in questions[0].fields for questions, _ in pairs for field in fields.values()):
        return {}
    everybody = np.ones(len(pairs), dtype=np.bool_)
    return {
        name: (np.array([float(said[0] in questions[0].fields[field]) for questions, said in pairs]), everybody)
        for name, field in fields.items()
    }


def _consistent(pairs: Sequence[Pair]) -> Columns:
    """The share of entailed questions answered right, and whether it counts; nothing if no question entails any."""
    shares, counted = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=np.bool_)
    for row, ((question, *entailed), (text, *texts)) in enumerate(pairs):
        if entailed and text == question.target:
            right = sum(said == each.target for each, said in zip(entailed, texts, strict=True))
            shares[row], counted[row] = right / len(entailed), True
    return {"consistency": (shares, counted)} if any(len(questions) > 1 for questions, _ in pairs) else {}


def _distribution(answers: Iterable[tuple[Question, Json | None]]) -> float:
    """How far what is said lies from what is true, over all questions of a global group; less is better.

    The chi-square distance over the group's right answers - what is said besides does not count -, the mean of the
    groups by their size, a hundredth of it. NaN if no question has a group.
    """
    true: dict[str, Counter[Json]] = defaultdict(Counter)
    given: dict[str, Counter[Json]] = defaultdict(Counter)
    for question, said in answers:
        group = question.fields["group"]
        if group is not None:
            true[group][question.target] += 1
            given[group][said] += 1
    total = weighted = 0.0
    for group, expected in true.items():
        distance = sum((given[group][answer] - count) ** 2 / count for answer, count in expected.items())
        total += expected.total()
        weighted += distance * expected.total()
    return weighted / total / 100 if total else math.nan
