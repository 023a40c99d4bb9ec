"""What the runs hold of a whole model and of others, model by model over the tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.errors import UserError
from ...harness.specs import did_you_mean, parse
from ...harness.spending import VisualTokens
from .. import wording
from ..ranking import MOST_UNSCORED, Standing
from ..summary import mean_over_tasks
from .answers import Answers, TaskAnswers, samples_of
from .ranks import alike, ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.results import Estimate
    from ..collect import Collected
    from .answers import Reduced


class Measure(NamedTuple):
    """What is told of a model on a task, as an estimate."""

    name: str
    of: Callable[[Reduced], Estimate | None]


RETAINED = Measure("retained", lambda one: one.compared.retained)
CORRECTED = Measure("corrected", lambda one: one.corrected)
LOYALTY = (
    Measure("loyalty, text", lambda one: one.loyalty.text),
    Measure("loyalty, words", lambda one: one.loyalty.words),
    Measure("loyalty, answer", lambda one: one.loyalty.answer),
)
GROUPS = (
    Measure("accuracy on A", lambda one: one.groups and one.groups.a),
    Measure("accuracy on B", lambda one: one.groups and one.groups.b),
)
MEASURES = (RETAINED, CORRECTED, *LOYALTY, *GROUPS)


@dataclass(frozen=True, slots=True)
class Line:
    """One model over the tasks.

    Attributes:
        baseline: It is never ranked.
        tasks: Title -> what it does there.
    """

    label: str
    baseline: bool
    tasks: Mapping[str, Reduced]

    @property
    def scored(self) -> bool:
        """Whether nearly all samples have a score: who leaves out the hard ones must not gain a rank by it."""
        results = [reduced.answers.row.result for reduced in self.tasks.values()]
        return all(result.unscored <= MOST_UNSCORED * result.samples for result in results)

    def tokens(self) -> VisualTokens | None:
        """Visual tokens, averaged over the tasks; ``None`` if they are not known."""
        told = [reduced.answers.tokens for reduced in self.tasks.values()]
        known = [one for one in told if one is not None]
        if len(known) < len(told):
            return None
        return VisualTokens(*(math.fsum(column) / len(known) for column in zip(*known, strict=True)))

    def flops(self) -> float | None:
        """FLOPs as a share of the whole model's, averaged over the tasks; ``None`` if one of them lacks it."""
        costs = [cost.ratio for one in self.tasks.values() for cost in one.compared.costs if cost.name == "FLOPs"]
        known = [ratio for ratio in costs if ratio is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(self.tasks) else None

    def mean(self, titles: Sequence[str], measure: Measure) -> Estimate | None:
        """A measure averaged over tasks; ``None`` if one of them lacks it."""
        found = self._of_all(titles, measure)
        return mean_over_tasks(found) if found else None

    def ratios(self, titles: Sequence[str]) -> list[float]:
        """The share retained on each task; none if one of them lacks it."""
        return [one.value for one in self._of_all(titles, RETAINED)]

    def _of_all(self, titles: Sequence[str], measure: Measure) -> list[Estimate]:
        found = [measure.of(self.tasks[title]) for title in titles if title in self.tasks]
        known = [one for one in found if one is not None]
        return known if len(known) == len(titles) else []


@dataclass(frozen=True, slots=True)
class Found:
    """What runs hold of a whole model and others.

    Attributes:
        remarks: What must be known of cells, such as why one cannot be held against the whole model.
    """

    tasks: Sequence[TaskAnswers]
    lines: Sequence[Line]
    remarks: Sequence[str]

    @property
    def averaged(self) -> list[str]:
        """Titles of the tasks that means are over: the whole model's score there is clearly above zero."""
        return [task.title for task in self.tasks if task.above_zero()]

    def answers(self, task: TaskAnswers) -> list[Answers]:
        """Those of the whole model to one of the tasks, then those of the others."""
        title = task.title
        return [task.base, *(line.tasks[title].answers for line in self.lines if title in line.tasks)]


def find(collected: Collected, baseline: str, blind: str = "", downsampled: str = "") -> Found:
    """Hold the models of some runs against the whole one; see `reduction`."""
    if not collected.rows:
        raise UserError("no cell of these runs is complete", todo="run them again, or name other runs")
    labels = list(dict.fromkeys(row.label for row in collected.rows))
    whole = _chosen(baseline, labels, "baseline")
    blind = _chosen(blind, labels, "blind") if blind else f"{whole}+blind"
    small = _chosen(downsampled, labels, "downsampled") if downsampled else ""
    remarks = [
        f"{wording.budgeted(miss.cell.model, miss.cell.budget)} on {miss.cell.task}: {miss.reason}"
        for miss in collected.missing
    ]
    tasks: list[TaskAnswers] = []
    reduced: dict[str, dict[str, Reduced]] = {label: {} for label in labels if label != whole}
    for title, models in _answers(collected, remarks).items():
        if whole not in models:
            remarks.append(f"{title}: {whole} has no answers to it")
            continue
        tasks.append(TaskAnswers(models[whole]).with_others(models.get(blind), models.get(small)))
        for label in (label for label in models if label != whole):
            found = tasks[-1].reduced(models[label])
            if isinstance(found, str):
                remarks.append(f"{label} on {title}: {found}")
            else:
                reduced[label][title] = found
    lines = [Line(label, _is_baseline(label, own, blind), own) for label, own in reduced.items() if own]
    if not lines:
        raise UserError(
            f"nothing can be held against {whole}{f' ({remarks[0]})' if remarks else ''}",
            where=wording.listed([run.name for run in collected.runs]),
            todo="name runs of the same tasks that hold other models too",
        )
    return Found(tasks, lines, remarks)


def _answers(collected: Collected, remarks: list[str]) -> dict[str, dict[str, Answers]]:
    """Task -> model -> its answers, of two cells of one model the first; adds to ``remarks``."""
    found: dict[str, dict[str, Answers]] = {}
    for row in collected.rows:
        title = wording.seeded(row.result.cell.task, row.result.cell.seed)
        models = found.setdefault(title, {})
        if row.label in models:
            remarks.append(f"{row.label} on {title}: run {models[row.label].row.run.name}, given first, holds it too")
            continue
        models[row.label] = Answers.of(row)
        if row.result.unscored:
            remarks.append(f"{row.label} on {title}: {row.result.unscored:,} of {row.result.samples:,} not scored")
    return found


def _chosen(model: str, labels: Sequence[str], option: str) -> str:
    """The label of a model that is named by its spec, however it is written."""
    if not model:
        raise UserError("the whole model is not named", where="reduction", todo=f"name it with --{option} MODEL")
    if model in labels:
        return model
    spec = parse(model)
    label = wording.budgeted(str(spec.without_budget()), 1 if spec.budget is None else spec.budget)
    if label not in labels:
        hint = did_you_mean(label, labels)
        raise UserError(f"there is no model {model}{hint}", where=option, todo=f"the runs have {', '.join(labels)}")
    return label


def _is_baseline(label: str, tasks: Mapping[str, Reduced], blind: str) -> bool:
    rows = (reduced.answers.row for reduced in tasks.values())
    return label == blind or any(Standing(row, label).baseline for row in rows)


def ranks_of(found: Found, *, across: bool) -> dict[str, str]:
    """Of the models that did all tasks and are not baselines, among those that read about as many tokens."""
    titles = found.averaged
    rivals = {one.label: one for one in found.lines if not one.baseline and one.ratios(titles) and one.scored}
    tokens = {label: told.average for label, line in rivals.items() if (told := line.tokens())}
    tasks = [task for task in found.tasks if task.title in titles]
    ranks: dict[str, str] = {}
    for labels in filter(None, [list(rivals)] if across else alike(tokens)):
        columns = []
        for task in tasks:
            scores, names = samples_of(rivals[label].tasks[task.title].answers for label in labels)
            columns.append((dict(zip(labels, scores, strict=True)), float(np.nanmean(task.base.scores)), names))
        if all(names for _, _, names in columns):
            ranks |= {label: f"{wording.tier(tier)} of {len(labels)}" for label, tier in ranked(columns).items()}
    return ranks
