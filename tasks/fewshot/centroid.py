"""The nearest-centroid classifier with cosine, over many episodes at once.

Dissertation section 3.4 and A.5: a class is the plain mean of its raw support embeddings; a query belongs to the class
whose mean has the largest cosine with it. No head is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ...harness.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ...harness.contracts import FloatArray
    from .episodes import IntArray

Centroid: TypeAlias = Literal["mean", "mean-of-normalised"]

_BUDGET = 64 * 2**20
"""Bytes of gathered query embeddings to hold at a time."""


def predict(features: FloatArray, support: IntArray, query: IntArray, *, centroid: Centroid = "mean") -> IntArray:
    """Classify the queries of many episodes.

    Each episode is one small matrix product of its own, so the answer does not depend on how episodes are grouped.

    Args:
        features: Embeddings, float32 [n, d].
        support: Positions of support images, int [episodes, ways, shots].
        query: Positions of query images, int [episodes, ways, queries].
        centroid: ``mean`` of the raw embeddings, or ``mean-of-normalised`` ones. They differ for more than one shot.

    Returns:
        The class, 0 .. ways - 1, of each query: int64 [episodes, ways * queries], in the order of ``query``. Equal
        cosines go to the lowest class; an embedding of zeros has cosine 0 with everything.

    Raises:
        UserError: An embedding that is used is not finite.
    """
    episodes, ways, queries = query.shape
    scaled = _scaled(features)
    unit = _normalised(scaled)
    members = scaled if centroid == "mean" else unit
    flat = query.reshape(episodes, ways * queries)
    classes = np.empty(flat.shape, dtype=np.int64)
    step = max(1, _BUDGET // (4 * unit.shape[1] * ways * (queries + support.shape[2])))
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        centroids = _normalised(members[support[rows]].mean(axis=2))
        cosines = unit[flat[rows]] @ centroids.transpose(0, 2, 1)
        classes[rows] = cosines.argmax(axis=2)
    return classes


def _scaled(features: FloatArray) -> FloatArray:
    """Divide by the largest number, which changes no cosine and keeps squares within float32."""
    largest = np.abs(features).max(initial=0.0)
    if not np.isfinite(largest):
        bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise UserError(f"the embedding of image {bad} holds NaN or infinity", todo="mend the model")
    return features / largest if largest > 0 else features


def _normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return unit
