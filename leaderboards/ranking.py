"""Who may be compared with whom, and which ranks the samples leave open.

A cell is ranked only among cells of the same task that were scored on the same samples by the same version of the same
rule, whole, and with enough samples. Every other cell is shown with the reason why it has no rank.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ..harness.stats import Tier, cluster_names, detectable_gap, rank_tiers
from .wording import seeded, tier

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ..harness.cards import Metric, TaskCard
    from ..harness.hooks import PublishedScore
    from ..harness.results import Estimate
    from .collect import Row

_Value = TypeVar("_Value", bound="Hashable")

ALPHA = 0.05
"""Chance of one or more wrong claims among the ranks of a task."""
LEAST_SAMPLES = 10
"""Below it, no difference survives the correction for half a dozen models, however clear it is."""
MOST_UNSCORED = 0.05
"""Share of samples that may lack a score: who leaves out the hard ones must not gain by it."""


class Grounds(NamedTuple):
    """What must be equal for two cells of a task to be compared."""

    samples: str
    rule: str
    version: int
    metric: str

    def difference(self, other: Grounds) -> str:
        """Say how a cell with these grounds differs from those that are ranked, whose grounds are ``other``."""
        if self.samples != other.samples:
            return f"scored on other samples ({self.samples[:8]}, the ranked cells on {other.samples[:8]})"
        if self.metric != other.metric:
            return f"measured by {self.metric}, the ranked cells by {other.metric}"
        return f"scored by rule {self.rule} v{self.version}, the ranked cells by {other.rule} v{other.version}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A cell on the board of its task.

    Attributes:
        name: Model spec with budget, unique in the section.
        tier: Ranks that are open; ``None`` for a baseline and for whatever is not ranked.
        reason: Why it is not comparable; empty if it is.
        published: The same scores as others have published them.
    """

    row: Row
    name: str
    tier: Tier | None = None
    reason: str = ""
    published: tuple[PublishedScore, ...] = ()

    @property
    def baseline(self) -> bool:
        """A constant, random or blind predictor: shown, compared, never ranked."""
        result = self.row.result
        return result.model_card.reference or any(card.reference for card in result.method_cards.values())

    @property
    def comparable(self) -> bool:
        """It may share a chart with the ranked cells."""
        return not self.reason

    @property
    def rank(self) -> str:
        """The rank as text."""
        return "baseline" if self.baseline and self.comparable else tier(self.tier)

    @property
    def headline(self) -> Estimate | None:
        """The metric that ranks."""
        result = self.row.stored.result
        return result.metrics.get(result.task_card.metrics[0].name)


@dataclass(frozen=True, slots=True)
class Section:
    """One task with one seed of its samples.

    Attributes:
        standings: Best first; what is not ranked last.
        paired: Number of samples that the ranks were decided on.
        detectable: Least difference between two models that these samples show with a chance of 90 %, in the metric's
            own unit; ``None`` if there are no two models, or it is not known.
        partial: Why none of its cells is ranked, if all that may be compared ran on the same part of the samples.
    """

    task: str
    seed: int
    card: TaskCard
    standings: tuple[Standing, ...]
    paired: int
    detectable: float | None = None
    partial: str = ""

    @property
    def shown(self) -> tuple[Standing, ...]:
        """The cells that may share a chart: those that may be compared; of a partial run, those of the same part."""
        if not self.partial:
            return tuple(standing for standing in self.standings if standing.comparable)
        alike = [standing for standing in self.standings if standing.reason == self.partial and standing.headline]
        chosen = commonest(_grounds(standing.row) for standing in alike)
        return tuple(standing for standing in alike if _grounds(standing.row) == chosen)

    @property
    def title(self) -> str:
        """The task's name."""
        return seeded(self.task, self.seed)

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        return self.card.metrics[0]

    @property
    def ranked(self) -> int:
        """Number of models with a rank."""
        return sum(standing.tier is not None for standing in self.standings)

    @property
    def noun(self) -> str:
        """What its samples are called."""
        return f"{self.card.sample_noun}s"


def sections(rows: Iterable[Row]) -> tuple[Section, ...]:
    """Rank the cells of each task."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        cell = row.result.cell
        groups.setdefault((cell.task, cell.seed), []).append(row)
    return tuple(_section(task, seed, group) for (task, seed), group in groups.items())


def commonest(values: Iterable[_Value]) -> _Value | None:
    """The most frequent value, the first of equally frequent ones; ``None`` if there are no values."""
    return next((value for value, _ in Counter(values).most_common(1)), None)


def _section(task: str, seed: int, rows: Sequence[Row]) -> Section:
    standings = [Standing(row, row.label, reason=_own_fault(row)) for row in rows]
    chosen = commonest(_grounds(s.row) for s in standings if s.comparable)
    if chosen is not None:
        eligible = [s for s in standings if s.comparable and _grounds(s.row) == chosen]
        holders = {s.row.label: s for s in reversed(eligible)}
        standings = [_compared(standing, chosen, holders) for standing in standings]
    labels = Counter(row.label for row in rows)
    standings = [s if s.comparable or labels[s.name] == 1 else _with_run(s) for s in standings]
    card = next((s for s in standings if s.comparable), standings[0]).row.result.task_card
    standings, paired, detectable = _ranked(standings, card.metrics[0])
    upwards = card.metrics[0].better == "higher"
    ordered = tuple(sorted(standings, key=lambda s: _order(s, upwards)))
    return Section(task, seed, card, ordered, paired, detectable, _partial(ordered))


def _partial(standings: Sequence[Standing]) -> str:
    """The reason that most cells of a task share if none is whole; empty if there is another."""
    if any(standing.comparable for standing in standings):
        return ""
    reasons = [standing.reason for standing in standings if standing.row.result.partial]
    return commonest(reasons) or ""


def _with_run(standing: Standing) -> Standing:
    """Tell it by its run from other cells of the same model."""
    return replace(standing, name=f"{standing.name} [{standing.row.run.name}]")


def _own_fault(row: Row) -> str:
    """Why a cell can never be ranked; empty if it can."""
    result = row.result
    if result.partial:
        return f"partial: {result.partial}"
    score = result.metrics.get(result.task_card.metrics[0].name)
    if score is None:
        return "nothing could be scored"
    if score.n < LEAST_SAMPLES:
        return f"too few samples: {score.n} scored, a rank needs {LEAST_SAMPLES}"
    if result.unscored > MOST_UNSCORED * result.samples:
        share = f"{100 * result.unscored / result.samples:.0f} %"
        return f"{share} of the samples could not be scored, a rank allows at most {100 * MOST_UNSCORED:g} %"
    if row.stored.lacks_groups:  # paired tests would have to be made by group
        return "its samples are grouped, but its records do not name the groups"
    return ""


def _grounds(row: Row) -> Grounds:
    card = row.result.task_card
    metric = card.metrics[0]
    how = f"{metric.name} ({metric.better} is better)"
    return Grounds(row.result.samples_digest, card.rule, card.rule_version, how)


def _compared(standing: Standing, chosen: Grounds, holders: Mapping[str, Standing]) -> Standing:
    """Say why a standing is not comparable with the section's ``chosen`` grounds, if it is not.

    Args:
        standing: Any of the section.
        chosen: What the ranked cells have in common.
        holders: Label -> the first cell of that label with those grounds.
    """
    holder = holders.get(standing.row.label)
    if not standing.comparable or holder is standing:
        return standing
    own = _grounds(standing.row)
    if own == chosen and holder:
        reason = f"run {holder.row.run.name}, given first, holds this cell with other weights, settings or code"
    else:
        reason = own.difference(chosen)
        reason += f"; run {holder.row.run.name} holds the same cell as the others have it" if holder else ""
    return replace(standing, reason=reason)


def _ranked(standings: Sequence[Standing], metric: Metric) -> tuple[list[Standing], int, float | None]:
    """Add the tiers; return also how many samples decided, those scored for every rival, and what they can show."""
    rivals = {s.name: s.row.scores.values for s in standings if s.comparable and not s.baseline}
    if not rivals:
        return list(standings), 0, None
    shared = np.logical_and.reduce([np.isfinite(values) for values in rivals.values()])
    paired = int(shared.sum())
    if paired < LEAST_SAMPLES:
        reason = f"only {paired} samples were scored for every model, a rank needs {LEAST_SAMPLES}"
        return [replace(s, reason=reason) if s.name in rivals else s for s in standings], 0, None
    aligned = {name: values[shared] for name, values in rivals.items()}
    some = next(s.row.scores for s in standings if s.name in rivals)
    groups = cluster_names(some.samples, some.groups)
    kept = None if groups is None else [group for group, keep in zip(groups, shared, strict=True) if keep]
    tiers = rank_tiers(aligned, higher_is_better=metric.better == "higher", alpha=ALPHA, groups=kept)
    return [replace(s, tier=tiers.get(s.name)) for s in standings], paired, detectable_gap(aligned, kept)


def _order(standing: Standing, upwards: bool) -> tuple[bool, float, str]:
    score = standing.headline
    if score is None:
        return (True, 0.0, standing.name)
    return (not standing.comparable, -score.value if upwards else score.value, standing.name)
