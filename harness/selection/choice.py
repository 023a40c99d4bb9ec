"""Consistency-diversity task selection (dissertation, Algorithm 1), and what it is compared with.

Candidates are sorted by their similarity to the target. The first is chosen; each next one is added as long as it
raises the coverage by a factor of 1 + p at least, and the first that does not ends the walk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import numpy as np

from ..errors import UserError
from .coverage import SAMPLES_PER_AXIS, Moments, PlainCurve, Space, plain_coverage
from .similarity import Similarity, by_similarity, describe, similarities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .similarity import DoubleArray

    IntArray: TypeAlias = npt.NDArray[np.int64]

Mode: TypeAlias = Literal["selected", "all", "first-k", "random"]
Coverage: TypeAlias = Literal["projected", "plain"]
_WHERE = "selection"
_ROWS = 1024
"""Samples whose moments are added together: one large product of matrices is faster than several small ones."""


class Pool(Protocol):
    """Embeddings of candidates, such as a list of arrays; or what makes or reads them when they are asked for."""

    def __len__(self) -> int:
        """How many candidates there are."""
        ...

    def __getitem__(self, place: int, /) -> npt.NDArray[Any]:
        """Return the embeddings of a candidate's samples, [n_i, d]."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How tasks are selected.

    Attributes:
        threshold: p: how much a task must raise the coverage, as a share; 0 for "not lower it".
        min_tasks: The walk does not end before.
        max_tasks: The walk ends here; ``None`` for no limit.
        mode: ``selected`` by Algorithm 1, or an ablation of it: ``all`` candidates (no consistency), the ``first-k``
            most similar ones (no diversity), or k at ``random`` (neither).
        count: k; of ``random`` by default as many as Algorithm 1 selects.
        seed: Of the random draw.
        similarity: See `similarity.Similarity`.
        coverage: What the walk looks at: ``projected`` (see `coverage`), or the dissertation's ``plain`` formula.
        plain: Whether to compute the plain formula as well, for comparison: an inverse for each candidate.
        axes: The most principal axes that may be used; never more than a fifth of the samples of the first task.
        ridge: Added to each covariance, as a share of the mean variance along the axes.
        corrected: Whether distances are corrected for the number of samples.
    """

    threshold: float = 0.01
    min_tasks: int = 1
    max_tasks: int | None = None
    mode: Mode = "selected"
    count: int | None = None
    seed: int = 0
    similarity: Similarity = "mean"
    coverage: Coverage = "projected"
    plain: bool = False
    axes: int = 64
    ridge: float = 1e-2
    corrected: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("mode", Mode), ("similarity", Similarity), ("coverage", Coverage)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise UserError(f"unknown {name} {getattr(self, name)!r}", where=_WHERE, todo=f"choose from {known}")
        for name in ("threshold", "ridge"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise UserError(f"{name}={value} is not 0 or more", where=_WHERE, todo="give a share, such as 0.01")
        for name in ("min_tasks", "max_tasks", "count", "axes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}={value} is not 1 or more", where=_WHERE, todo="give a whole number from 1")
        if self.max_tasks is not None and self.max_tasks < self.min_tasks:
            raise UserError(
                f"max_tasks={self.max_tasks} is below min_tasks={self.min_tasks}", where=_WHERE, todo="lower min_tasks"
            )
        if self.mode == "first-k" and self.count is None:
            raise UserError("first-k needs its k", where=_WHERE, todo="give count")
        if self.count is not None and self.mode not in ("first-k", "random"):
            raise UserError(f"mode {self.mode} takes no count", where=_WHERE, todo="use first-k or random")


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected, and what decided it. Arrays over candidates are in the order of their similarity.

    Attributes:
        order: Positions of the candidates in the pool, the most similar first, int64 [m].
        similarities: float64 [m].
        samples: How many each candidate has, int64 [m].
        coverages: Of the first 1, 2, ... m candidates together, float64 [m].
        conditions: Condition number of the covariance of each of them, float64 [m].
        plain: The dissertation's formula, if it was asked for.
        stop: How many of the first ones Algorithm 1 selects.
        reason: Why it stopped there.
        chosen: Positions in the pool of what the mode chooses: in the order of similarity, or as drawn, int64 [k].
        axes: How many principal axes distances were measured along.
        kept: Share of the candidates' variance along them.
    """

    order: IntArray
    similarities: DoubleArray
    samples: IntArray
    coverages: DoubleArray
    conditions: DoubleArray
    plain: PlainCurve | None
    stop: int
    reason: str
    chosen: IntArray
    axes: int
    kept: float
    options: Options = field(default_factory=Options)


def select(
    target: npt.NDArray[Any],
    pool: Pool,
    options: Options | None = None,
    names: Sequence[str] = (),
) -> Selection:
    """Select candidate tasks for a target.

    Args:
        target: Embeddings of the target's samples, [n, d].
        pool: The candidates; each is read twice, and none is kept.
        options: How.
        names: What messages call the candidates.

    Raises:
        UserError: An embedding is not finite, shapes do not fit, there are too few samples, a task has no direction to
            compare, or the plain formula was to decide and its value means nothing.
    """
    options = options or Options()
    candidates = _Candidates(pool, names or [f"candidate {i}" for i in range(len(pool))], target.shape[-1])
    if not len(pool):
        raise UserError("there are no candidates to select from", where=_WHERE, todo="name some")
    goal = _checked(target, target.shape[-1], "the target")
    alike, counts, whole = _survey(goal, candidates, options)
    order = by_similarity(alike)
    most = min(options.axes, int(counts[order[0]]) // SAMPLES_PER_AXIS)
    if most < 1:
        raise UserError(
            f"a covariance takes {SAMPLES_PER_AXIS} samples or more, and it has {counts[order[0]]}",
            where=candidates.names[order[0]],
            todo="ask for more shots or queries",
        )
    space = Space.of(whole, most, options.ridge, corrected=options.corrected)
    coverages, conditions, plain = _curves(goal.mean(axis=0), candidates, order, space, options)
    stop, reason = _walk(coverages, plain, options)
    return Selection(
        order=order,
        similarities=alike[order],
        samples=counts[order],
        coverages=coverages,
        conditions=conditions,
        plain=plain,
        stop=stop,
        reason=reason,
        chosen=_chosen(order, stop, options),
        axes=space.axes.shape[1],
        kept=space.kept,
        options=options,
    )


class _Candidates:
    """The pool, each of whose arrays is checked when it is read."""

    def __init__(self, pool: Pool, names: Sequence[str], width: int) -> None:
        self._pool, self.names, self._width = pool, names, width

    def __len__(self) -> int:
        return len(self._pool)

    def __getitem__(self, place: int) -> DoubleArray:
        return _checked(self._pool[place], self._width, self.names[place])


def _checked(samples: npt.NDArray[Any], width: int, name: str) -> DoubleArray:
    """Return embeddings in float64.

    Raises:
        UserError: They are not finite, or of another shape than [n, width].
    """
    if samples.ndim != 2 or samples.shape[1] != width or not samples.size:
        raise UserError(
            f"its embeddings have the shape {list(samples.shape)}, and not [n, {width}]",
            where=name,
            todo="embed all tasks with one encoder",
        )
    exact: DoubleArray = samples.astype(np.float64)
    if not np.isfinite(exact.sum()) and not np.isfinite(exact).all():
        raise UserError("an embedding of it holds NaN or infinity", where=name, todo="fix the encoder")
    return exact


def _survey(goal: DoubleArray, candidates: _Candidates, options: Options) -> tuple[DoubleArray, IntArray, Moments]:
    """Read every candidate: similarities [m], numbers of samples [m], and the moments of all together."""
    own = describe(goal, options.similarity, "the target")
    vectors, counts, whole = [], [], Moments(goal.shape[1])
    waiting: list[DoubleArray] = []
    for place in range(len(candidates)):
        samples = candidates[place]
        vectors.append(describe(samples, options.similarity, candidates.names[place]))
        counts.append(len(samples))
        waiting.append(samples)
        if place == len(candidates) - 1 or sum(map(len, waiting)) >= _ROWS:
            whole.add(*waiting)
            waiting.clear()
    return similarities(own, vectors, options.similarity), np.array(counts, dtype=np.int64), whole


def _curves(
    goal: DoubleArray, candidates: _Candidates, order: IntArray, space: Space, options: Options
) -> tuple[DoubleArray, DoubleArray, PlainCurve | None]:
    """Return coverages and condition numbers of all prefixes, and the plain formula if it is asked for."""
    aim, some, whole = space.project(goal), Moments(space.axes.shape[1]), Moments(len(goal))
    wanted = options.plain or options.coverage == "plain"
    measured, plain = [], []
    for place in order.tolist():
        samples = candidates[place]
        some.add(space.project(samples))
        measured.append(space.coverage(some, aim))
        if wanted:
            whole.add(samples)
            plain.append(plain_coverage(whole, goal))
    coverages, conditions = np.array(measured).T
    curve = PlainCurve(np.array([one.value for one in plain]), tuple(one.fault for one in plain)) if wanted else None
    return coverages, conditions, curve


def _walk(coverages: DoubleArray, plain: PlainCurve | None, options: Options) -> tuple[int, str]:
    """Return how many of the first candidates Algorithm 1 selects, and why no more."""
    values, by_plain = coverages, options.coverage == "plain"
    if by_plain and plain is not None:
        values = plain.values
    for count in range(1, len(values) + 1):
        if options.max_tasks is not None and count > options.max_tasks:
            return count - 1, f"{count - 1} is the most that was allowed"
        if by_plain and plain is not None and plain.faults[count - 1]:
            fault = plain.faults[count - 1]
            raise UserError(
                f"the plain coverage of the first {count} is {values[count - 1]:.3g}: {fault}",
                where=_WHERE,
                todo="use coverage=projected, or give each task more samples than the encoder has dimensions",
            )
        growth = values[count - 1] / values[count - 2] - 1 if count > options.min_tasks else np.inf
        if growth < options.threshold:
            return count - 1, f"one more changes the coverage by {growth:+.2%}, and {options.threshold:+.2%} is asked"
    return len(values), "there are no more candidates"


def _chosen(order: IntArray, stop: int, options: Options) -> IntArray:
    """Return the positions in the pool that a mode chooses."""
    if options.mode == "selected":
        return order[:stop]
    if options.mode == "all":
        return order
    count = options.count or stop
    if count > len(order):
        raise UserError(f"there are {len(order)} candidates, not {count}", where=_WHERE, todo="lower count")
    if options.mode == "first-k":
        return order[:count]
    # Raw words of PCG64 are the same in every version of NumPy; its choice and permutation need not be.
    words = np.random.PCG64(np.random.SeedSequence(options.seed)).random_raw(len(order))
    return np.argsort(words, kind="stable")[:count].astype(np.int64)
