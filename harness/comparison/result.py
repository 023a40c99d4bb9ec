"""What a comparison comes to, as values that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from ..cards import Metric
from ..results import CellId, Estimate
from ..texts import all_printable

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
"""Chance of one or more wrong claims among the tasks of a comparison."""


class _Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CostRatio(_Stated):
    """What both sides cost under one name.

    Attributes:
        name: ``FLOPs``, ``time``, ``memory``, ``parameters``, ``visual tokens`` or ``text tokens``.
        unit: ``FLOP``, ``s``, ``B``, or none; per input, or per sample of a task whose answers tell their cost.
        baseline: ``None`` if it is not known.
        candidate: Likewise.
        ratio: Candidate over baseline; ``None`` if the two cannot be compared.
        reason: Why they cannot.
    """

    name: str
    unit: str = ""
    baseline: float | None = None
    candidate: float | None = None
    ratio: float | None = None
    reason: str = ""


class FlippedSample(_Stated):
    """A sample whose score changed.

    Attributes:
        gained: The candidate did better; otherwise the baseline did.
        question: What was asked; empty if the task cannot be built here.
        truth: The right answer; empty likewise, and of an episode.
        baseline: Its raw output; of an episode, how many of its answers are right.
        candidate: Likewise.
        why: What changed.
    """

    sample: str
    gained: bool
    question: str
    truth: str
    baseline: str
    candidate: str
    why: str


class Flips(_Stated):
    """Samples, by id, that one side did better than the other; of right and wrong answers, alone got right.

    Attributes:
        gained: By the candidate.
        lost: By the candidate, for the baseline did better.
        samples: Some of them, as they were answered, if they were asked for; those that were lost first.
        unasked: Why their questions are not among them; empty if they are.
    """

    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    samples: tuple[FlippedSample, ...] = ()
    unasked: str = ""


class MetricComparison(_Stated):
    """One metric of both sides, on the same samples.

    Attributes:
        metric: Which one.
        n: Samples that both sides have a score for.
        baseline_score: Over those samples.
        candidate_score: Likewise.
        difference: Candidate minus baseline, paired by sample, with its interval.
        p: Of the paired test; `p_adjusted` (Holm) for the first metrics of all tasks, or for all others.
        retained: Share of the baseline's score that the candidate has; ``None`` where the baseline's is near zero, a
            lower score is the better one, or the metric is not a mean over samples.
        detectable: Least difference that this many samples show with a chance of 90 % (see `stats.power`).
        refused: Why the two cannot be compared; then there is no difference. Empty if they can.
    """

    metric: Metric
    n: int = 0
    baseline_score: Estimate | None = None
    candidate_score: Estimate | None = None
    difference: Estimate | None = None
    p: float | None = None
    p_adjusted: float | None = None
    retained: Estimate | None = None
    detectable: float | None = None
    refused: str = ""

    @property
    def significant(self) -> bool:
        """Whether the two are told apart, with all that p is adjusted for taken together."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    @property
    def gain(self) -> float:
        """How much better the candidate is, in the metric's unit; negative if it is worse, 0 if that cannot be said."""
        if self.difference is None or self.metric.better == "neither":
            return 0.0
        return self.difference.value if self.metric.better == "higher" else -self.difference.value

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not told apart`` or ``not comparable``; ``different`` if neither way is better."""
        if self.refused:
            return "not comparable"
        if not self.significant:
            return "not told apart"
        if self.metric.better == "neither":
            return "different"
        return "better" if self.gain > 0 else "worse"


class TaskComparison(MetricComparison):
    """One cell of the candidate against one of the baseline: the task's first metric, and what goes with it.

    Attributes:
        noun: What a sample is called.
        others: The task's other metrics.
        costs: Of both sides.
        flips: Which samples changed, by the first metric.
        notes: What a reader must know, such as samples that lack a score.
    """

    task: str
    seed: int
    baseline: CellId
    candidate: CellId
    noun: str = "sample"
    others: tuple[MetricComparison, ...] = ()
    costs: tuple[CostRatio, ...] = ()
    flips: Flips = Flips()
    notes: tuple[str, ...] = ()


class Unpaired(_Stated):
    """A cell that has no partner on the other side, or no scores."""

    side: str
    cell: CellId
    reason: str


class Comparison(_Stated):
    """Two sides over all tasks that they share.

    Attributes:
        baseline: Name of the side: a run, or a model of it.
        candidate: Likewise.
        alpha: Chance of one or more wrong claims among all tasks.
    """

    schema_version: int = 1
    baseline: str
    candidate: str
    alpha: float = ALPHA
    tasks: tuple[TaskComparison, ...]
    unpaired: tuple[Unpaired, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """One row per pair of cells and metric: scores, difference with its ends, p, retained, verdict.

        Cost ratios and flips are in the row of a task's first metric.
        """
        import pandas as pd

        return pd.DataFrame(all_printable([row for task in self.tasks for row in _rows(task)]))

    def _repr_html_(self) -> str:
        """The same as a table in a notebook."""
        return self.to_pandas().to_html(index=False)


def _rows(task: TaskComparison) -> list[dict[str, Any]]:
    cells = {
        "task": task.task,
        "seed": task.seed,
        "baseline_model": task.baseline.model,
        "baseline_budget": task.baseline.budget,
        "candidate_model": task.candidate.model,
        "candidate_budget": task.candidate.budget,
    }
    beside = {f"{cost.name.replace(' ', '_').lower()}_ratio": cost.ratio for cost in task.costs}
    beside |= {"lost": len(task.flips.lost), "gained": len(task.flips.gained)}
    return [cells | _scores(task) | beside, *(cells | _scores(other) for other in task.others)]


def _scores(compared: MetricComparison) -> dict[str, Any]:
    difference = compared.difference
    scores = {"baseline": compared.baseline_score, "candidate": compared.candidate_score, "difference": difference}
    return {
        "metric": compared.metric.name,
        "n": compared.n,
        **{name: estimate and estimate.value for name, estimate in scores.items()},
        "low": difference and difference.low,
        "high": difference and difference.high,
        "p": compared.p,
        "p_adjusted": compared.p_adjusted,
        "retained": compared.retained and compared.retained.value,
        "verdict": compared.verdict,
        "refused": compared.refused,
    }
