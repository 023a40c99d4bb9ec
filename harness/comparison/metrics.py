"""A task's metrics on both sides: means over samples, and what the task makes of them, such as an F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..stats import (
    cluster_names,
    detectable_gap,
    difference_interval,
    drawn_differences,
    drawn_intervals,
    mean_interval,
    paired_p,
    ratio_interval,
    share_interval,
)
from ..summary import derived_metrics
from .result import MetricComparison

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ..cards import Metric
    from ..contracts import Sample, Task
    from ..stats import Values
    from ..store import StoredCell


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cells that were asked the same samples, and which of these have a score on both sides.

    Attributes:
        rows: Their positions, int64 [n].
        groups: Names of their clusters; ``None`` if they are all independent.
    """

    baseline: StoredCell
    candidate: StoredCell
    rows: npt.NDArray[np.intp]
    groups: list[str] | None

    @classmethod
    def of(cls, baseline: StoredCell, candidate: StoredCell) -> Pair:
        """Find the samples that have a score on both sides."""
        scores = baseline.scores
        rows = np.flatnonzero(np.isfinite(scores.values) & np.isfinite(candidate.scores.values))
        groups = cluster_names([scores.samples[row] for row in rows], [scores.groups[row] for row in rows])
        return cls(baseline, candidate, rows, groups)

    @property
    def samples(self) -> list[str]:
        """Ids of those samples."""
        return [self.baseline.scores.samples[row] for row in self.rows]

    def values(self, metric: str) -> tuple[Values, Values]:
        """A metric that is a mean over samples, of the baseline and of the candidate, float64 [n] each."""
        one, other = (side.column(metric).values[self.rows] for side in (self.baseline, self.candidate))
        return one, other

    @property
    def noun(self) -> str:
        """What a sample is called."""
        return self.candidate.result.task_card.sample_noun


def compare_means(metric: Metric, pair: Pair) -> MetricComparison:
    """Compare a metric that is a mean over samples."""
    a, b = pair.values(metric.name)
    groups, noun = pair.groups, pair.noun
    shares = metric.unit == "%" and all(values.min() >= 0 and values.max() <= 1 for values in (a, b))
    own = share_interval if shares else mean_interval
    return MetricComparison(
        metric=metric,
        n=len(a),
        baseline_score=own(a, groups, noun=noun),
        candidate_score=own(b, groups, noun=noun),
        difference=difference_interval(a, b, groups, shares=shares, noun=noun),
        p=paired_p(a, b, groups),
        retained=ratio_interval(a, b, groups, shares=shares, noun=noun) if metric.better == "higher" else None,
        detectable=detectable_gap({"baseline": a, "candidate": b}, groups),
    )


def compare_others(pair: Pair, task: Callable[[], Task | str]) -> list[MetricComparison]:
    """Compare the metrics after the first one, as far as both sides have them.

    Args:
        pair: The cells.
        task: Builds their task again, or says why that cannot be done: metrics other than means are asked of it.
    """
    known = pair.baseline.result.task_card.metrics
    metrics = [metric for metric in pair.candidate.result.task_card.metrics[1:] if metric in known]
    derived = [metric for metric in metrics if metric.kind == "derived"]
    found = {metric: compare_means(metric, pair) for metric in metrics if metric.kind == "mean"}
    if derived:
        found |= _compare_derived(derived, pair, task())
    return [found[metric] for metric in metrics if metric in found]


def _compare_derived(metrics: Sequence[Metric], pair: Pair, task: Task | str) -> dict[Metric, MetricComparison]:
    if isinstance(task, str):
        return {metric: _as_stated(metric, pair, f"the task is needed for it, but {task}") for metric in metrics}
    asked = {sample.id: sample for sample in task.samples}
    samples = [asked[name] for name in pair.samples]
    one, other = (_weighted(side, pair, samples, task) for side in (pair.baseline, pair.candidate))
    shares = {metric.name for metric in metrics if metric.unit == "%"}
    n, groups, noun = len(samples), pair.groups, pair.noun
    own = [drawn_intervals(side, n, groups, noun=noun, shares=shares) for side in (one, other)]
    apart = drawn_differences(one, other, n, groups, noun=noun)
    found = {}
    for metric in metrics:
        if metric.name in apart:
            difference, p = apart[metric.name]
            before, after = (side[metric.name] for side in own)
            found[metric] = MetricComparison(
                metric=metric, n=n, baseline_score=before, candidate_score=after, difference=difference, p=p
            )
        else:
            found[metric] = _as_stated(metric, pair, "the task has no number for it on both sides")
    return found


def _weighted(
    cell: StoredCell, pair: Pair, samples: Sequence[Sample], task: Task
) -> Callable[[Values], Mapping[str, float]]:
    """The derived metrics of one side, by the weights of the samples."""
    rows = set(pair.rows.tolist())
    records = [record for row, record in enumerate(cell.journal.records()) if row in rows]
    scores, parsed = [record.scores or {} for record in records], [record.parsed for record in records]
    return derived_metrics(pair.candidate.result.task_card, samples, scores, parsed, task.aggregate)


def _as_stated(metric: Metric, pair: Pair, refused: str) -> MetricComparison:
    before, after = (side.result.metrics.get(metric.name) for side in (pair.baseline, pair.candidate))
    return MetricComparison(metric=metric, baseline_score=before, candidate_score=after, refused=refused)
