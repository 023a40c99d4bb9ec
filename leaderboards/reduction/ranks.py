"""Ranks of models over several tasks, among those only that read about as many visual tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.stats import rank_tiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.stats import Tier, Values

APART = 0.05
"""By what share the tokens of two models may differ for them to be ranked together."""


def alike(tokens: Mapping[str, float]) -> list[list[str]]:
    """Part models into those whose tokens differ by at most 5 %, from few tokens to many.

    Args:
        tokens: Model -> its visual tokens, averaged over blocks.
    """
    found: list[list[str]] = []
    for name, count in sorted(tokens.items(), key=lambda item: (item[1], item[0])):
        if found and count <= (1 + APART) * tokens[found[-1][0]]:
            found[-1].append(name)
        else:
            found.append([name])
    return found


def typical(tokens: Mapping[str, float]) -> dict[str, float]:
    """Model -> the median of the tokens of all that it may be ranked with."""
    return {name: tokens[group[len(group) // 2]] for group in alike(tokens) for name in group}


class Columns(NamedTuple):
    """Scores on the samples of several tasks, whose mean is the mean over tasks of s / f.

    Attributes:
        scores: Model -> float64 [n].
        groups: A name for each sample's cluster; ``None`` if all samples are independent.
    """

    scores: Mapping[str, Values]
    groups: Sequence[str] | None


class Scored(NamedTuple):
    """One task on which models of a family are compared.

    Attributes:
        title: Of the task.
        scores: Of every model on the same samples, float64 [n].
        whole: The whole model's mean score, above 0.
        names: The name of each sample's cluster.
    """

    title: str
    scores: Mapping[str, Values]
    whole: float
    names: Sequence[str]


def stacked(tasks: Sequence[Scored]) -> Columns:
    """Put the samples of several tasks below each other.

    Of several tasks, each score is divided by the whole model's and weighted such that the mean over all samples is the
    mean over tasks of s / f. Samples of two tasks count as independent; those of one task that several families
    answered, as clusters of the same names.
    """
    samples = sum(len(task.names) for task in tasks)
    columns: dict[str, list[Values]] = {}
    groups: list[str] = []
    for task in tasks:
        groups += [f"{task.title} {name}" for name in task.names]
        weight = samples / (len(tasks) * len(task.names) * task.whole) if len(tasks) > 1 else 1.0
        for model, values in task.scores.items():
            columns.setdefault(model, []).append(weight * values)
    independent = len(set(groups)) == len(groups)
    return Columns({model: np.concatenate(one) for model, one in columns.items()}, None if independent else groups)


def ranked(tasks: Sequence[Scored]) -> dict[str, Tier]:
    """Return the ranks by mean retention that the samples leave open, by the paired tests of `rank_tiers`."""
    found = stacked(tasks)
    return rank_tiers(found.scores, groups=found.groups)
