"""What a finding claims, and whether runs support it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...harness.specs import parse
from .. import wording
from ..study import VERDICTS
from .contrasts import LEVEL, contrast, spread_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from .contrasts import Contrast, Term
    from .pairs import Pair

HOLDS, FAILS, UNDECIDED, NOT_RUN = VERDICTS
_ROUNDING = 1e-9
"""What is equal but for rounding is not below its bound."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Data):
    """A comparison, or several alike; the head of ``findings-5.yaml`` says what each field means."""

    of: str
    against: str = ""
    trained: dict[str, str] = {}
    trained_against: dict[str, str] = {}
    along: Literal["", "tasks", "samples", "split", "classes"] = ""
    budgets: tuple[float, ...] = ()
    bound: float | tuple[float, ...] = 0.0
    margin: float = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if isinstance(self.bound, tuple) and len(self.bound) != len(self.budgets):
            raise ValueError("give one bound, or one for each budget")
        if self.margin < 0 or (self.margin and self.bound):
            raise ValueError("give a bound, or a margin above 0")
        return self

    @property
    def bounds(self) -> tuple[float, ...]:
        """One for each budget."""
        return self.bound if isinstance(self.bound, tuple) else (self.bound,) * max(1, len(self.budgets))


class Finding(_Data):
    """A finding; fields as there."""

    id: str
    statement: str
    source: str
    theirs: str
    measure: Literal["accuracy", "relative", "over", "utilisation", "flops", "spread"] = "accuracy"
    rule: Literal["every", "some", "never"] = "every"
    by: Literal["average", "task"] = "average"
    targets: str = ""
    paired: bool = False
    comparisons: tuple[Claim, ...] = Field(min_length=1)
    why: str = ""


class Chapter(_Data):
    """A file of findings.

    Attributes:
        about: What the dissertation finds them for.
        usual: What a side was trained with, unless it says otherwise.
        apart: Tasks that a finding is not about, unless it says so.
    """

    chapter: int
    about: str
    usual: dict[str, str] = {}
    apart: str = ""
    findings: tuple[Finding, ...]


class Side(NamedTuple):
    """A method at a budget, trained in some way.

    Attributes:
        model: Its spec without the budget; ``base`` means any model.
        trained: What it was trained with, where that is not the usual.
    """

    model: str
    budget: float
    trained: tuple[tuple[str, str], ...] = ()

    def named(self, base: str) -> str:
        """As shown, on a base."""
        told = ", ".join(f"{name}={value}" for name, value in self.trained)
        model = wording.budgeted(base + self.model.removeprefix("base"), self.budget)
        return f"{model}, trained with {told}" if told else model


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and what came of it.

    Attributes:
        of: What the claim is about; at several budgets if it is about all of them together.
        against: What that is compared with; empty if the claim is about ``of`` alone.
        bound: The claim is that the value is not below it.
        task: The only one; empty for the average.
        on: The tasks that were averaged.
        lacks: What was not run.
        value: In the unit of the bound, or a number of answers; ``None`` if something was not run.
        ends: Of the 95 % interval.
        wide: Of the interval that allows for the number of the finding's comparisons.
        answers: How many samples were looked at, of all trainings.
        trainings: Of either side; 0 for a model without a method.
    """

    of: tuple[Side, ...]
    against: tuple[Side, ...]
    bound: float
    task: str = ""
    on: tuple[str, ...] = ()
    lacks: str = ""
    value: float | None = None
    ends: tuple[float, float] | None = None
    wide: tuple[float, float] | None = None
    answers: int = 0
    trainings: tuple[int, ...] = ()

    def lacking(self, what: str) -> Comparison:
        """The same, which cannot be made."""
        return replace(self, lacks=what)

    def resting_on(self, tasks: Sequence[str], trainings: tuple[int, ...]) -> Comparison:
        """The same, with these tasks, and that many trainings on either side."""
        return replace(self, on=tuple(tasks), trainings=trainings)

    @property
    def where(self) -> str:
        """On what it is made, as shown."""
        if len(self.on) > 1:
            return f"average of {len(self.on)}"
        return self.on[0] if self.on else self.task or "average"

    def named(self, base: str) -> str:
        """As shown, on a base."""
        many = len(self.of) > 1
        sides = [
            side[0]._replace(budget=1.0).named(base) if many else side[0].named(base)
            for side in (self.of, self.against)
            if side
        ]
        return " against ".join(sides) + (f", at {len(self.of)} budgets" if many else "")

    def verdict(self, rule: str) -> str:
        """What the interval says. What a comparison decides for its whole finding, the wide one must say."""
        if self.value is None:
            return NOT_RUN
        if rule == "never":
            return HOLDS if self.value == 0 else FAILS
        low, high = (self.ends, self.wide) if rule == "every" else (self.wide, self.ends)
        bound = self.bound - _ROUNDING
        if low is not None and low[0] >= bound:
            return HOLDS
        return FAILS if high is not None and high[1] < bound else UNDECIDED


def planned(finding: Finding, tasks: Sequence[str], pairs: Callable[[Claim], Sequence[Pair]]) -> list[Comparison]:
    """The comparisons of a finding, none of them made; with ``by: task`` one for each task.

    Args:
        finding: The finding.
        tasks: Those that it may be about.
        pairs: What both sides of a claim were trained with, once for each time that it is compared.
    """
    found = []
    for claim in finding.comparisons:
        for trained, other in pairs(claim):
            found += _compared(finding, claim, trained, other, tasks)
    return found


def _compared(
    finding: Finding, claim: Claim, trained: Mapping[str, str], other: Mapping[str, str], tasks: Sequence[str]
) -> list[Comparison]:
    """The comparisons of a claim whose sides were trained with this."""
    budgets = claim.budgets or (1.0,)
    of = tuple(_side(claim.of, budget, trained) for budget in budgets)
    against = tuple(_side(claim.against, b, other) for b in budgets if claim.against)
    if finding.measure == "spread":
        return [Comparison(of, against, claim.bounds[0])]
    found = []
    for place, bound in enumerate(claim.bounds):
        pair = of[place : place + 1], against[place : place + 1]
        both = [(*pair, -claim.margin), (*pair[::-1], -claim.margin)] if claim.margin else [(*pair, bound)]
        found += [Comparison(*one, task) for one in both for task in (tasks if finding.by == "task" else ("",))]
    return found


def decide(
    finding: Finding,
    comparison: Comparison,
    term: Callable[[Side, str], Term],
    clusters: Mapping[str, Sequence[str]],
    level: float,
) -> Comparison:
    """Make a comparison.

    Args:
        finding: Whose it is.
        comparison: Planned.
        term: Gives what a side comes to under a measure of `trainings.MEASURES`.
        clusters: Task -> the cluster of each sample.
        level: Of the wide interval.

    Raises:
        KeyError: The cells do not tell what is asked for.
        ValueError: No sample was scored on both sides.
    """
    measure = "accuracy" if finding.measure in ("relative", "spread") else finding.measure
    of, against = ([term(side, measure) for side in sides] for sides in (comparison.of, comparison.against))
    if finding.measure == "spread":
        if min(len(values) for t in (of[0], against[0]) for values in t.values.values()) < 2:
            return comparison.lacking("two trainings on either side")
        one, two = (np.stack([_means(t) for t in terms], axis=1) for terms in (of, against))
        value, ends = spread_ratio(one, two)
        return replace(comparison, value=value, ends=ends, wide=spread_ratio(one, two, level)[1])
    answers = sum(int(np.isfinite(values).sum()) for values in of[0].values.values())
    if finding.rule == "never":
        beyond = sum(int((values > 0).sum()) for values in of[0].values.values())
        return replace(comparison, value=float(beyond), answers=answers)
    shift = 0.0
    if finding.measure == "relative":
        if not all(np.nanmean(values) for values in against[0].values.values()):
            return comparison.lacking("a score above zero to compare with")
        terms, shift = _relative(of[0], against[0])
    else:
        terms = [*of, *(other.scaled(dict.fromkeys(other.values, -1.0)) for other in against)]
    found = contrast(terms, clusters)
    ends, wide = (_ends(finding, found, at, shift) for at in (LEVEL, level))
    return replace(comparison, value=100 * (found.value + shift), ends=ends, wide=wide, answers=answers)


def _ends(finding: Finding, found: Contrast, level: float, shift: float) -> tuple[float, float] | None:
    """The interval in per cent. Of answers that are all within the budget, or all beyond it, it is Wilson's."""
    ends = found.ends(level)
    if finding.measure == "over" and ends is not None and ends[0] == ends[1] and found.value in (0, 1):
        from scipy.special import ndtri

        other = ndtri((1 + level) / 2) ** 2 / (found.images + ndtri((1 + level) / 2) ** 2)
        ends = (0.0, other) if found.value == 0 else (1 - other, 1.0)
    return ends and (100 * (ends[0] + shift), 100 * (ends[1] + shift))


def _relative(of: Term, against: Term) -> tuple[list[Term], float]:
    """Terms whose sum is the error of the mean over tasks of a/b - 1, to first order, and that mean."""
    a, b = ({task: float(np.nanmean(v)) for task, v in term.values.items()} for term in (of, against))
    changes = [a[task] / b[task] - 1 for task in a]
    inverse = {task: 1 / b[task] for task in b}
    slope = {task: -a[task] / b[task] ** 2 for task in b}
    return [of.scaled(inverse), against.scaled(slope)], sum(changes) / len(changes)


def _means(term: Term) -> npt.NDArray[np.float64]:
    """The mean over tasks of each training."""
    values = [np.nanmean(values, axis=1) for values in term.values.values()]
    return np.asarray(np.mean(values, axis=0), dtype=np.float64)


def _side(text: str, budget: float, trained: Mapping[str, str]) -> Side:
    spec = parse(text)
    return Side(str(spec.without_budget()), spec.budget or budget, tuple(sorted(trained.items())))
