"""What the runs hold of a whole model and of others, model by model over the tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.errors import UserError
from ...harness.results import Estimate
from ...harness.specs import did_you_mean, parse
from ...harness.spending import VisualTokens
from .. import wording
from ..ranking import MOST_UNSCORED, Standing
from .answers import Answers, TaskAnswers, samples_of
from .ranks import Scored, alike, ranked
from .wholes import added, whole_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..collect import Collected, Row
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
_FEW = 3
"""Cells, or models, that are named one by one."""
SMALLER = "smaller-images"
"""The method whose models tell groups A and B apart."""


def mean_over_tasks(found: Sequence[Estimate]) -> Estimate:
    """The mean of some estimates, one or more, on samples of their own (MOVER: Zou 2008)."""
    if len(found) == 1:
        return found[0]
    value = math.fsum(one.value for one in found) / len(found)
    below = [one.value - one.low for one in found if one.low is not None]
    above = [one.high - one.value for one in found if one.high is not None]
    whole = len(below) == len(above) == len(found)
    low, high = (
        value + sign * math.hypot(*sides) / len(found) if whole else None for sign, sides in ((-1, below), (1, above))
    )
    method = f"mean over {len(found)} tasks, MOVER of their intervals"
    return Estimate(value=value, low=low, high=high, n=sum(one.n for one in found), method=method)


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
    def row(self) -> Row:
        """One of its cells."""
        return next(iter(self.tasks.values())).answers.row

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
class Family:
    """A whole model, and those that are held against it.

    Attributes:
        tasks: What the whole model answered, one or more.
        lines: The other models, one or more.
        averaged: Titles of the tasks that means are over: the whole model's score there is clearly above zero.
    """

    tasks: Sequence[TaskAnswers]
    lines: Sequence[Line]
    averaged: Sequence[str]

    @property
    def whole(self) -> str:
        """Label of the whole model."""
        return self.tasks[0].base.label

    def answers(self, task: TaskAnswers) -> list[Answers]:
        """Those of the whole model to one of the tasks, then those of the others."""
        title = task.title
        return [task.base, *(line.tasks[title].answers for line in self.lines if title in line.tasks)]


@dataclass(frozen=True, slots=True)
class Found:
    """What runs hold of whole models and others.

    Attributes:
        families: One or more.
        remarks: What must be known of cells, such as why one cannot be held against the whole model.
    """

    families: Sequence[Family]
    remarks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Named:
    """What is known of models beyond their specs, as labels; empty where specs tell.

    Attributes:
        baseline: The whole model of all others.
        blind: Those that see no image, by default the whole one with `blind`.
        downsampled: Those that see smaller images, by default the whole one with `smaller-images`, if there is one.
    """

    baseline: str = ""
    blind: str = ""
    downsampled: str = ""


def find(collected: Collected, named: Named) -> Found:
    """Hold the models of some runs each against its own whole one; see `reduction`.

    Raises:
        UserError: The runs lack a model that is named, or nothing can be held against a whole model.
    """
    if not collected.runs:
        raise UserError("no run is named", todo="name the run directories: adaptbench report RUN --table NAME")
    if not collected.rows:
        raise UserError("no cell of these runs is complete", todo="run them again, or name other runs")
    labels = list(dict.fromkeys(row.label for row in collected.rows))
    named = Named(
        _chosen(named.baseline, labels, "baseline"),
        _chosen(named.blind, labels, "blind"),
        _chosen(named.downsampled, labels, "downsampled"),
    )
    remarks = list(_absent(collected))
    answers = _answers(collected, remarks)
    wholes: dict[str, dict[str, Row]] = {}
    for row in collected.rows:
        wholes.setdefault(named.baseline or whole_of(row), {}).setdefault(row.label, row)
    held = {whole: _held(whole, members, answers, named, remarks) for whole, members in wholes.items()}
    families = [
        Family(tasks, lines, [task.title for task in tasks if task.above_zero()])
        for tasks, lines in held.values()
        if lines
    ]
    if families:
        alone = [whole for whole, (tasks, lines) in held.items() if tasks and not lines]
        return Found(families, [*remarks, *(f"{whole}: nothing is held against it" for whole in alone)])
    absent = [whole for whole in wholes if whole not in labels]
    if len(absent) > 1:
        what = f"nothing can be held against {wording.listed(absent)}, which these runs do not hold"
        todo = "run the whole models on the same tasks, or name another with --baseline MODEL"
        raise UserError(what, where=wording.listed([run.name for run in collected.runs]), todo=todo)
    if len(wholes) > 1:
        raise UserError("no spec tells which model is the whole one of others", todo="name it with --baseline MODEL")
    raise UserError(
        f"nothing can be held against {next(iter(wholes))}{f' ({remarks[0]})' if remarks else ''}",
        where=wording.listed([run.name for run in collected.runs]),
        todo="name runs of the same tasks that hold other models too",
    )


def _absent(collected: Collected) -> Iterator[str]:
    """Why cells have no scores; of many for one reason only their number and the first."""
    reasons: dict[str, list[str]] = {}
    for miss in collected.missing:
        cell = f"{wording.budgeted(miss.cell.model, miss.cell.budget)} on {miss.cell.task}"
        reasons.setdefault(miss.reason, []).append(cell)
    for reason, cells in reasons.items():
        if len(cells) > _FEW:
            yield f"{len(cells):,} cells, the first {cells[0]}: {reason}"
        else:
            yield from (f"{cell}: {reason}" for cell in cells)


def _held(
    whole: str,
    members: Mapping[str, Row],
    answers: Mapping[str, Mapping[str, Answers]],
    named: Named,
    remarks: list[str],
) -> tuple[list[TaskAnswers], list[Line]]:
    """The tasks and the other models of a family; adds to ``remarks``."""
    others = [label for label in members if label != whole]
    if whole not in members:
        named_others = wording.listed(others) if len(others) <= _FEW else f"{len(others)} models, such as {others[0]}"
        remarks.append(f"{named_others}: the whole model, {whole}, is not in these runs")
        return [], []
    blind = _variant(whole, members, "blind", named.blind, remarks)
    small = _variant(whole, members, SMALLER, named.downsampled, remarks)
    tasks: list[TaskAnswers] = []
    reduced: dict[str, dict[str, Reduced]] = {label: {} for label in others}
    for title, models in answers.items():
        asked = [label for label in others if label in models]
        if whole not in models:
            remarks += [f"{title}: {whole} has no answers to it"] if asked else []
            continue
        tasks.append(TaskAnswers(models[whole]).with_others(models.get(blind), models.get(small)))
        for label in asked:
            found = tasks[-1].reduced(models[label])
            if isinstance(found, str):
                remarks.append(f"{label} on {title}: {found}")
            else:
                reduced[label][title] = found
    return tasks, [Line(label, _is_baseline(label, own, blind), own) for label, own in reduced.items() if own]


def _variant(whole: str, members: Mapping[str, Row], method: str, named: str, remarks: list[str]) -> str:
    """The label of the member that is named, or the only one that adds just this method; empty if there is none."""
    if named in members:
        return named
    found = [label for label, row in members.items() if [call.name for call in added(row, members[whole])] == [method]]
    if len(found) > 1:
        remarks.append(f"{wording.listed(found)}: which one is meant for {whole} is not named")
    return found[0] if len(found) == 1 else ""


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
    """The label of a model that is named by its spec, however it is written; empty if none is named."""
    if not model or model in labels:
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


def ranks_of(family: Family, *, across: bool) -> dict[str, str]:
    """Of the models that did all tasks and are not baselines, among those that read about as many tokens."""
    titles = family.averaged
    rivals = {one.label: one for one in family.lines if not one.baseline and one.ratios(titles) and one.scored}
    tokens = {label: told.average for label, line in rivals.items() if (told := line.tokens())}
    tasks = [task for task in family.tasks if task.title in titles]
    ranks: dict[str, str] = {}
    for labels in filter(None, [list(rivals)] if across else alike(tokens)):
        columns = []
        for task in tasks:
            scores, names = samples_of(rivals[label].tasks[task.title].answers for label in labels)
            whole = float(np.nanmean(task.base.scores))
            columns.append(Scored(task.title, dict(zip(labels, scores, strict=True)), whole, names))
        if all(one.names for one in columns):
            ranks |= {label: f"{wording.tier(tier)} of {len(labels)}" for label, tier in ranked(columns).items()}
    return ranks
