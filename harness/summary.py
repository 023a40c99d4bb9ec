"""From the records of a cell to its metrics."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from .contracts import Scores
from .errors import UserError
from .stats import cluster_names, drawn_intervals, mean_interval, share_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from .cards import TaskCard
    from .contracts import Json, Record, Sample
    from .results import Estimate
    from .stats import Values

_TODO = "fix the task"
_COSTS = ("flops", "text_tokens", "visual_tokens", "cut_tokens")
"""Fields of a `PrefillCost` whose means a result states; what is compared with a budget is in its `Spending`."""


class Summary(TypedDict):
    """The fields of a `CellResult` that records decide."""

    samples: int
    unscored: int
    unparsed: int
    metrics: dict[str, Estimate]
    breakdown: dict[str, dict[str, dict[str, Estimate]]]
    costs: dict[str, Estimate]


def checked_scores(card: TaskCard, sample: str, scores: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return what a task's ``score()`` gave as plain floats; ``None`` stays ``None``.

    Raises:
        UserError: It lacks a metric of the card, or a value is not a finite number.
    """
    if scores is None:
        return None
    if not isinstance(scores, Mapping):
        raise UserError(f"score() gave a {type(scores).__name__}", where=f"sample {sample}", todo=_TODO)
    checked = {}
    for name in {metric.name: None for metric in card.metrics if metric.kind == "mean"} | dict.fromkeys(scores):
        try:
            checked[name] = float(scores[name])
        except KeyError as error:
            raise UserError(f"score() gave no {name!r}", where=f"sample {sample}", todo=_TODO) from error
        except (TypeError, ValueError, OverflowError):
            checked[name] = math.nan
        if not math.isfinite(checked[name]):
            what = f"score() gave {scores[name]!r} as {name!r}, which is not finite"
            raise UserError(what, where=f"sample {sample}", todo=_TODO)
    return checked


def summarise(
    card: TaskCard,
    samples: Sequence[Sample],
    records: Sequence[Record],
    aggregate: Callable[[Scores], Mapping[str, float]] | None = None,
    *,
    breakdown: bool = True,
) -> Summary:
    """Return each metric of the card over the samples that could be scored, with its interval; whole and by subset.

    Args:
        card: Of the task.
        samples: What the records are of.
        records: One a sample.
        aggregate: The task's `Task.aggregate`, which makes the derived metrics.
        breakdown: Whether subsets are wanted.

    Raises:
        UserError: A score lacks a metric of the card or is not finite, or a derived metric is not on the card.
    """
    scored = [position for position, record in enumerate(records) if record.scores is not None]
    asked, scores = [samples[i] for i in scored], [records[i].scores or {} for i in scored]
    estimator = _Estimator(card, asked, scores, [records[i].parsed for i in scored], aggregate)
    return Summary(
        samples=len(records),
        unscored=len(records) - len(scored),
        unparsed=sum(record.parsed is None for record in records),
        metrics=estimator.metrics(np.arange(len(scored))),
        breakdown=estimator.breakdown() if breakdown else {},
        costs=_costs(samples, records, card.sample_noun),
    )


def derived_metrics(
    card: TaskCard,
    samples: Sequence[Sample],
    scores: Sequence[Mapping[str, float]],
    parsed: Sequence[Json],
    aggregate: Callable[[Scores], Mapping[str, float]],
) -> Callable[[Values], dict[str, float]]:
    """Return the derived metrics of scored samples as a function of their weights, float64 [samples]."""
    return _Estimator(card, samples, scores, parsed, aggregate).weighted(np.arange(len(samples)))


class _Estimator:
    """Makes the metrics of any part of the scored samples."""

    def __init__(
        self,
        card: TaskCard,
        samples: Sequence[Sample],
        scores: Sequence[Mapping[str, float]],
        parsed: Sequence[Json],
        aggregate: Callable[[Scores], Mapping[str, float]] | None,
    ) -> None:
        self._card, self._samples, self._parsed = card, samples, parsed
        groups = _clusters(samples)
        self._groups = None if groups is None else np.array(groups, dtype=object)
        means = [metric.name for metric in card.metrics if metric.kind == "mean"]
        try:
            self._values = {name: _finite(score[name] for score in scores) for name in means}
        except (KeyError, TypeError, ValueError, OverflowError):  # say of which sample
            checked = [
                checked_scores(card, sample.id, score) or {} for sample, score in zip(samples, scores, strict=True)
            ]
            self._values = {name: _finite(score[name] for score in checked) for name in means}
        self._shares = {metric.name for metric in card.metrics if metric.unit == "%"}
        self._derived = {metric.name for metric in card.metrics if metric.kind == "derived"}
        self._aggregate = aggregate if self._derived else None

    @functools.cached_property
    def _subsets(self) -> dict[str, npt.NDArray[np.object_]]:
        """Axis -> the subset of each sample, [n]; empty text where it has none."""
        axes = dict.fromkeys(axis for sample in self._samples for axis in sample.subsets)
        return {
            axis: np.array([sample.subsets.get(axis, "") for sample in self._samples], dtype=object) for axis in axes
        }

    def metrics(self, rows: npt.NDArray[np.intp]) -> dict[str, Estimate]:
        """Return each metric over these rows, in the card's order."""
        if not len(rows):
            return {}
        groups = None if self._groups is None else list(self._groups[rows])
        noun = self._card.sample_noun
        found = {}
        for name, values in self._values.items():
            one = values[rows]
            bounded = name in self._shares and one.min() >= 0 and one.max() <= 1
            found[name] = (share_interval if bounded else mean_interval)(one, groups, noun=noun)
        if self._aggregate is not None:
            aggregated = self._aggregated(rows)
            found |= drawn_intervals(self._derive(aggregated), len(rows), groups, noun=noun, shares=self._shares)
            for name, value in aggregated(np.ones(len(rows))).items():
                if name in self._values:  # a mean that the task states otherwise: an official script rounds it first
                    found[name] = found[name].model_copy(update={"value": value})
        return {metric.name: found[metric.name] for metric in self._card.metrics if metric.name in found}

    def breakdown(self) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Return axis -> subset -> its metrics, subsets by name."""
        return {
            axis: {name: self.metrics(np.flatnonzero(places == name)) for name in sorted(set(places) - {""})}
            for axis, places in self._subsets.items()
        }

    def weighted(self, rows: npt.NDArray[np.intp]) -> Callable[[Values], dict[str, float]]:
        """The derived metrics of these rows, as a function of weights."""
        return self._derive(self._aggregated(rows))

    def _derive(self, aggregated: Callable[[Values], dict[str, float]]) -> Callable[[Values], dict[str, float]]:
        return lambda weights: {name: one for name, one in aggregated(weights).items() if name in self._derived}

    def _aggregated(self, rows: npt.NDArray[np.intp]) -> Callable[[Values], dict[str, float]]:
        """What the task aggregates of these rows, as a function of weights."""
        aggregate = self._aggregate
        values = {name: values[rows] for name, values in self._values.items()}
        subsets = {axis: places[rows] for axis, places in self._subsets.items()}
        ids, parsed = [self._samples[row].id for row in rows], [self._parsed[row] for row in rows]
        kept: dict[str, Any] = {}

        def aggregated(weights: Values) -> dict[str, float]:
            found = aggregate(Scores(values, subsets, weights, ids, parsed, kept)) if aggregate else {}
            strange = set(found) - self._derived - set(values)
            if strange:
                raise UserError(f"aggregate() gave {min(strange)!r}, which is not a metric of the card", todo=_TODO)
            return {name: float(value) for name, value in found.items()}

        return aggregated


def _finite(values: Iterable[float]) -> npt.NDArray[np.float64]:
    """Return them as float64 [n], or raise a ValueError."""
    found = np.fromiter(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError("not finite")
    return found


def _costs(samples: Sequence[Sample], records: Sequence[Record], noun: str) -> dict[str, Estimate]:
    """Mean of each cost over the samples whose answers tell it; what no prefill has is left out."""
    found = {}
    costed = [(sample, record.costs) for sample, record in zip(samples, records, strict=True) if record.costs]
    for name in _COSTS:
        told = [(sample, [value for c in costs if (value := getattr(c, name)) is not None]) for sample, costs in costed]
        told = [(sample, values) for sample, values in told if values]
        sums = np.array([sum(values) for _, values in told], dtype=np.float64)
        if sums.any():
            found[name] = mean_interval(sums, _clusters([sample for sample, _ in told]), noun=noun)
    return found


def _clusters(samples: Sequence[Sample]) -> list[str] | None:
    return cluster_names([sample.id for sample in samples], [sample.group for sample in samples])
