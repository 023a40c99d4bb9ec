"""``adaptbench report RUN --table reduction-claims --baseline MODEL``: claims about token reduction, tried on runs.

A claim says that one method is above others. It is tried pair by pair on the samples that both answered, by mean
retention; several models of a method, such as random tokens of several seeds, are taken together as their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...harness.specs import Spec, parse
from ...harness.stats import holm, paired_p
from .. import wording
from ..collect import collect
from ..study import Number, Study, Table, Verdict, render
from .answers import samples_of
from .lines import find
from .ranks import stacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...harness.outputs import ReportRequest
    from ..study import Item
    from .lines import Found, Line

_ALPHA = 0.05
_INVERTED = "fitprune, inverted"
_NO_METHODS = frozenset({"blind", "grid-tokens", "pooled-tokens", "random-tokens", "smaller-images", _INVERTED})
"""Baselines, and what is a method by mistake."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that is said of methods.

    Attributes:
        one: The method that is said to be above, or below, the others.
        others: Theirs; ``None`` stands for all methods but baselines.
        above: Whether ``one`` is said to be above.
    """

    source: str
    text: str
    one: str
    others: str | None
    above: bool


CLAIMS = (
    Claim("UniPruneBench", "random tokens beat most methods", "random-tokens", None, above=True),
    Claim("VTC-Bench", "smaller images beat most methods", "smaller-images", None, above=True),
    Claim("UniPruneBench", "FitPrune is below random tokens", "fitprune", "random-tokens", above=False),
    Claim("its released code", "FitPrune that keeps the lowest scores is below random tokens",
          _INVERTED, "random-tokens", above=False),
)  # fmt: skip

_NOTES = (
    "A claim is tried on each pair of the method that it is about and another one: both means over tasks of s / f, the "
    "score as a share of the whole model's, by a paired test over the samples that both have a score for (of groups, "
    f"their sums), adjusted for all pairs of the claim (Holm, {_ALPHA:g}). It holds if it does for more than half of "
    "the pairs, does not hold if its opposite does, and else is undecided: too few pairs are told apart.",
    "Several models of one method are taken together as their mean. All settings of a method that the runs hold take "
    "part, whatever tokens they read: these stand beside them.",
)


class _Pair(NamedTuple):
    """A claim's method beside another one.

    Attributes:
        difference: Of mean retention, the claim's method less the other one.
        p: Of the paired test, adjusted.
    """

    other: str
    tokens: tuple[float | None, float | None]
    difference: float
    p: float


def claims(request: ReportRequest, *, baseline: str = "") -> str:
    """Return which published claims hold, do not hold, or are undecided on the models of some runs.

    Args:
        request: The runs.
        baseline: Spec of the whole model.

    Raises:
        UserError: The runs lack it, or nothing can be held against it.
    """
    found = find(collect(request.runs), baseline)
    return render(_study(found), request.form)


def verdict(claim: Claim, pairs: Sequence[tuple[float, float]]) -> str:
    """Say what differences with their p values make of a claim; see the notes."""
    clear = [difference > 0 for difference, p in pairs if p <= _ALPHA]
    agree = sum(one is claim.above for one in clear)
    if 2 * agree > len(pairs):
        return "holds"
    return "does not hold" if 2 * (len(clear) - agree) > len(pairs) else "undecided"


def _study(found: Found) -> Study:
    methods = _methods(found)
    facts = [f"whole model: {found.tasks[0].base.label}", f"tasks: {wording.listed(found.averaged)}"]
    tried = {claim: list(_pairs(claim, methods, found)) for claim in CLAIMS}
    known = {claim: pairs for claim, pairs in tried.items() if pairs}
    facts += [f"not tried, for lack of models: {claim.text}" for claim in CLAIMS if claim not in known]
    return Study("Claims about token reduction", facts, list(_tables(known)), _NOTES, list(_values(known)))


def _methods(found: Found) -> dict[str, list[Line]]:
    """Method -> its models, of those that add just one to the whole model's and did all tasks."""
    whole = parse(found.tasks[0].base.row.result.cell.model)
    methods: dict[str, list[Line]] = {}
    for line in found.lines:
        name = _method(line, whole)
        if name and line.ratios(found.averaged):
            methods.setdefault(name, []).append(line)
    return methods


def _method(line: Line, whole: Spec) -> str:
    spec = parse(next(iter(line.tasks.values())).answers.row.result.cell.model)
    added = spec.methods[len(whole.methods) :]
    if (spec.base, spec.methods[: len(whole.methods)]) != (whole.base, whole.methods) or len(added) != 1:
        return ""
    inverted = dict(added[0].args).get("inverted") is True
    return f"{added[0].name}{', inverted' * inverted}"


def _pairs(claim: Claim, methods: Mapping[str, list[Line]], found: Found) -> Iterator[_Pair]:
    if claim.one not in methods:
        return
    rivals = [claim.others] if claim.others else [name for name in methods if name not in _NO_METHODS]
    pairs = [(name, *_compared(methods[claim.one], methods[name], found)) for name in rivals if name in methods]
    adjusted = holm([p for _, _, p in pairs])
    for (name, difference, _), p in zip(pairs, adjusted, strict=True):
        yield _Pair(name, (_tokens(methods[claim.one]), _tokens(methods[name])), difference, p)


def _compared(ones: Sequence[Line], others: Sequence[Line], found: Found) -> tuple[float, float]:
    """The difference of mean retention between two methods, and the p value of the paired test."""
    tasks = []
    for task in (task for task in found.tasks if task.title in found.averaged):
        scores, names = samples_of(line.tasks[task.title].answers for line in (*ones, *others))
        sides = {"one": np.mean(scores[: len(ones)], axis=0), "other": np.mean(scores[len(ones) :], axis=0)}
        tasks.append((sides, float(np.nanmean(task.base.scores)), names))
    columns = stacked(tasks)
    one, other = columns.scores["one"], columns.scores["other"]
    whole = tasks[0][1] if len(tasks) == 1 else 1.0  # scores of one task are as they are
    return float((one - other).mean()) / whole, paired_p(one, other, columns.groups)


def _tokens(lines: Sequence[Line]) -> float | None:
    """Visual tokens of a method, averaged over blocks and over its models."""
    known = [told.average for line in lines if (told := line.tokens())]
    return sum(known) / len(known) if len(known) == len(lines) else None


def _tables(tried: Mapping[Claim, Sequence[_Pair]]) -> Iterator[Table]:
    heads = ("claim", "source", "pairs", "clearly so", "clearly not", "verdict")
    rows: list[list[Item]] = []
    for claim, pairs in tried.items():
        clear = [pair.difference > 0 for pair in pairs if pair.p <= _ALPHA]
        agree = sum(one is claim.above for one in clear)
        counts = (Number(f"{count}") for count in (len(pairs), agree, len(clear) - agree))
        found = verdict(claim, [(pair.difference, pair.p) for pair in pairs])
        rows.append([claim.text, claim.source, *counts, Verdict(found)])
    yield Table("Claims", "", heads, rows)
    beside: list[list[Item]] = [
        [
            claim.one,
            pair.other,
            *(Number(wording.MISSING if count is None else f"{count:.4g}") for count in pair.tokens),
            Number(f"{100 * pair.difference:+.1f}"),
            Number(wording.p_value(pair.p)),
        ]
        for claim, pairs in tried.items()
        for pair in pairs
    ]
    caption = "Difference: of the shares retained, in points; above 0 the first is better."
    heads = ("method", "beside", "its tokens", "the other's", "difference", "p")
    yield Table("Pairs", caption, heads, beside)


def _values(tried: Mapping[Claim, Sequence[_Pair]]) -> Iterator[dict[str, Any]]:
    for claim, pairs in tried.items():
        found = verdict(claim, [(pair.difference, pair.p) for pair in pairs])
        for pair in pairs:
            yield {
                "claim": claim.text, "source": claim.source, "verdict": found, "method": claim.one,
                "other": pair.other, "difference": pair.difference, "p": pair.p,
            }  # fmt: skip
