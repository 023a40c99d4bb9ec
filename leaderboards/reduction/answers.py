"""What models answered to the samples of a task, held against the whole model's answers, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from ...harness.comparison import compare_cells
from ...harness.hashing import canonical_json
from ...harness.spending import visual_tokens
from ...harness.stats import cluster_names, ratio_interval, share_interval
from .. import wording
from .measures import corrected_retention, flips, groups_a_b, information, plain, right

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from ...harness.comparison import TaskComparison
    from ...harness.contracts import Record
    from ...harness.results import Estimate
    from ...harness.spending import VisualTokens
    from ...harness.stats import Values
    from ..collect import Row
    from .measures import Flips, Groups


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers to a task.

    Attributes:
        said: Of each sample its raw output, the same as `plain` has it, and what was parsed of it, as JSON.
        tokens: Means over the answers; ``None`` if they do not tell.
    """

    row: Row
    said: tuple[tuple[bytes, bytes, bytes], ...]
    tokens: VisualTokens | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the records of a cell."""
        records = list(row.journal.records())
        return cls(row, tuple(map(_said, records)), visual_tokens(records, row.result.language))

    @property
    def label(self) -> str:
        """Model spec with its budget."""
        return self.row.label

    @property
    def scores(self) -> Values:
        """Of the metric that ranks, float64 [samples]; NaN where a sample has none."""
        return self.row.scores.values

    @property
    def clusters(self) -> list[str] | None:
        """The name of each sample's cluster; ``None`` if they are all independent."""
        return cluster_names(self.row.scores.samples, self.row.scores.groups)


class Loyalty(NamedTuple):
    """Share of the samples to which a model says what the whole model says.

    Attributes:
        text: The same characters.
        words: The same words, see `measures.plain`.
        answer: The same answer, as the scoring rule reads it; where it reads none, the same words.
    """

    text: Estimate
    words: Estimate
    answer: Estimate


@dataclass(frozen=True, slots=True)
class Reduced:
    """A model that reads fewer tokens on a task, beside the whole model.

    Attributes:
        compared: Scores, difference, share retained.
        corrected: Share retained of what images add; ``None`` if that cannot be said.
        loyalty: To the whole model's answers.
        flips: Of right and wrong answers; ``None`` if the metric is not a share of right answers.
        groups: VTC-Bench's; ``None`` without a down-sampled model, or without ``flips``.
    """

    answers: Answers
    compared: TaskComparison
    corrected: Estimate | None
    loyalty: Loyalty
    flips: Flips | None
    groups: Groups | None


@dataclass(frozen=True, slots=True)
class TaskAnswers:
    """The answers to one task that others are held against.

    Attributes:
        base: Of the whole model.
        blind: Of the one that sees no image.
        downsampled: Of the one that sees smaller images.
    """

    base: Answers
    blind: Answers | None = None
    downsampled: Answers | None = None

    @property
    def title(self) -> str:
        """The task, with the seed of its samples."""
        cell = self.base.row.result.cell
        return wording.seeded(cell.task, cell.seed)

    @property
    def upwards(self) -> bool:
        """Whether a higher score is the better one; else nothing is retained."""
        return self.base.row.result.task_card.metrics[0].better == "higher"

    @property
    def shares(self) -> bool:
        """Whether the score is a share of right answers."""
        return self.upwards and self.base.row.result.task_card.metrics[0].unit == "%"

    def above_zero(self) -> bool:
        """Whether the whole model's score is clearly above zero, such that a share of it means something."""
        shared = _Shared.by(self.base)
        (base,) = shared.scores
        return self.upwards and ratio_interval(base, base, shared.groups, shares=self.shares) is not None

    @property
    def zero(self) -> tuple[str, float] | None:
        """What scores without an image, and how much: the blind model, else a guess; ``None`` if neither is known."""
        if self.blind is not None:
            return self.blind.label, float(np.nanmean(self.blind.scores))
        chance = self.base.row.result.task_card.chance
        return None if chance is None else ("chance", chance)

    def information(self) -> Estimate | None:
        """By how much images raise the blind model's score; ``None`` without one, or where its score is near zero."""
        if self.blind is None or not self.upwards:
            return None
        shared = _Shared.by(self.base, self.blind)
        base, blind = shared.scores
        return information(base, blind, shared.groups, shares=self.shares, noun=shared.noun)

    def with_others(self, blind: Answers | None, downsampled: Answers | None) -> Self:
        """The same with these, as far as they can be compared with the whole model."""
        fit = [
            one if one and not compare_cells(self.base.row.stored, one.row.stored).refused else None
            for one in (blind, downsampled)
        ]
        return replace(self, blind=fit[0], downsampled=fit[1])

    def reduced(self, other: Answers) -> Reduced | str:
        """Hold a model against the whole one; or why that cannot be done."""
        compared = compare_cells(self.base.row.stored, other.row.stored)
        if compared.refused:
            return compared.refused
        shared = _Shared.by(self.base, other)
        said = [list(zip(self.base.said[row], other.said[row], strict=True)) for row in shared.rows]
        same = np.array([[one == two for one, two in forms] for forms in said])
        loyalty = Loyalty(*(share_interval(form.astype(float), shared.groups, noun=shared.noun) for form in same.T))
        base, own = map(right, shared.scores)
        changed = flips(base, own, same[:, 2], shared.groups) if self.shares else None
        return Reduced(other, compared, self._corrected(other), loyalty, changed, self._groups(other))

    def _corrected(self, other: Answers) -> Estimate | None:
        if self.zero is None or not self.upwards:
            return None
        shared = _Shared.by(self.base, other, *([self.blind] if self.blind else []))
        base, scores, *blind = shared.scores
        zero = blind[0] if blind else self.zero[1]
        return corrected_retention(base, scores, zero, shared.groups, noun=shared.noun) if len(base) else None

    def _groups(self, other: Answers) -> Groups | None:
        if self.downsampled is None or not self.shares:
            return None
        shared = _Shared.by(self.base, self.downsampled, other)
        base, downsampled, own = map(right, shared.scores)
        return groups_a_b(base, downsampled, own, shared.groups, noun=shared.noun)


class _Shared(NamedTuple):
    """The samples that some models all have a score for.

    Attributes:
        rows: Their positions, int64 [n].
        scores: Of each model, float64 [n].
        groups: Names of their clusters; ``None`` if they are all independent.
        noun: What one of them is called.
    """

    rows: npt.NDArray[np.intp]
    scores: list[Values]
    groups: list[str] | None
    noun: str

    @classmethod
    def by(cls, *models: Answers) -> Self:
        rows = np.flatnonzero(np.logical_and.reduce([np.isfinite(one.scores) for one in models]))
        column = models[0].row.scores
        groups = cluster_names([column.samples[row] for row in rows], [column.groups[row] for row in rows])
        noun = models[0].row.result.task_card.sample_noun
        return cls(rows, [one.scores[rows] for one in models], groups, noun)


def samples_of(models: Iterable[Answers]) -> tuple[list[Values], list[str]]:
    """The scores of some models on the samples that all have one for, and a name of each sample's cluster."""
    shared = _Shared.by(*models)
    return shared.scores, shared.groups or [str(row) for row in shared.rows]


def _said(record: Record) -> tuple[bytes, bytes, bytes]:
    words = canonical_json(plain(record.output))
    return canonical_json(record.output), words, words if record.parsed is None else canonical_json([record.parsed])
