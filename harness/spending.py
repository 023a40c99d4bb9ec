"""What a cell spends of its budget: exact comparisons, and what its answers come to.

A budget is compared under two accountings, each of a part that an answer used and the whole of it:

* `units`: the switches that were on, of all (the dissertation's success and utilisation, Table 5.5);
* `of_full`: the language model's prefill with scheduler and latency token, of the same model's prefill with every
  switch on.

What a cell's answers took together is also given of the base model's prefills, without any method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .abilities import HasArchitecture
from .budgets import exact
from .execution import Execution, LayerWork
from .prefill_cost import PrefillCost
from .results import Account, Estimate, Range, Spending
from .stats import cluster_names, mean_interval, wilson
from .transformer import Architecture, Language

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .contracts import Record
    from .measure.roofline import Accelerator

Accounting: TypeAlias = Callable[[PrefillCost], tuple[int, int] | None]
"""An answer's cost -> what it used, and of how much; ``None`` if it does not tell."""


def units(cost: PrefillCost) -> tuple[int, int] | None:
    """The switches that were on, of all."""
    return cost.units


def of_full(cost: PrefillCost) -> tuple[int, int] | None:
    """FLOPs of the language model, of the same model with every switch on."""
    return cost.language and (cost.language.spent, cost.language.full)


def share(record: Record, accounting: Accounting) -> Fraction | None:
    """Return the share that all answers of a sample used together; ``None`` if they do not tell."""
    told = list(filter(None, map(accounting, record.costs)))
    return Fraction(*map(sum, zip(*told, strict=True))) if told else None


def beyond(record: Record, budget: float, accounting: Accounting) -> int:
    """Return how many answers of a sample used more than the budget."""
    told = filter(None, map(accounting, record.costs))
    return sum(used > exact(budget) * whole for used, whole in told)


def spending(
    records: Sequence[Record], budget: float, language: Language | None = None, noun: str = "sample"
) -> Spending | None:
    """Return what a cell's answers spent; ``None`` if they do not tell.

    Args:
        records: Of the cell; those without an answer do not count.
        budget: That was requested.
        language: The language model. Where an answer does not tell what ran, all of it ran.
        noun: What a sample is called.
    """
    told = [cost for record in records for cost in record.costs if cost.units or cost.language]
    if not told:
        return None
    ran = [execution for cost in told if (execution := _ran(cost, language))]
    flops = [cost.language for cost in told if cost.language]
    return Spending(
        units=_account(units, records, budget, noun),
        flops=_account(of_full, records, budget, noun),
        of_base=sum(one.spent for one in flops) / sum(one.base for one in flops) if flops else None,
        language_flops=_range([one.spent for one in flops]),
        visual_tokens=_range([cost.visual_tokens for cost in told]),
        blocks=_range([len(execution.layers) for execution in ran]),
        heads=_range([sum(layer.heads for layer in execution.layers) for execution in ran]),
    )


def language_model(model: object) -> Language | None:
    """Return the shape of a model's language model, if it tells its ``architecture``."""
    if not isinstance(model, HasArchitecture) or not isinstance(model.architecture, Architecture):
        return None
    return model.architecture.language


def predicted_prefill(records: Iterable[Record], language: Language, chip: Accelerator) -> float | None:
    """Return the mean time that an accelerator takes for the language model's prefill of one answer, in seconds.

    The roofline of every block that ran, and of the head for one position: float16, one prompt at a time, attention as
    one kernel. Vision tower, projector, latency encoder and scheduler are not in it.

    Args:
        records: Of a cell.
        language: Its language model. Where an answer does not tell what ran, all of it ran.
        chip: The accelerator.

    Returns:
        The mean over the answers that tell what they spent; ``None`` if there are none.
    """
    seconds = _Seconds(language, chip)
    told = (cost for record in records for cost in record.costs if cost.language or cost.units)
    times = [seconds(execution) for cost in told if (execution := _ran(cost, language))]
    return math.fsum(times) / len(times) if times else None


class VisualTokens(NamedTuple):
    """Visual tokens in the prefill of one answer, or their means over several.

    Attributes:
        entering: That the language model reads, T_in.
        average: Over all of its blocks, T_avg = (1 / L) sum_l n_l; a block that does not run reads none.
        last: In its last block, T_end.
    """

    entering: float
    average: float
    last: float


def visual_tokens(records: Iterable[Record], language: Language | None) -> VisualTokens | None:
    """Return the means over a cell's answers; ``None`` if one does not tell.

    Args:
        records: Of the cell; those without an answer do not count.
        language: The language model; without it, what dropped tokens in it is not known.
    """
    costs = [cost for record in records for cost in record.costs]
    told = [_visual_tokens(cost, language) for cost in costs if cost.tokens]
    if not told or None in told:
        return None
    return VisualTokens(*(math.fsum(column) / len(told) for column in zip(*filter(None, told), strict=True)))


def _visual_tokens(cost: PrefillCost, language: Language | None) -> VisualTokens | None:
    entering = cost.visual_tokens
    if cost.ran is None:  # all of it read all of them
        return VisualTokens(entering, entering, entering)
    if language is None:
        return None
    # What methods add after the prompt is neither text nor visual.
    read = {work.layer: min(entering, max(0, work.tokens - cost.text_tokens)) for work in cost.ran.layers}
    layers = language.stack.layers
    return VisualTokens(entering, sum(read.values()) / layers, read.get(layers - 1, 0))


class _Seconds:
    """Predicted time of one answer's blocks and head; equal blocks are looked at once."""

    def __init__(self, language: Language, chip: Accelerator) -> None:
        self._model, self._chip = Architecture("", language=language), chip
        self._head = self._predict()
        self._known: dict[LayerWork, float] = {}

    def __call__(self, execution: Execution) -> float:
        blocks = [replace(layer, layer=0) for layer in execution.layers]
        for block in blocks:
            if block not in self._known:
                self._known[block] = self._predict(block) - self._head
        return self._head + math.fsum(self._known[block] for block in blocks)

    def _predict(self, *blocks: LayerWork) -> float:
        from .measure.closed_form import DEFAULT, prefill
        from .measure.roofline import predict

        return predict(prefill(self._model, Execution(blocks), DEFAULT), self._chip)


def _ran(cost: PrefillCost, language: Language | None) -> Execution | None:
    """What ran of the language model for an answer; all of it, where the answer does not tell."""
    if cost.ran is not None or language is None:
        return cost.ran
    return Execution.full(language.stack, cost.tokens)


def _shares(records: Sequence[Record], accounting: Accounting) -> list[tuple[Record, Fraction]]:
    """The records whose answers tell it, with the share that they used."""
    return [(record, used) for record in records if (used := share(record, accounting)) is not None]


def _account(accounting: Accounting, records: Sequence[Record], budget: float, noun: str) -> Account | None:
    """What answers spent of a budget, of the samples whose answers tell it."""
    own = _shares(records, accounting)
    if not own:
        return None
    answers = sum(len(record.costs) for record, _ in own)
    within = answers - sum(beyond(record, budget, accounting) for record, _ in own)
    return Account(
        success=_share_interval(within, answers, _clusters(own), len(own), noun),
        of_full=_mean(own, noun, 1),
        utilisation=_mean([(record, used / exact(budget)) for record, used in own], noun, 1 / exact(budget)),
    )


def _mean(own: Sequence[tuple[Record, Fraction]], noun: str, most: Fraction | int) -> Estimate:
    """The mean share; its interval ends where shares do, which a t interval of two samples is far beyond."""
    found = mean_interval(np.array([float(used) for _, used in own]), _clusters(own), noun=noun)
    if found.low is None or found.high is None:
        return found
    high = max(found.value, min(float(most), found.high))
    return found.model_copy(update={"low": max(0.0, found.low), "high": high})


def _clusters(own: Sequence[tuple[Record, Fraction]]) -> list[str] | None:
    return cluster_names([record.sample for record, _ in own], [record.group for record, _ in own])


def _share_interval(hits: int, of: int, groups: Sequence[str] | None, n: int, noun: str) -> Estimate:
    """A share of answers with its Wilson interval, which counts what is independent: groups, or else samples.

    That is the sure side: answers within a group may differ. Unlike a t interval it is not of width zero where no
    answer failed.
    """
    value, units = hits / of, n if groups is None else len(set(groups))
    clusters = f" in {units:,} groups" if groups is not None else ""
    low, high = wilson(value, units)
    method = f"95 % Wilson interval over {n:,} {noun}{'s' if n != 1 else ''}{clusters}"
    return Estimate(value=value, low=low, high=high, n=n, method=method)


def _range(counts: Sequence[int]) -> Range | None:
    """Least, mean and most for one answer."""
    return Range(least=min(counts), mean=sum(counts) / len(counts), most=max(counts)) if counts else None
