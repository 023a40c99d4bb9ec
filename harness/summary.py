"""From the records of a cell to its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from .errors import UserError
from .stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cards import TaskCard
    from .contracts import Record, Sample
    from .results import Estimate

_TODO = "mend the task"


class Summary(TypedDict):
    """The fields of a `CellResult` that records decide."""

    samples: int
    unscored: int
    unparsed: int
    metrics: dict[str, Estimate]


def checked_scores(card: TaskCard, sample: str, scores: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return what a task's ``score()`` gave as plain floats; ``None`` stays ``None``.

    Raises:
        UserError: It lacks a metric of the card, or a value is no finite number.
    """
    if scores is None:
        return None
    if not isinstance(scores, Mapping):
        raise UserError(f"score() gave a {type(scores).__name__}", where=f"sample {sample}", todo=_TODO)
    checked = {}
    for name in {metric.name: None for metric in card.metrics} | dict.fromkeys(scores):
        try:
            checked[name] = float(scores[name])
        except KeyError as error:
            raise UserError(f"score() gave no {name!r}", where=f"sample {sample}", todo=_TODO) from error
        except (TypeError, ValueError, OverflowError):
            checked[name] = math.nan
        if not math.isfinite(checked[name]):
            what = f"score() gave {scores[name]!r} as {name!r}, which is no finite number"
            raise UserError(what, where=f"sample {sample}", todo=_TODO)
    return checked


def summarise(card: TaskCard, samples: Sequence[Sample], records: Sequence[Record]) -> Summary:
    """Average each metric of the card over the samples that could be scored, with its interval.

    Raises:
        UserError: A score lacks a metric of the card or is not finite.
    """
    checked = [checked_scores(card, record.sample, record.scores) for record in records]
    scored = [(sample, scores) for sample, scores in zip(samples, checked, strict=True) if scores is not None]
    grouped = any(sample.group is not None for sample, _ in scored)
    # Samples without a group are groups of their own, whatever the groups are called.
    groups = [f"sample {s.id}" if s.group is None else f"group {s.group}" for s, _ in scored] if grouped else None
    metrics = {}
    for metric in card.metrics if scored else ():
        values = np.array([scores[metric.name] for _, scores in scored], dtype=np.float64)
        metrics[metric.name] = mean_interval(values, groups, noun=card.sample_noun)
    return Summary(
        samples=len(records),
        unscored=len(records) - len(scored),
        unparsed=sum(record.parsed is None for record in records),
        metrics=metrics,
    )
