"""The scores of a task by subset: one table per axis and metric, one row per model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..harness.cards import Metric
    from .ranking import Section, Standing


class SubsetTable(NamedTuple):
    """One table.

    Attributes:
        title: Axis and metric.
        names: The subsets, a column each, with the number of samples where all models have the same.
        rows: Model -> its scores as text.
    """

    title: str
    names: list[str]
    rows: list[tuple[str, list[str]]]


def subset_tables(section: Section) -> list[SubsetTable]:
    """Return the tables of a task: of the metric that ranks, and of each derived metric that subsets have."""
    standings = [standing for standing in section.standings if standing.row.result.breakdown]
    axes = dict.fromkeys(axis for standing in standings for axis in standing.row.result.breakdown)
    shown = [metric for metric in section.card.metrics if metric == section.metric or metric.kind == "derived"]
    tables = (_table(axis, metric, standings) for axis in axes for metric in shown)
    return [table for table in tables if table.names]


def _table(axis: str, metric: Metric, standings: list[Standing]) -> SubsetTable:
    found = [(standing.name, dict(_scores(axis, metric, standing))) for standing in standings]
    names = sorted({name for _, scores in found for name in scores})
    rows = [
        (model, [wording.estimate(scores.get(name), metric) for name in names]) for model, scores in found if scores
    ]
    counts = {name: {scores[name].n for _, scores in found if name in scores} for name in names}
    heads = [f"{name} (n = {min(counts[name]):,})" if len(counts[name]) == 1 else name for name in names]
    return SubsetTable(f"{wording.with_unit(metric)} by {axis}", heads, rows)


def _scores(axis: str, metric: Metric, standing: Standing) -> Iterator[tuple[str, Any]]:
    for name, metrics in standing.row.result.breakdown.get(axis, {}).items():
        if metric.name in metrics:
            yield name, metrics[metric.name]
