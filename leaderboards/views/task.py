"""One task: its table and its charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import wording
from ..axes import plots
from ..published import CAPTION, published_columns
from ..remarks import Remarks
from ..spent import spent_table
from ..subsets import subset_tables
from ..wording import Cell, TableRow
from .cells import score_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.results import CellResult
    from ..axes import Plot
    from ..published import PublishedColumn
    from ..ranking import Section, Standing


_NAMED = 24
"""Cells that a caption names; more are counted."""


@dataclass(frozen=True, slots=True)
class PlotView:
    """A chart on the page; ``plot`` is drawn if it has points."""

    id: str
    title: str
    caption: list[str]
    plot: Plot


def task_table(section: Section) -> dict[str, Any]:
    """The table of one task."""
    results = [standing.row.result for standing in section.shown]
    scores = [score for result in results for score in result.metrics.values() if score.low is not None]
    decided = (
        f"Ranks from paired tests on {section.paired:,} {section.noun}{_power(section)}. " if section.ranked > 1 else ""
    )
    kinds = sorted({score.method.partition(" over ")[0] for score in scores})
    made = f"Intervals: {' or '.join(kinds)} over the n scored {section.noun}. " if kinds else ""
    odd, remarks = _odd_counts(section), Remarks(section)
    published = published_columns(section)
    regular = "" if odd else f"Every one of the {section.noun} was parsed and scored. "
    rule = f"Rule {section.card.rule}, version {section.card.rule_version}{_chance(section)}."
    return {
        "title": section.title,
        "summary": ". ".join(filter(None, (section.card.summary, section.card.note))),
        "noun": section.card.sample_noun,
        "caption": " ".join(
            filter(None, (f"{decided}{made}{regular}{rule}", _timed(section), CAPTION if published else ""))
        ),
        "partial": section.partial,
        "lead": _lead(section),
        "heads": [
            *map(wording.with_unit, section.card.metrics),
            *(head for column in published for head in column.heads),
            *("n", *odd, "FLOPs per input", "time per input"),
        ],
        "rows": [_task_row(section, standing, published, odd, remarks) for standing in section.standings],
        "spent": spent_table(section),
        "subsets": subset_tables(section),
    }


def plot_views(section: Section, prefix: str) -> list[PlotView]:
    """The charts of a task with their captions."""
    found = []
    for plot in plots(section):
        caption = [f"Not drawn: {_few(names)} ({reason})." for reason, names in plot.left_out.items()]
        partial = " (partial)" if section.partial else ""
        title = f"{section.metric.name.capitalize()} against {plot.cost_name}{partial}"
        found.append(PlotView(f"{prefix}-{plot.name}", title, caption, plot))
    return found


def _task_row(
    section: Section, standing: Standing, published: Sequence[PublishedColumn], odd: Sequence[str], remarks: Remarks
) -> TableRow:
    result, timing = standing.row.result, standing.row.timing
    scores = [score_cell(result.metrics.get(metric.name), metric) for metric in section.card.metrics]
    scores += [cell for column in published for cell in column.cells(standing)]
    scored = result.samples - result.unscored
    count = result.flops
    flops = Cell(wording.MISSING, hint=result.flops_missing)
    if count is not None:
        counted = [f"{count.phase}, {count.counter}, attention {count.attention}", *_mean_costs(result)]
        flops = Cell(wording.si(count.value), count.value, hint="; ".join(counted))
    time = Cell(wording.MISSING, hint="not timed")
    if timing is not None:
        median, q1, q3 = (seconds / timing.inputs for seconds in (timing.median, timing.q1, timing.q3))
        how = f"{timing.what}, {timing.repeats:,} {'passes that answered' if timing.own else 'repeats'}"
        how += f"{', measured for another cell' * timing.shared}, {timing.machine}, {timing.device}"
        time = Cell(wording.spread(median, q1, q3), median, hint=how)
    counts = [Cell(f"{number:,}", number) for number in (scored, *(getattr(result, name) for name in odd))]
    rank = Cell(standing.rank, standing.tier.best + standing.tier.worst / 1e6 if standing.tier else "")
    said = [*remarks.evidence(standing), *remarks.warnings(standing)]
    told = [remark for remark in said if remark != section.partial]
    return TableRow(standing.name, [*scores, *counts, flops, time], standing.tier is None, rank, told, standing.reason)


def _timed(section: Section) -> str:
    """What must be known of the times, if it is not the usual: that there are none, or that some are of other cells."""
    timings = [standing.row.timing for standing in section.standings]
    shared = sum(timing is not None and timing.shared for timing in timings)
    if not any(timings):
        return "Not timed."
    if not shared:
        return ""
    cells = f"{shared:,} of {len(timings):,} cells"
    return f"Times of {cells} were measured for another cell of the same model, whose inputs have the same shape."


def _power(section: Section) -> str:
    """What the samples can show."""
    if section.detectable is None:
        return ""
    least = f"{wording.scale(section.metric) * section.detectable:.3g} {section.metric.unit}".rstrip()
    return f", which show a difference of {least} between two models with a chance of 90 %"


def _lead(section: Section) -> str:
    """Who is first on a task, for a fold that is closed."""
    first = next((standing for standing in section.standings if standing.headline), None)
    if first is None:
        return ""
    score = f"{wording.estimate(first.headline, section.metric)} {section.metric.unit}".rstrip()
    return f"{first.rank}: {first.name}, {score}"


def _few(names: Sequence[str]) -> str:
    return wording.listed(names) if len(names) <= _NAMED else f"{len(names):,} cells"


def _odd_counts(section: Section) -> list[str]:
    """Of unscored and unparsed samples, what some cell has."""
    results = [standing.row.result for standing in section.standings]
    return [name for name in ("unscored", "unparsed") if any(getattr(result, name) for result in results)]


def _mean_costs(result: CellResult) -> list[str]:
    """The tokens that an answer costs, such as ``visual tokens 24.5 per question`` on the mean."""
    noun = result.task_card.sample_noun
    return [
        f"{name.replace('_', ' ')} {cost.value:.4g} per {noun}"
        for name, cost in result.costs.items()
        if name.endswith("_tokens")
    ]


def _chance(section: Section) -> str:
    chance = section.card.chance
    factor, unit = wording.scale(section.metric), section.metric.unit
    return "" if chance is None else f"; a uniform guess gets {factor * chance:.4g} {unit}".rstrip()
