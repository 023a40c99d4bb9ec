"""``adaptbench report --table diversity``: what chapter 3 states of its linear case study beside what it comes to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.errors import UserError
from ...harness.selection.coverage import Moments, plain_coverage
from ..study import VERDICTS, Number, Study, Table, Verdict, render
from . import linear_case as case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.outputs import ReportRequest
    from ..study import Item

_HOLDS, _FAILS, *_ = VERDICTS
_MOST = 100
_SIZES = (3, 4, 5, 8, 10, 16)
_NEAR = 1e-4
"""How far from the best model's weight a ratio is taken to show where it goes."""
_FEATURES, _NOISE, _DRAWN = 12, 0.3, 4000
_POOLS = {
    "all four": (0, 1, 2, 3),
    "all but the one that its classes differ in": (1, 2, 3, 4),
    "the one that its classes differ in": (0, 4, 5, 6),
    "none": (4, 5, 6, 7),
}
"""What finetuning tasks have of the target's features 0 to 3 -> their own; the target's classes differ in feature 0."""
_NOTES = (
    "Losses and kappa are exact, for B = R = 1. Covered: the one feature in which the target's classes differ is among "
    "the k features of the finetuning tasks.",
    "nu is the infimum over models of a ratio: what a model loses on the finetuning tasks over what changes on the "
    "target. Near the best model the numerator is of second order and the denominator of first, so that nu is 0 "
    "whether the target is covered or not; (A.81) is the ratio of the model that drops the target's feature, and the "
    "bound of Theorem 3.3.6 is larger than even that.",
    "The coverage of section 3.3.2 looks at means and covariances. A feature in which the target's two classes are "
    "opposite has the mean 0: that the pool lacks it changes kappa, but not the coverage.",
)


class _Statement(NamedTuple):
    """What the text says, with its value and the one that the arithmetic gives."""

    where: str
    says: str
    said: float
    found: float
    holds: bool


def diversity(request: ReportRequest, *, k: int = 5) -> str:
    """Return the statements with their verdicts, for k classes, and what follows from k and from shared features.

    Args:
        request: Needs no run.
        k: Classes of the finetuning tasks.

    Raises:
        UserError: k is not within 3 and 100.
    """
    if not (isinstance(k, int) and case.FEWEST <= k <= _MOST):
        todo = f"use k={case.FEWEST} to k={_MOST}; two classes differ in every feature, against Assumption A.4.2"
        raise UserError(f"there is no linear case of {k!r} classes", where="diversity", todo=todo)
    told = _statements(k)
    rows: list[list[Item]] = [
        [one.where, one.says, _number(one.said), _number(one.found), Verdict(_HOLDS if one.holds else _FAILS)]
        for one in told
    ]
    tables = [
        Table(f"Statements, k = {k}", "", ("where", "the text says", "in the text", "as computed", "verdict"), rows),
        _sizes(),
        _shared(),
    ]
    values = [{"k": k, **one._asdict()} for one in told]
    return render(Study("The linear case study of chapter 3", (), tables, _NOTES, values), request.form)


def _statements(k: int) -> list[_Statement]:
    d = k + 1
    tasks = case.differences(case.classes(k, d))
    diagonal, best = case.best_diagonal(range(k), d), case.best_matrix(k, d)
    covered, missed = case.target(0, d), case.target(k, d)
    lemma, consistent = -math.sqrt(2 / k), 1 - 1 / math.sqrt(k)
    single = case.best_diagonal([0, 1, 2], 3)
    opposite = 2 * np.ones((1, 3))
    return [
        _equal("Lemma A.4.3", "least loss over diagonal models", lemma, case.loss(diagonal, tasks)),
        _equal("Lemma A.4.3", "least loss over all models", lemma, case.loss(best, tasks)),
        _equal("A.4.7, proof", "loss on a covered target", lemma, case.loss(diagonal, covered)),
        _equal("Theorem 3.3.6", "kappa of a covered target, at most", consistent, case.kappa(diagonal, covered)),
        _equal("Theorem 3.3.6", "the same under the best of all models", consistent, case.kappa(best, covered)),
        _equal("Theorem 3.3.6", "kappa of a target that is not covered, at least", 1.0, case.kappa(best, missed)),
        _equal(
            "Lemma A.4.4",
            "(A.72) is kappa for n0 = k0 = ne = ke = 3",
            case.printed_kappa(3, 3, 3, 3),
            case.kappa(single, opposite),
        ),
        _equal("Lemma A.4.6", "nu of a target that is not covered", 0.0, case.ratio(k, _NEAR, covered=False)),
        _equal(
            "Lemma A.4.7",
            "nu of a covered target is (A.81)",
            case.ratio(k, 0.0, covered=True),
            case.ratio(k, 1 / math.sqrt(k) + _NEAR, covered=True),
        ),
        _Statement(
            "Theorem 3.3.6",
            "nu of a covered target, at least; here (A.81)",
            case.printed_nu(k),
            case.ratio(k, 0.0, covered=True),
            case.printed_nu(k) <= case.ratio(k, 0.0, covered=True),
        ),
    ]


def _equal(where: str, says: str, said: float, found: float) -> _Statement:
    return _Statement(where, says, said, found, math.isclose(said, found, abs_tol=_NEAR))


def _sizes() -> Table:
    heads = (
        "k",
        "least loss, diagonal",
        "least loss, all models",
        "least loss, symmetric in signs",
        "kappa, covered",
        "kappa, not covered",
        "(A.81)",
        "printed bound of nu",
    )
    rows: list[Sequence[Item]] = []
    for k in _SIZES:
        tasks = case.differences(case.classes(k, k + 1))
        diagonal, best = case.best_diagonal(range(k), k + 1), case.best_matrix(k, k + 1)
        numbers = (
            case.loss(diagonal, tasks),
            case.loss(best, tasks),
            case.sign_symmetric_loss(k),
            case.kappa(best, case.target(0, k + 1)),
            case.kappa(best, case.target(k, k + 1)),
            case.ratio(k, 0.0, covered=True),
            case.printed_nu(k),
        )
        rows.append([Number(str(k)), *map(_number, numbers)])
    caption = "More classes: a worse kappa, and a bound of nu that is not one."
    return Table("By the number of classes", caption, heads, rows)


def _shared() -> Table:
    mean = np.zeros(_FEATURES)
    mean[1:4] = 1.0
    dictionary = np.linalg.qr(np.random.default_rng(0).standard_normal((_FEATURES, _FEATURES)))[0]
    rows: list[Sequence[Item]] = []
    for said, features in _POOLS.items():
        pool = Moments(_FEATURES)
        pool.add(case.samples(features, dictionary, _NOISE, _DRAWN, seed=1))
        kappa = case.printed_kappa(1, 4, int(0 in features), len(features))
        seen = plain_coverage(pool, dictionary @ mean).value
        exact = case.coverage(mean, features, _NOISE)
        rows.append([said, _number(kappa), _number(exact), Number(f"{seen:.3f}")])
    caption = (
        f"Targets of four features whose classes differ in one, and finetuning tasks of four features with signs at "
        f"random, x = Q z + e with noise of {_NOISE:g}. The last column is what task selection computes of "
        f"{_DRAWN:,} samples."
    )
    heads = ("shared", "kappa (A.72)", "coverage", "coverage of samples")
    return Table("By the features that are shared", caption, heads, rows)


def _number(value: float) -> Number:
    return Number(f"{value:.6f}".replace("-0.000000", "0.000000"))
