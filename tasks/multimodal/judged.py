"""Benchmarks that a language model judges, and what is made of its verdicts (MM-Vet, LLaVA-Bench in the wild).

Every reader of verdicts takes any text; none raises.
"""

from __future__ import annotations

import math
import os
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...harness.errors import UserError
from ...harness.predictions import some
from .predictions import as_text
from .task import VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ...harness.contracts import Json, Sample
    from .judge import Judge
    from .question import Question
    from .task import Benchmark

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

Pair = tuple[float, float]
"""LLaVA-Bench: points of the reference answer and of the model's, 1 to 10."""
FAILED: Pair = (-1.0, -1.0)
"""What a verdict that cannot be read counts as. It stays in the mean."""


def mmvet_score(verdict: str) -> float | None:
    """Return MM-Vet's score in [0, 1]: the text before the first blank; ``None`` if that is not a number in [0, 1]."""
    try:
        score = float(verdict.split(" ", maxsplit=1)[0].strip())
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


class MMVetTable(NamedTuple):
    """MM-Vet's two published tables for one model, in points of 100, rounded.

    Attributes:
        capabilities: Capability -> mean over the runs of the judge; ``total`` is over all questions.
        integrations: Exact set of capabilities, joined by ``_`` in alphabetical order, -> likewise.
        std: Population standard deviation of the runs' totals.
        runs: Total of each run.
    """

    capabilities: dict[str, float]
    integrations: dict[str, float]
    std: float
    runs: list[float]


def mmvet_table(
    grades: Mapping[str, Sequence[float]], capabilities: Mapping[str, Sequence[str]], *, decimals: int = 1
) -> MMVetTable:
    """Return MM-Vet's tables as the official script prints them.

    Args:
        grades: Question -> score of each run of the judge; every question has as many.
        capabilities: Question -> the capabilities that it needs, for every question of the benchmark. A question
            without a grade counts as 0 in every run.
        decimals: Of the scores.
    """
    import numpy as np

    runs = max(map(len, grades.values()), default=0)
    scores = np.array([grades.get(question, [0.0] * runs) for question in capabilities], dtype=np.float64)
    scores = scores.reshape(len(capabilities), runs)

    def points(members: list[bool]) -> npt.NDArray[np.float64]:
        means: npt.NDArray[np.float64] = scores[members].sum(axis=0) / sum(members) * 100
        return means

    sets = [frozenset(own) for own in capabilities.values()]
    totals = points([True] * len(sets))
    single = {name: points([name in own for own in sets]) for name in sorted(frozenset().union(*sets))}
    joined = {"_".join(sorted(own)): points([own == other for other in sets]) for own in dict.fromkeys(sets)}
    return MMVetTable(
        {name: round(float(column.mean()), decimals) for name, column in (single | {"total": totals}).items()},
        {name: round(float(column.mean()), decimals) for name, column in joined.items()},
        round(float(totals.std()), decimals),
        [round(total, decimals) for total in totals.tolist()],
    )


def llava_bench_official(verdict: str) -> Pair:
    """Return the two numbers of the first line, if commas made blanks it is exactly two numbers at single blanks."""
    parts = verdict.split("\n", maxsplit=1)[0].replace(",", " ").split(" ")
    if len(parts) != 2:
        return FAILED
    try:
        reference, model = map(float, parts)
    except ValueError:
        return FAILED
    return (reference, model) if math.isfinite(reference) and math.isfinite(model) else FAILED


def llava_bench_lmms_eval(verdict: str) -> Pair:
    """Return the first two numbers of the first line that has text, whatever stands around them."""
    numbers = _NUMBER.findall(verdict.strip().split("\n", maxsplit=1)[0])[:2]
    values = [float(number) for number in numbers]
    return (values[0], values[1]) if len(values) == 2 and all(map(math.isfinite, values)) else FAILED


class LlavaBenchSummary(NamedTuple):
    """LLaVA-Bench's scores in points: the ratio that is published, and both answers' means times 10."""

    ratio: float
    reference: float
    model: float


def llava_bench_summary(
    reference: npt.NDArray[np.floating],
    model: npt.NDArray[np.floating],
    weights: npt.NDArray[np.floating] | None = None,
    *,
    rounded: bool = True,
) -> LlavaBenchSummary:
    """Return the scores of a set of verdicts.

    Args:
        reference: Points of the reference answers, [n].
        model: Points of the model's answers, [n].
        weights: How often each verdict counts, [n]; once each by default.
        rounded: Round both means to 3 decimals first, and then all points to 1, as the official script does.
    """
    import numpy as np

    means = [float(np.average(points, weights=weights)) for points in (reference, model)]
    if rounded:
        means = [round(mean, 3) for mean in means]
    ratio = means[1] / means[0] * 100 if means[0] else math.nan
    points = (ratio, means[0] * 10, means[1] * 10)
    return LlavaBenchSummary(*(round(value, 1) if rounded else value for value in points))


class JudgedQuestions(VisualQuestions):
    """Questions whose answers are judged by a language model.

    A sample's raw output is the model's answer, which the judge is asked about when it is scored, or an object with an
    ``answer`` and the ``verdicts`` that a judge gave elsewhere. The rule reads the verdicts. Without verdict and judge
    a sample cannot be scored.

    Args:
        benchmark: What it is; its rules parse verdicts.
        questions: Its questions.
        rule: Name of the scoring rule.
        ask: Returns the judge's verdicts on an answer to a question; ``None`` if there is no judge.
        source: File or data set that the questions are from.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        questions: Sequence[Question],
        rule: str,
        ask: Callable[[Question, str], Sequence[str]] | None,
        source: str = "",
    ) -> None:
        super().__init__(benchmark, questions, rule, source)
        self._ask = ask

    def parse(self, sample: Sample, output: Json) -> Json | None:
        """Read the verdicts on an answer, by the rule; ``None`` if there are none."""
        questions = self.questions_of(sample)
        if isinstance(output, dict):
            verdicts = output.get("verdicts")
            stored = isinstance(verdicts, list) and all(isinstance(verdict, str) for verdict in verdicts)
            if verdicts and stored:
                return self.rule.parse(questions, verdicts)
            output = output.get("answer")
        if not isinstance(output, str) or self._ask is None:
            return None
        return self.rule.parse(questions, self._ask(questions[0], output))


def spread(metric: str, runs: Sequence[float]) -> list[str]:
    """Say what several runs of the judge come to: mean, population standard deviation, each; nothing of one run."""
    if len(runs) < 2:
        return []
    shown = ", ".join(f"{run:.1f}" for run in runs)
    mean, deviation = statistics.fmean(runs), statistics.pstdev(runs)
    return [f"{len(runs)} runs of the judge: {metric} {mean:.1f} +- {deviation:.1f} [{shown}]"]


def same_runs(verdicts: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse questions that were judged less often than others.

    Raises:
        UserError: There are such.
    """
    most = max(map(len, verdicts.values()), default=0)
    fewer = [name for name, own in verdicts.items() if len(own) < most]
    if fewer:
        what = f"of {most} runs of the judge some lack {some(fewer, 'question')}"
        raise UserError(what, where=where, todo="give runs over the same questions, or one run")


def judge_for(model: str, verdicts: str) -> Judge:
    """Return the client of a judge.

    Args:
        model: Its name.
        verdicts: File in which its verdicts are kept; by default one in the user's cache.
    """
    from .judge import Judge

    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Judge(model, verdicts or cache / "adaptbench" / "verdicts.jsonl")


def stored_output(answer: Any, verdicts: Sequence[str], place: str) -> Json:
    """Return the raw output that holds an answer and the verdicts on it, as far as they are there."""
    text = as_text(answer, place)
    return {"answer": text, "verdicts": list(verdicts)} if verdicts else text
