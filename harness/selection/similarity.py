"""Consistency: how alike two tasks are, by one vector each (dissertation sections 3.3.2 and A.6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    DoubleArray: TypeAlias = npt.NDArray[np.float64]

Similarity: TypeAlias = Literal["mean", "component"]
"""``mean``: cosine of the tasks' mean embeddings. ``component``: absolute cosine of their first principal components,
whose sign is arbitrary (the dissertation's variant for language)."""

_DIGITS = 12
"""Similarities that agree in these decimals are equal: the rest is rounding."""
_ROUNDING = 16 * np.finfo(np.float64).eps
"""A vector that is shorter than this, of the length of all embeddings together, is zero."""


def describe(samples: npt.NDArray[Any], similarity: Similarity, name: str) -> DoubleArray:
    """Return the vector of length one that stands for a task.

    Args:
        samples: Embeddings, [n, d].
        similarity: What the vectors are compared by.
        name: What messages call the task.

    Raises:
        UserError: There is none: the mean is zero, or all embeddings are equal.
    """
    exact: DoubleArray = samples.astype(np.float64, copy=False)
    mean: DoubleArray = exact.mean(axis=0)
    vector, size = mean, float(np.linalg.norm(mean))
    if similarity == "component":
        _, lengths, axes = np.linalg.svd(exact - mean, full_matrices=False)
        vector, size = axes[0], float(lengths[0])
    if size <= _ROUNDING * float(np.linalg.norm(exact)):
        problem = "its embeddings have the mean zero" if similarity == "mean" else "its embeddings are all equal"
        raise UserError(f"{problem}: nothing is similar to it", where=name, todo="leave it out")
    direction: DoubleArray = vector / np.linalg.norm(vector)
    return direction


def similarities(target: DoubleArray, vectors: Sequence[DoubleArray], similarity: Similarity) -> DoubleArray:
    """Return the similarity of each task with the target, [tasks], from vectors of length one."""
    cosines: DoubleArray = np.stack(vectors) @ target
    found: DoubleArray = np.clip(np.abs(cosines) if similarity == "component" else cosines, -1, 1)
    return found.round(_DIGITS)


def by_similarity(values: DoubleArray) -> npt.NDArray[np.int64]:
    """Return the positions of the tasks, the most similar first; of equal ones the first."""
    return np.argsort(-values, kind="stable").astype(np.int64)
