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


class Columns(NamedTuple):
    """Scores on the samples of several tasks, whose mean is the mean over tasks of s / f.

    Attributes:
        scores: Model -> float64 [n].
        groups: A name for each sample's cluster; ``None`` if all samples are independent.
    """

    scores: Mapping[str, Values]
    groups: Sequence[str] | None


def stacked(tasks: Sequence[tuple[Mapping[str, Values], float, Sequence[str]]]) -> Columns:
    """Put the samples of several tasks below each other.

    Of several tasks, each score is divided by the whole model's and weighted such that the mean over all samples is the
    mean over tasks of s / f. Samples of two tasks count as independent.

    Args:
        tasks: For each task the scores of every model on the same samples, the whole model's mean score, above 0, and
            the name of each sample's cluster.
    """
    samples = sum(len(names) for _, _, names in tasks)
    columns: dict[str, list[Values]] = {}
    groups: list[str] = []
    for number, (scores, whole, names) in enumerate(tasks):
        groups += [f"{number} {name}" for name in names]
        weight = samples / (len(tasks) * len(names) * whole) if len(tasks) > 1 else 1.0
        for model, values in scores.items():
            columns.setdefault(model, []).append(weight * values)
    independent = len(set(groups)) == len(groups)
    return Columns({model: np.concatenate(one) for model, one in columns.items()}, None if independent else groups)


def ranked(tasks: Sequence[tuple[Mapping[str, Values], float, Sequence[str]]]) -> dict[str, Tier]:
    """Return the ranks by mean retention that the samples leave open, by the paired tests of `rank_tiers`.

    Args:
        tasks: As for `stacked`.
    """
    found = stacked(tasks)
    return rank_tiers(found.scores, groups=found.groups)
