"""What a cell spends of its budget: exact comparisons, and the totals of its records.

A budget is compared under two accountings, each with a pair of costs that an answer states:

* ``units``: the switches that ran, ``units`` of ``all_units`` (the dissertation's success and utilisation, Table 5.5);
* ``flops``: the language model's prefill with scheduler and latency token, ``language_flops`` of
  ``whole_language_flops``, which is the same model's prefill with every switch on.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .abilities import HasArchitecture
from .budgets import exact
from .results import Account, Estimate, LanguageShape, Range, Spending
from .stats import cluster_names, mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .contracts import Record
    from .measure.roofline import Accelerator

ACCOUNTS = {"units": ("units", "all_units"), "flops": ("language_flops", "whole_language_flops")}
"""Accounting -> the costs that say what was used, and of how much."""
_Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""


def spent(costs: Sequence[Mapping[str, int]], budget: float) -> dict[str, int]:
    """Return what the answers of one sample cost together.

    Where they state both costs of an accounting, that says also how many ``answers`` there are, and how many of them
    are beyond the budget: ``over_units``, ``over_flops``.

    Args:
        costs: Of each answer.
        budget: In (0, 1].
    """
    total: Counter[str] = Counter()
    for cost in costs:
        total.update(cost)
        for name, (used, whole) in ACCOUNTS.items():
            if used in cost and whole in cost:
                total[f"over_{name}"] += cost[used] > exact(budget) * cost[whole]
                total["answers"] = len(costs)
    return dict(total)


def spending(
    records: Sequence[Record], budget: float, language: LanguageShape | None = None, noun: str = "sample"
) -> Spending | None:
    """Return what a cell's answers spent; ``None`` if they do not tell.

    Args:
        records: Of the cell; those without an answer do not count.
        budget: That was requested.
        language: The language model. Where no plan tells what ran, it ran whole.
        noun: What a sample is called.
    """
    answered = [record for record in records if record.cost.get("answers")]
    if not answered:
        return None
    ran = [blocks for record in answered for blocks in _answers(record, language)]
    accounts = {name: _account(name, answered, exact(budget), noun) for name in ACCOUNTS}
    return Spending(
        accounts={name: account for name, account in accounts.items() if account},
        visual_tokens=_range(
            [(r.cost["visual_tokens"], r.cost["answers"]) for r in answered if "visual_tokens" in r.cost]
        ),
        blocks=_range([(len(blocks), 1) for blocks in ran]),
        heads=_range([(sum(block.heads for block in blocks), 1) for blocks in ran]),
    )


def language_shape(model: object) -> LanguageShape | None:
    """Return the shape of a model's language model, if it tells its ``architecture``; its head must be one layer."""
    from .measure.architecture import Architecture

    if not isinstance(model, HasArchitecture) or not isinstance(model.architecture, Architecture):
        return None
    language = model.architecture.language
    if language is None or len(language.head) != 1:
        return None
    return LanguageShape(**dataclasses.asdict(language.stack), vocabulary=language.head[0].outputs)


def predicted_prefill(records: Iterable[Record], language: LanguageShape, chip: Accelerator) -> float | None:
    """Return the mean time that an accelerator takes for the language model's prefill of one answer, in seconds.

    The roofline of every block that ran, and of the head for one position: float16, one prompt at a time, attention as
    one kernel. Vision tower, projector, latency encoder and scheduler are not in it.

    Args:
        records: Of a cell.
        language: Its language model, which ran whole where no plan tells what ran.
        chip: The accelerator.

    Returns:
        The mean over the answers; ``None`` if there are none.
    """
    seconds = _Seconds(language, chip)
    times = [seconds(blocks) for record in records for blocks in _answers(record, language)]
    return math.fsum(times) / len(times) if times else None


class _Block(NamedTuple):
    """What ran of a block: tokens, query heads, and share of the MLP's channels."""

    tokens: int
    heads: int
    share: float


class _Seconds:
    """Predicted time of one answer's blocks and head; equal blocks are looked at once."""

    def __init__(self, language: LanguageShape, chip: Accelerator) -> None:
        from .measure.architecture import Architecture, Language, Linear, Stack

        fields = language.model_dump()
        head = Linear("lm_head", language.hidden, fields.pop("vocabulary"))
        self._model = Architecture("", language=Language(Stack(**fields), (head,), causal=True))
        self._ffn, self._chip = language.ffn, chip
        self._head = self._predict(None)
        self._known: dict[_Block, float] = {}

    def __call__(self, blocks: Sequence[_Block]) -> float:
        for block in blocks:
            if block not in self._known:
                self._known[block] = self._predict(block) - self._head
        return self._head + math.fsum(self._known[block] for block in blocks)

    def _predict(self, block: _Block | None) -> float:
        """Time of a block and the head, or of the head alone."""
        from .measure.closed_form import DEFAULT, prefill
        from .measure.execution import Execution, LayerWork
        from .measure.roofline import predict

        ran = Execution(())
        if block is not None:
            share = Fraction(block.share).limit_denominator(self._ffn)
            ran = Execution((LayerWork(0, block.tokens, block.heads, share),))
        return predict(prefill(self._model, ran, DEFAULT), self._chip)


def _answers(record: Record, language: LanguageShape | None) -> Iterator[list[_Block]]:
    """The blocks that ran for each answer, as far as it can be told.

    Without a plan the whole language model ran. Only the sum of its answers' tokens is recorded then; they are shared
    out evenly.
    """
    count = record.cost.get("answers", 0)
    tokens, more = divmod(record.cost.get("text_tokens", 0) + record.cost.get("visual_tokens", 0), count or 1)
    for place, plan in enumerate(record.plan or [None] * count):
        if plan is not None:
            yield [_Block(*ran) for _, *ran in plan]
        elif language is not None:
            yield [_Block(tokens + (place < more), language.heads, 1.0)] * language.layers


def _account(name: str, records: Sequence[Record], budget: Fraction, noun: str) -> Account | None:
    """One accounting, of the records that have it."""
    used, whole = ACCOUNTS[name]
    own = [record for record in records if f"over_{name}" in record.cost]
    if not own:
        return None
    groups = cluster_names([record.sample for record in own], [record.group for record in own])
    shares = [Fraction(record.cost[used], record.cost[whole]) for record in own]
    over, answers = (sum(record.cost[cost] for record in own) for cost in (f"over_{name}", "answers"))
    return Account(
        success=_share_interval(answers - over, answers, groups, len(own), noun),
        share=mean_interval(np.array([float(share) for share in shares]), groups, noun=noun),
        utilisation=mean_interval(np.array([float(share / budget) for share in shares]), groups, noun=noun),
    )


def _share_interval(hits: int, of: int, groups: Sequence[str] | None, n: int, noun: str) -> Estimate:
    """A share of answers with its Wilson interval, which counts what is independent: groups, or else samples.

    That is the sure side: answers within a group may differ. Unlike a t interval it is not of width zero where no
    answer failed.
    """
    value, units = hits / of, n if groups is None else len(set(groups))
    clusters = f" in {units:,} groups" if groups is not None else ""
    middle, spread = value + _Z**2 / (2 * units), _Z * math.sqrt(value * (1 - value) / units + (_Z / (2 * units)) ** 2)
    low, high = ((middle + sign * spread) / (1 + _Z**2 / units) for sign in (-1, 1))
    method = f"95 % Wilson interval over {n:,} {noun}{'s' if n != 1 else ''}{clusters}"
    return Estimate(value=value, low=min(value, max(0.0, low)), high=max(value, min(1.0, high)), n=n, method=method)


def _range(counts: Sequence[tuple[int, int]]) -> Range | None:
    """Least, mean and most for one answer, of pairs (a count, the answers that it is the sum of)."""
    if not counts:
        return None
    each = [count / answers for count, answers in counts]
    total, answers = map(sum, zip(*counts, strict=True))
    return Range(least=min(each), mean=total / answers, most=max(each))
