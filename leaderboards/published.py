"""Scores that others have published, beside the same scores of runs.

They are the same if they have the model spec, the budget, the name of the task, the scoring rule and the metric in
common; whether both are about as many samples is shown with them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..harness.errors import UserError
from ..harness.hooks import PublishedScore
from ..harness.specs import parse
from . import wording
from .wording import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..harness.cards import Metric
    from ..harness.results import Estimate
    from .ranking import Section, Standing

CAPTION = "Published scores: same model spec, budget, task, rule and metric; the difference is ours less theirs."


class _Key(NamedTuple):
    model: str
    budget: float
    task: str
    rule: str


class PublishedColumn(NamedTuple):
    """One metric as one source has it: two columns of a table, of which the second has the difference."""

    metric: Metric
    source: str

    @property
    def heads(self) -> tuple[str, str]:
        """Headings of the two."""
        return f"{wording.with_unit(self.metric)}: {self.source}", "difference"

    def of(self, standing: Standing) -> PublishedScore | None:
        """What it has of a cell."""
        own = (score for score in standing.published if (score.metric, score.source) == (self.metric.name, self.source))
        return next(own, None)

    def cells(self, standing: Standing) -> tuple[Cell, Cell]:
        """The published score of a cell, and the difference if both are about as many samples."""
        theirs = self.of(standing)
        if theirs is None:
            return Cell(wording.MISSING), Cell(wording.MISSING)
        result, text = standing.row.result, f"{theirs.value:g}"
        ours = result.metrics.get(self.metric.name)
        if theirs.samples not in (None, result.samples):
            noun = result.task_card.sample_noun
            return Cell(text, theirs.value, note=f"of {theirs.samples:,} {noun}s"), Cell(wording.MISSING)
        return Cell(text, theirs.value), Cell(wording.MISSING) if ours is None else self._difference(ours, theirs)

    def _difference(self, ours: Estimate, theirs: PublishedScore) -> Cell:
        value = theirs.value / wording.scale(self.metric)
        difference = ours.model_copy(update={"value": ours.value - value, "low": None, "high": None})
        note = ""
        if ours.low is not None and ours.high is not None:
            note = f"{'within' if ours.low <= value <= ours.high else 'outside'} the interval"
        return Cell(wording.change(difference, self.metric), difference.value, note=note)


def with_published(sections: Iterable[Section], published: Iterable[PublishedScore]) -> tuple[Section, ...]:
    """Add to each whole cell what was published of it."""
    found: dict[_Key, list[PublishedScore]] = defaultdict(list)
    for score in published:
        found[_key(score)].append(score)
    return tuple(
        replace(section, standings=tuple(_matched(standing, found) for standing in section.standings))
        for section in sections
    )


def published_columns(section: Section) -> list[PublishedColumn]:
    """The metrics of a task that something was published of, by source."""
    told = {(score.metric, score.source) for standing in section.standings for score in standing.published}
    return [
        PublishedColumn(metric, source)
        for metric in section.card.metrics
        for name, source in sorted(told)
        if name == metric.name
    ]


def _matched(standing: Standing, found: Mapping[_Key, Sequence[PublishedScore]]) -> Standing:
    result = standing.row.result
    cell, rule = result.cell, result.task_card.rule
    key = _Key(cell.model, cell.budget, cell.task.partition("(")[0], rule)
    return standing if result.partial else replace(standing, published=tuple(found.get(key, ())))


def _key(score: PublishedScore) -> _Key:
    if not isinstance(score, PublishedScore):
        raise UserError(f"a plugin published a {type(score).__name__}", todo="add hooks.PublishedScore to the event")
    try:
        model = str(parse(score.model))
    except UserError:  # the name of a Python object
        model = score.model
    return _Key(model, score.budget, score.task, score.rule)
