"""OP and OG of models with intervals: the samples of each task are drawn again, for all models the same ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.results import Estimate
from ...harness.stats import drawn_weights
from .measures import overall_generalisation, overall_performance

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .answers import Answers, TaskAnswers
    from .lines import Family

    Drawn = npt.NDArray[np.float64]


class Evenness(NamedTuple):
    """What a model keeps over tasks, and how evenly.

    Attributes:
        performance: EffiVLM-Bench's OP.
        generalisation: Its OG; ``None`` of a single task.
    """

    performance: Estimate
    generalisation: Estimate | None


def draws(task: TaskAnswers, place: int) -> Drawn:
    """How often each sample of a task is drawn, float64 [draws, samples]; whole groups, where samples come in groups.

    Args:
        task: One of several.
        place: Among these, so that each draws on its own.
    """
    samples = len(task.base.scores)
    return np.reshape([*drawn_weights(samples, task.base.clusters, stream=place)], (-1, samples))


def drawn_ratios(task: TaskAnswers, answers: Answers, weights: Drawn) -> Drawn:
    """The share of the whole model's score in each draw, float64 [draws]; NaN where the whole model's is 0."""
    whole, own = task.base.scores, answers.scores
    both = np.isfinite(whole) & np.isfinite(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Drawn = (weights[:, both] @ own[both]) / (weights[:, both] @ whole[both])
    return found


def evenness_of(family: Family) -> dict[str, Evenness]:
    """Label -> OP and OG over the tasks that means are over, of the models that did all of them."""
    titles = family.averaged
    tasks = [task for task in family.tasks if task.title in titles]
    weights = [draws(task, place) for place, task in enumerate(tasks)]
    found = {}
    for line in family.lines:
        if ratios := line.ratios(titles):
            both = zip(tasks, weights, strict=True)
            drawn = [drawn_ratios(task, line.tasks[task.title].answers, own) for task, own in both]
            found[line.label] = evenness(ratios, drawn, sum(len(task.base.scores) for task in tasks))
    return found


def evenness(ratios: Sequence[float], drawn: Sequence[Drawn], samples: int) -> Evenness:
    """Return OP and OG with 95 % intervals.

    What is drawn again varies more between tasks than what was drawn: the squares of OP and OG are too large by as much
    in each draw as they are on average. That is taken off before the ends are read (percentiles). In 400 simulated runs
    each of three even or uneven tasks in 10 to 60 groups, such intervals of OG held the truth in 93 to 99 %, those of
    OP in 92 to 96; plain percentiles of OG held it in none of the runs with even tasks.

    Args:
        ratios: Of each task, what was observed.
        drawn: Of each task, float64 [draws].
        samples: Number of samples of all tasks.
    """
    mean, deviation = np.mean(drawn, axis=0), np.std(drawn, axis=0)
    performance = _estimate(overall_performance(ratios), np.hypot(mean, deviation), samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        uneven = deviation / mean
    generalisation = _estimate(overall_generalisation(ratios), uneven, samples) if len(ratios) > 1 else None
    return Evenness(performance, generalisation)


def _estimate(value: float, drawn: Drawn, samples: int) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if not len(known) or 2 * len(known) <= len(drawn) or not math.isfinite(value):
        return Estimate(value=value, low=None, high=None, n=samples, method="no interval")
    squares = known**2
    ends = np.quantile(squares - squares.mean() + value**2, [0.025, 0.975])
    low, high = np.sqrt(np.maximum(0.0, ends))
    method = "95 % bootstrap interval, centred in its square, over the tasks' samples"
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), n=samples, method=method)
