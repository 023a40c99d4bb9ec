"""The nearest-centroid classifier with cosine, over many episodes at once.

Dissertation section 3.4 and A.5: a class is the plain mean of its raw support embeddings; a query belongs to the class
whose mean has the largest cosine with it. No head is trained.

What an episode is answered depends on it and on its embeddings alone, to the last bit: not on which episodes it is
scored together with, so a resumed run equals an uninterrupted one. Each episode's products have a shape of their own,
which the batched product neither splits nor merges, and nothing is computed across episodes: no common scale, and no
matrix of all inner products, whose rounding would follow from what else is in it. (Over the 4,000 images and more of a
test split that matrix would also take more work than 1,500 episodes need.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ...harness.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ...harness.contracts import FloatArray
    from .episodes import IntArray

    DoubleArray = npt.NDArray[np.float64]

Centroid: TypeAlias = Literal["mean", "mean-of-normalised"]

_CENTROIDS = 2**22
"""Bytes of centroids to make at a time."""
_CACHE = 2**20
"""Bytes of query embeddings to gather at a time: they stay in the processor's cache."""
_ONE_THREAD = 2**19
"""Multiplications in a product of matrices that OpenBLAS leaves to one thread: how many threads there are then changes
no bit, and none waits for another."""
_LANES = 4
"""Products of matrices are fast for a multiple of so many columns; columns of zeros make up the number."""
_LENGTH = 2.0**-10
"""Length of a centroid: so short that no product with a float32 embedding, of up to a million numbers, overflows."""


@np.errstate(invalid="ignore")
def predict(features: FloatArray, support: IntArray, query: IntArray, *, centroid: Centroid = "mean") -> IntArray:
    """Classify the queries of many episodes.

    Args:
        features: Embeddings, float32 [n, d].
        support: Positions of support images, int [episodes, ways, shots].
        query: Positions of query images, int [episodes, ways, queries].
        centroid: ``mean`` of the raw embeddings, or ``mean-of-normalised`` ones. They differ for more than one shot.

    Returns:
        The class, 0 .. ways - 1, of each query: int64 [episodes, ways * queries], in the order of ``query``. Equal
        cosines go to the lowest class; an embedding of zeros has cosine 0 with everything.

    Raises:
        UserError: An embedding that is used is not finite, or ``centroid`` is neither.
    """
    if centroid not in get_args(Centroid):
        raise UserError(f"no such centroid: {centroid!r}", todo=f"choose from {', '.join(get_args(Centroid))}")
    episodes, ways, queries = query.shape
    step = max(1, _CENTROIDS // (8 * ways * support.shape[2] * features.shape[1]))
    classes = np.empty((episodes, ways * queries), dtype=np.int64)
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        means = _means(np.take(features, support[rows], axis=0, mode="clip"), centroid)
        if not np.isfinite(means).all():
            _refuse(features, support[rows])
        best = _best(features, query[rows], _directions(means))
        classes[rows] = np.take_along_axis(_lowest(means), best, axis=1)
    return classes


def _best(features: FloatArray, query: IntArray, directions: DoubleArray) -> IntArray:
    """Return the class with the largest product for each query, [episodes, ways * queries]."""
    episodes, ways, queries = query.shape
    width = features.shape[1]
    columns = np.zeros((episodes, 1, -(-ways // _LANES) * _LANES, width), dtype=features.dtype)
    columns[:, 0, :ways] = directions
    together = _together(ways, queries, width)
    step = max(1, _CACHE // (features.itemsize * ways * queries * width))
    gathered = np.empty((step, ways // together, together * queries, width), dtype=features.dtype)
    best = np.empty((episodes, ways * queries), dtype=np.int64)
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        block = gathered[: len(query[rows])]
        np.take(features, query[rows].reshape(block.shape[:-1]), axis=0, out=block, mode="clip")
        scores = (block @ columns[rows].swapaxes(2, 3))[..., :ways]
        if not np.isfinite(scores).all():
            _refuse(features, query[rows])
        best[rows] = scores.argmax(axis=3).reshape(len(block), ways * queries)
    return best


def _together(ways: int, queries: int, width: int) -> int:
    """Return of how many classes to score the queries in one product."""
    fitting = [n for n in range(1, ways + 1) if ways % n == 0 and n * queries * (ways + _LANES) * width < _ONE_THREAD]
    return max(fitting, default=1)


def _means(members: FloatArray, centroid: Centroid) -> DoubleArray:
    """Average the support embeddings [episodes, ways, shots, d] into float64 [episodes, ways, d]."""
    some: npt.NDArray[Any] = members if centroid == "mean" else _directions(members.astype(np.float64))
    means: DoubleArray = some.mean(axis=2, dtype=np.float64)
    return means


def _directions(vectors: DoubleArray) -> DoubleArray:
    """Scale vectors to a common length; zeros stay zeros. No square of a float32 number overflows in float64."""
    norms = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., np.newaxis]
    short: DoubleArray = np.divide(vectors, norms / _LENGTH, out=np.zeros_like(vectors), where=norms != 0)
    return short


def _lowest(means: DoubleArray) -> IntArray:
    """Map each class to the lowest one of the same centroid, [episodes, ways].

    Their cosines are equal, but a product may round them differently in its different columns.
    """
    first = means[:, :, 0]
    if (np.diff(np.sort(first, axis=1)) != 0).all():  # no two alike: the usual case, told at once
        return np.broadcast_to(np.arange(means.shape[1]), first.shape)
    lowest: IntArray = (means[:, :, np.newaxis] == means[:, np.newaxis]).all(axis=3).argmax(axis=2)
    return lowest


def _refuse(features: FloatArray, positions: IntArray) -> None:
    used = np.unique(positions)
    bad = used[~np.isfinite(features[used]).all(axis=1)]
    raise UserError(f"the embedding of image {bad[0]} holds NaN or infinity", todo="mend the model")
