"""What a comparison comes to, as values that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from ..cards import Metric
from ..results import CellId, Estimate

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
        question: What was asked; empty if the task asks no texts or cannot be built here.
        truth: The right answer; empty likewise.
        baseline: Its raw output.
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


class TaskComparison(_Stated):
    """One cell of the candidate against one of the baseline, on the same samples.

    Attributes:
        metric: The task's first one.
        noun: What a sample is called.
        n: Samples that both sides have a score for.
        baseline_score: Over those samples.
        candidate_score: Likewise.
        difference: Candidate minus baseline, paired by sample, with its interval.
        p: Of the paired test; `p_adjusted` for all tasks of the comparison (Holm).
        retained: Share of the baseline's score that the candidate has; ``None`` where the baseline's is near zero, or
            a lower score is the better one.
        detectable: Least difference that this many samples show with a chance of 90 % (see `stats.power`).
        costs: Of both sides.
        flips: Which samples changed.
        notes: What a reader must know, such as samples that lack a score.
        refused: Why the two cannot be compared; then there is no difference. Empty if they can.
    """

    task: str
    seed: int
    baseline: CellId
    candidate: CellId
    metric: Metric
    noun: str = "sample"
    n: int = 0
    baseline_score: Estimate | None = None
    candidate_score: Estimate | None = None
    difference: Estimate | None = None
    p: float | None = None
    p_adjusted: float | None = None
    retained: Estimate | None = None
    detectable: float | None = None
    costs: tuple[CostRatio, ...] = ()
    flips: Flips = Flips()
    notes: tuple[str, ...] = ()
    refused: str = ""

    @property
    def significant(self) -> bool:
        """Whether the two are told apart, with all tasks of the comparison taken together."""
        return self.p_adjusted is not None and self.p_adjusted <= ALPHA

    @property
    def gain(self) -> float:
        """How much better the candidate is, in the metric's unit; negative if it is worse, 0 if it was refused."""
        if self.difference is None:
            return 0.0
        return self.difference.value if self.metric.better == "higher" else -self.difference.value

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not told apart`` or ``not comparable``."""
        if self.refused:
            return "not comparable"
        if not self.significant:
            return "not told apart"
        return "better" if self.gain > 0 else "worse"


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
        """One row per pair of cells: scores, difference with its ends, p, retained, cost ratios, flips, verdict."""
        import pandas as pd

        return pd.DataFrame([_row(task) for task in self.tasks])

    def _repr_html_(self) -> str:
        """The same as a table in a notebook."""
        return self.to_pandas().to_html(index=False)


def _row(task: TaskComparison) -> dict[str, Any]:
    scores = {"baseline": task.baseline_score, "candidate": task.candidate_score, "difference": task.difference}
    return {
        "task": task.task,
        "seed": task.seed,
        "baseline_model": task.baseline.model,
        "baseline_budget": task.baseline.budget,
        "candidate_model": task.candidate.model,
        "candidate_budget": task.candidate.budget,
        "metric": task.metric.name,
        "n": task.n,
        **{name: estimate and estimate.value for name, estimate in scores.items()},
        "low": task.difference and task.difference.low,
        "high": task.difference and task.difference.high,
        "p": task.p,
        "p_adjusted": task.p_adjusted,
        "retained": task.retained and task.retained.value,
        **{f"{cost.name.replace(' ', '_').lower()}_ratio": cost.ratio for cost in task.costs},
        "lost": len(task.flips.lost),
        "gained": len(task.flips.gained),
        "verdict": task.verdict,
        "refused": task.refused,
    }
