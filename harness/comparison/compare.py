"""From two sides to their comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UserError
from ..stats import holm
from .costs import cost_ratios
from .metrics import Pair, compare_means, compare_others
from .result import Comparison, Flips, TaskComparison, Unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..cards import Metric
    from ..store import StoredCell
    from .result import MetricComparison
    from .samples import SampleReader
    from .side import Side, SideCell


def compare(baseline: Side, candidate: Side, reader: SampleReader | None = None) -> Comparison:
    """Compare what two sides hold, cell by cell.

    A cell of the candidate is held against the baseline's cell of the same task, seed, model and budget. If the
    baseline is one model, models need not be equal; and if it has one budget only, budgets need not be either.

    Args:
        baseline: What the candidate is measured by.
        candidate: May be of the same run.
        reader: Builds tasks again, for metrics after the first one and for the samples that flipped. Without one,
            only first metrics are compared, and only the ids of those samples are given.

    Raises:
        UserError: The sides have no cell of the same task in common.
    """
    own, theirs = baseline.cells(), candidate.cells()
    one_model, one_run = bool(baseline.model) or _lone_models(own, theirs), baseline.run.path == candidate.run.path
    tasks, unpaired, partners = [], [], set()
    for cell in theirs:
        partner = _partner(cell, own, one_model=one_model)
        if partner is None:
            if baseline.model and not candidate.model:  # one model against all others: not all do its tasks
                continue
            unpaired.append(Unpaired(side=candidate.name, cell=cell.id, reason=f"not in {baseline.name}"))
            continue
        partners.add(partner.id)
        if one_run and partner.id == cell.id:
            continue
        if cell.stored and partner.stored:
            tasks.append(compare_cells(partner.stored, cell.stored, reader))
        unpaired += [
            Unpaired(side=side.name, cell=one.id, reason=one.reason)
            for side, one in ((baseline, partner), (candidate, cell))
            if one.stored is None
        ]
    unpaired += [
        Unpaired(side=baseline.name, cell=cell.id, reason=f"not in {candidate.name}")
        for cell in own
        if cell.id not in partners and not one_run
    ]
    unpaired = list(dict.fromkeys(unpaired))
    if not tasks:
        reasons = "; ".join(f"{one.cell.model} on {one.cell.task}: {one.reason}" for one in unpaired[:3])
        raise UserError(
            f"there are no complete cells to compare{f' ({reasons})' if reasons else ''}",
            where=f"{baseline.name} and {candidate.name}",
            todo="name two runs of the same tasks, or two models of one run",
        )
    return Comparison(
        baseline=baseline.name, candidate=candidate.name, tasks=_adjusted(tasks), unpaired=tuple(unpaired)
    )


def compare_cells(baseline: StoredCell, candidate: StoredCell, reader: SampleReader | None = None) -> TaskComparison:
    """Compare two complete cells. Where their accuracies cannot be compared, it says why, and gives the costs.

    Without a reader, only the first metric is compared.
    """
    result, cell = baseline.result, candidate.result.cell
    card = candidate.result.task_card
    stated = TaskComparison(
        task=cell.task,
        seed=cell.seed,
        baseline=result.cell,
        candidate=cell,
        metric=card.metrics[0],
        noun=card.sample_noun,
        costs=cost_ratios(baseline, candidate),
        refused=_refusal(baseline, candidate),
    )
    if stated.refused:
        return stated
    pair, asked = Pair.of(baseline, candidate), len(baseline.scores.samples)
    if not len(pair.rows):
        return stated.model_copy(update={"refused": f"no {stated.noun} has a score on both sides"})
    notes = [f"partial: {result.partial}"] if result.partial else []
    if len(pair.rows) < asked:
        notes.append(f"{asked - len(pair.rows):,} of {asked:,} {stated.noun}s lack a score on one side")
    found: dict[str, object] = {**dict(compare_means(stated.metric, pair)), "notes": tuple(notes)}
    flips = _flips(stated.metric, pair)
    if reader is not None:
        shown, unasked = reader.read(flips, baseline, candidate)
        flips = flips.model_copy(update={"samples": tuple(shown), "unasked": unasked})
        found["others"] = tuple(compare_others(pair, lambda: reader.task(candidate)))
    return stated.model_copy(update={**found, "flips": flips})


def _flips(metric: Metric, pair: Pair) -> Flips:
    a, b = pair.values(metric.name)
    gains = (b - a) * (1 if metric.better == "higher" else -1)
    return Flips(
        gained=tuple(name for name, gain in zip(pair.samples, gains, strict=True) if gain > 0),
        lost=tuple(name for name, gain in zip(pair.samples, gains, strict=True) if gain < 0),
    )


def _refusal(baseline: StoredCell, candidate: StoredCell) -> str:
    """Why two cells cannot be compared; empty if they can."""
    one, other = baseline.result, candidate.result
    card, new = one.task_card, other.task_card
    metric, its = card.metrics[0], new.metrics[0]
    if one.partial != other.partial:
        return f"one is partial: {one.partial or 'whole'}, and {other.partial or 'whole'}"
    if one.samples_digest != other.samples_digest or baseline.scores.samples != candidate.scores.samples:
        return f"other samples: {one.samples_digest[:8]}, and {other.samples_digest[:8]}"
    if (card.rule, card.rule_version) != (new.rule, new.rule_version):
        return f"other scoring rule: {card.rule} v{card.rule_version}, and {new.rule} v{new.rule_version}"
    if metric != its:
        return f"other metric: {metric.name} ({metric.better} is better), and {its.name} ({its.better} is better)"
    if baseline.lacks_groups or candidate.lacks_groups:
        return "the samples are grouped, but the records do not name the groups"
    return ""


def _partner(cell: SideCell, own: Sequence[SideCell], *, one_model: bool) -> SideCell | None:
    """The baseline's cell that a cell is held against."""
    same = [
        other
        for other in own
        if (other.id.task, other.id.seed) == (cell.id.task, cell.id.seed)
        and (one_model or other.id.model == cell.id.model)
    ]
    equal = next((other for other in same if other.id.budget == cell.id.budget), None)
    return equal or (same[0] if one_model and len(same) == 1 else None)


def _lone_models(own: Sequence[SideCell], theirs: Sequence[SideCell]) -> bool:
    """Whether each side holds one model: then it is clear which is compared with which."""
    return all(len({cell.id.model for cell in side}) == 1 for side in (own, theirs))


def _adjusted(tasks: Sequence[TaskComparison]) -> tuple[TaskComparison, ...]:
    """Adjust the p values for the number of tests: those of the first metrics, and those of all others."""
    first = _holm(tasks)
    others = iter(_holm([other for task in tasks for other in task.others]))
    return tuple(
        task.model_copy(update={"p_adjusted": p, "others": tuple(_with(other, next(others)) for other in task.others)})
        for task, p in zip(tasks, first, strict=True)
    )


def _holm(compared: Sequence[MetricComparison]) -> list[float | None]:
    """The adjusted p values, ``None`` where there is no test."""
    adjusted = iter(holm([one.p for one in compared if one.p is not None]))
    return [None if one.p is None else next(adjusted) for one in compared]


def _with(compared: MetricComparison, p_adjusted: float | None) -> MetricComparison:
    return compared.model_copy(update={"p_adjusted": p_adjusted})
