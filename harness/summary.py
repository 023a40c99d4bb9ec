"""From the records of a cell to its figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from .errors import UserError
from .stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cards import TaskCard
    from .contracts import Record, Sample
    from .results import Estimate


class Summary(TypedDict):
    """The fields of a `CellResult` that records decide."""

    samples: int
    unscored: int
    unparsed: int
    metrics: dict[str, Estimate]


def summarise(card: TaskCard, samples: Sequence[Sample], records: Sequence[Record]) -> Summary:
    """Average each metric of the card over the samples that could be scored, with its interval.

    Raises:
        UserError: A score lacks a metric of the card or is not finite.
    """
    scored = [
        (sample, record.scores) for sample, record in zip(samples, records, strict=True) if record.scores is not None
    ]
    groups = [sample.group for sample, _ in scored]
    clustered = [g or s.id for g, (s, _) in zip(groups, scored, strict=True)] if any(groups) else None
    metrics = {}
    for metric in card.metrics if scored else ():
        values = [scores.get(metric.name, math.nan) for _, scores in scored]
        if not all(map(math.isfinite, values)):
            where = scored[next(i for i, value in enumerate(values) if not math.isfinite(value))][0].id
            raise UserError(
                f"the task's score() gave no finite {metric.name!r}", where=f"sample {where}", todo="mend the task"
            )
        metrics[metric.name] = mean_interval(np.array(values, dtype=np.float64), clustered, noun=card.sample_noun)
    return Summary(
        samples=len(records),
        unscored=len(records) - len(scored),
        unparsed=sum(record.parsed is None for record in records),
        metrics=metrics,
    )
