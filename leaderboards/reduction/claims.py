"""``adaptbench report RUN --table reduction-claims``: claims about token reduction, tried on runs.

A claim is tried comparison by comparison, in each family and in all families together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import wording
from ..collect import collect
from ..study import Number, Study, Table, Verdict, render
from .lines import SMALLER, Named, find
from .settings import settings
from .trials import MEET, Scope, beside, by_groups, by_ratio, everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...harness.outputs import ReportRequest
    from ..study import Item
    from .lines import Found
    from .trials import Trial

_ALPHA = 0.05
_TOGETHER = "together"
_RANDOM = "random-tokens"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that is said of methods.

    Attributes:
        tried: Makes the comparisons.
        above: Whether the difference is said to be above 0.
        most: It is said of most; else of all.
    """

    source: str
    text: str
    tried: Callable[[Scope], list[Trial]] = field(compare=False)
    above: bool = True
    most: bool = True


def _below(source: str, name: str, method: str, *others: str) -> Claim:
    return Claim(source, name, partial(beside, one=method, others=others), above=False)


CLAIMS = (
    Claim("UniPruneBench", "random tokens beat most methods", partial(beside, one=_RANDOM, others=())),
    _below("UniPruneBench", "FitPrune is below random tokens", "fitprune", _RANDOM),
    _below("its released code", "FitPrune that keeps the lowest scores is below random tokens",
           "fitprune, inverted", _RANDOM),
    _below("UniPruneBench", "G-Prune is below random tokens", "g-prune", _RANDOM),
    _below("UniPruneBench", "PruMerge is below random tokens", "prumerge", _RANDOM),
    _below("UniPruneBench", "VTW is below random tokens", "vtw", _RANDOM),
    Claim("UniPruneBench", "no method wins everywhere", everywhere, above=False, most=False),
    Claim("UniPruneBench", "the ratio matters more than the method", by_ratio),
    _below("EffiVLM-Bench", "PruMerge+ is below FastV and VisionZip", "prumerge-plus", "fastv", "visionzip"),
    Claim("VTC-Bench", "smaller images beat most methods", partial(beside, one=SMALLER, others=())),
    Claim("VTC-Bench", "methods are farther apart on group A than on B", by_groups),
)  # fmt: skip

_NOTES = (
    "A claim is tried by comparisons of means over tasks of s / f, the score as a share of the whole model's, with "
    "paired tests over the samples that both have a score for (of groups, their sums), adjusted for all comparisons of "
    f"the claim (Holm, {_ALPHA:g}). It holds if it does clearly in more than half of the comparisons, does not hold if "
    "its opposite does, and else is undecided: too few are told apart.",
    "Together: means are over the tasks of all families that have both methods, and a sample that several families "
    "answered is one cluster of the test.",
    "Models of a method that differ in their seed alone are taken together as their mean. Of methods at several "
    "numbers of tokens, two settings are compared that are each other's nearest, unless one reads more than "
    f"{MEET:g} times as many.",
    "No method wins everywhere: that each is clearly below another one on some task of some family, among those that "
    "leave about as many tokens as most do; it does not hold if one of them is clearly above all others on every task. "
    "The row of a method is the comparison that it loses most clearly, or its closest one.",
    "The ratio matters more: for two methods with two numbers of tokens, what tokens change is more than what methods "
    "change just where each of the two, with more tokens, is above the other with fewer. Groups A and B: for two "
    "methods, the distance of their accuracies on A is more than that on B just where both their sum and their "
    "difference have one sign. Both must be clear, so p is the larger of two. The difference is the smaller of two.",
)


class _Tried(NamedTuple):
    """A claim in one family, or in all together.

    Attributes:
        agree: In how many comparisons it is clearly so.
        against: In how many it is clearly not.
    """

    trials: Sequence[Trial]
    agree: int
    against: int
    verdict: str


def claims(request: ReportRequest, *, baseline: str = "") -> str:
    """Return which published claims hold, do not hold, or are undecided on the models of some runs.

    Args:
        request: The runs.
        baseline: Spec of the whole model of all others; by default specs tell.

    Raises:
        UserError: The runs lack it, or nothing can be held against a whole model.
    """
    found = find(collect(request.runs), Named(baseline))
    tried = try_all(found)
    missing = [claim.text for claim in CLAIMS if claim not in tried]
    facts = [f"whole models: {wording.listed([family.whole for family in found.families])}"]
    facts += [f"not tried, for lack of models: {text}" for text in missing]
    tables = [closing(found, tried), _comparisons(tried)]
    return render(Study("Claims about token reduction", facts, tables, _NOTES, list(_values(tried))), request.form)


def try_all(found: Found) -> dict[Claim, dict[str, _Tried]]:
    """Claim -> whole model -> what came of it, last of all families together; of the claims that can be tried."""
    known = settings(found)
    scopes = {family.whole: Scope.of([family], known) for family in found.families}
    if len(scopes) > 1:
        scopes[_TOGETHER] = Scope.of(found.families, known)
    tried: dict[Claim, dict[str, _Tried]] = {}
    for claim in CLAIMS:
        for name, scope in scopes.items():
            if trials := claim.tried(scope):
                tried.setdefault(claim, {})[name] = judged(claim, trials)
    return tried


def judged(claim: Claim, trials: Sequence[Trial]) -> _Tried:
    """Say what comparisons make of a claim; see the notes."""
    clear = [trial.difference > 0 for trial in trials if trial.p <= _ALPHA]
    agree = sum(one is claim.above for one in clear)
    against = len(clear) - agree
    enough = len(trials) / 2 if claim.most else len(trials) - 0.5
    refuted = against > len(trials) / 2 if claim.most else against > 0
    verdict = "holds" if agree > enough else "does not hold" if refuted else "undecided"
    return _Tried(trials, agree, against, verdict)


def closing(found: Found, tried: Mapping[Claim, Mapping[str, _Tried]], note: str = "") -> Table:
    """Which claims hold: by family, and with the counts of the widest scope."""
    wholes = [family.whole for family in found.families]
    names = [*wholes, _TOGETHER] if len(wholes) > 1 else wholes
    heads = ("claim", "source", *names, "comparisons", "clearly so", "clearly not")
    rows: list[list[Item]] = []
    for claim, scopes in tried.items():
        widest = [*scopes.values()][-1]
        counts = (len(widest.trials), widest.agree, widest.against)
        verdicts = [Verdict(scopes[name].verdict if name in scopes else "not run") for name in names]
        rows.append([claim.text, claim.source, *verdicts, *(Number(f"{count}") for count in counts)])
    counted = f"Counts are of all families {_TOGETHER}." if len(wholes) > 1 else ""
    return Table("Published claims, tried here", " ".join(filter(None, (counted, note))), heads, rows)


def _comparisons(tried: Mapping[Claim, Mapping[str, _Tried]]) -> Table:
    heads = ("claim", "on", "method", "its tokens", "beside", "the other's", "difference", "p")
    rows: list[list[Item]] = [
        [
            claim.text,
            f"{scope}{f': {trial.place}' if trial.place else ''}",
            trial.one.name,
            _tokens(trial.one.tokens),
            trial.other.name,
            _tokens(trial.other.tokens),
            Number(f"{100 * trial.difference:+.1f}"),
            Number(wording.p_value(trial.p)),
        ]
        for claim, scopes in tried.items()
        for scope, one in scopes.items()
        for trial in one.trials
    ]
    caption = "Difference: of the shares retained, in points; above 0 the first is better. Of groups: of accuracies."
    return Table("Comparisons", caption, heads, rows)


def _tokens(count: float | None) -> Number:
    return Number(wording.MISSING if count is None else f"{count:.4g}")


def _values(tried: Mapping[Claim, Mapping[str, _Tried]]) -> Iterator[dict[str, Any]]:
    for claim, scopes in tried.items():
        for scope, one in scopes.items():
            for trial in one.trials:
                yield {
                    "claim": claim.text, "source": claim.source, "on": scope, "verdict": one.verdict,
                    "method": trial.one.name, "tokens": trial.one.tokens, "other": trial.other.name,
                    "other tokens": trial.other.tokens, "place": trial.place, "difference": trial.difference,
                    "p": trial.p,
                }  # fmt: skip
