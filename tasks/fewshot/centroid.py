"""The nearest-centroid classifier with cosine, over many episodes at once.

Dissertation section 3.4 and A.5: a class is the plain mean of its raw support embeddings; a query belongs to the class
whose mean has the largest cosine with it. No head is trained.

Cosines within 1e-9 of the largest count as equal to it, and of equal ones the lowest class is the answer. A product of
float32 matrices cannot tell such cosines apart: how it rounds depends on the processor's kernel, on the threads and on
the shapes. It therefore only rules out classes that no rounding could bring to the top; where several are left, float64
decides, whose rounding is far below 1e-9. So an answer depends on its own episode alone: not on the processor, and not
on which episodes it is scored together with. A resumed run equals an uninterrupted one.
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

TOLERANCE = 1e-9
"""Cosines that differ by no more are equal."""

_CENTROIDS = 2**22
"""Bytes of centroids to make at a time."""
_CACHE = 2**20
"""Bytes of query embeddings to gather at a time: they stay in the processor's cache."""
_ONE_THREAD = 2**19
"""Multiplications in a product of matrices that OpenBLAS leaves to one thread, so that none waits for another."""
_LANES = 4
"""Matrix products are fast when the number of columns is a multiple of this; columns of zeros pad it."""
_LENGTH = 2.0**-10
"""Length of a centroid: so short that no product with a float32 embedding, of up to a million numbers, overflows."""


@np.errstate(invalid="ignore", over="ignore")
def predict(features: FloatArray, support: IntArray, query: IntArray, *, centroid: Centroid = "mean") -> IntArray:
    """Classify the queries of many episodes.

    Args:
        features: Embeddings, float32 [n, d].
        support: Positions of support images, int [episodes, ways, shots].
        query: Positions of query images, int [episodes, ways, queries].
        centroid: ``mean`` of the raw embeddings, or ``mean-of-normalised`` ones. They differ for more than one shot.

    Returns:
        The class, 0 .. ways - 1, of each query: int64 [episodes, ways * queries], in the order of ``query``. Equal
        cosines (see `TOLERANCE`) go to the lowest class; an embedding of zeros has cosine 0 with everything.

    Raises:
        UserError: An embedding that is used is not finite, or ``centroid`` is neither.
    """
    if centroid not in get_args(Centroid):
        raise UserError(f"no such centroid: {centroid!r}", todo=f"choose from {', '.join(get_args(Centroid))}")
    episodes, ways, queries = query.shape
    blur = _blur(features, query)
    step = max(1, _CENTROIDS // (8 * ways * support.shape[2] * features.shape[1]))
    classes = np.empty((episodes, ways * queries), dtype=np.int64)
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        sums = _sums(np.take(features, support[rows], axis=0, mode="clip"), centroid)
        if not np.isfinite(sums).all():
            _refuse(features, support[rows])
        classes[rows] = _best(features, query[rows], _directions(sums), blur)
    return classes


def _blur(features: FloatArray, query: IntArray) -> FloatArray:
    """Return how far apart float32 may put equal products of a query's embedding with centroids, float32 [n].

    In whatever order d rounded products are added up, the sum is off by at most d / 2 epsilons of the product of the
    lengths (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Two sums are compared, and the
    centroids are rounded too. Squares may underflow, which is made up for, or overflow: then no class is ruled out.
    """
    used = np.zeros(len(features), dtype=bool)
    used[query] = True
    some = features[used]
    width, limits = features.shape[1], np.finfo(np.float32)
    blur = np.zeros(len(features), dtype=np.float32)
    blur[used] = np.sqrt(np.einsum("nd,nd->n", some, some) + width * limits.tiny)
    blur *= 1.25 * (width + 2) * limits.eps * _LENGTH  # a quarter more, for terms of the second order
    return blur


def _best(features: FloatArray, query: IntArray, directions: DoubleArray, blur: FloatArray) -> IntArray:
    """Return the class with the largest cosine for each query, [episodes, ways * queries]."""
    episodes, ways, queries = query.shape
    width = features.shape[1]
    columns = np.zeros((episodes, 1, -(-ways // _LANES) * _LANES, width), dtype=features.dtype)
    columns[:, 0, :ways] = directions
    together = _together(ways, queries, width)
    step = max(1, _CACHE // (features.itemsize * ways * queries * width))
    gathered = np.empty((step, ways // together, together * queries, width), dtype=features.dtype)
    numbers = np.arange(ways, dtype=np.min_scalar_type(ways))[:, np.newaxis]
    best = np.empty((episodes, ways * queries), dtype=np.int64)
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        asked = query[rows].reshape(-1, *gathered.shape[1:3])
        block = gathered[: len(asked)]
        np.take(features, asked, axis=0, out=block, mode="clip")
        scores = np.ascontiguousarray((block @ columns[rows].swapaxes(2, 3)).reshape(-1, columns.shape[2])[:, :ways].T)
        top = scores.max(axis=0)
        if not np.isfinite(top).all():
            _refuse(features, query[rows])
        possible = scores >= top - blur[asked.ravel()]
        best[rows] = (possible * numbers).max(axis=0).reshape(len(block), -1)
        if np.count_nonzero(possible) > len(top):
            doubtful = (possible.sum(axis=0) > 1).reshape(len(block), -1)
            for episode in np.flatnonzero(doubtful.any(axis=1)):
                own = block[episode].reshape(-1, width)[doubtful[episode]]
                best[start + episode, doubtful[episode]] = _exactly(own, directions[start + episode])
    return best


def _exactly(queries: FloatArray, directions: DoubleArray) -> IntArray:
    """Return the lowest class whose cosine is the largest, within the tolerance: from [q, d] and [ways, d], [q]."""
    wide = queries.astype(np.float64)
    scores = wide @ directions.T
    lengths = np.sqrt(np.einsum("qd,qd->q", wide, wide))
    least = scores.max(axis=1) - TOLERANCE * _LENGTH * lengths
    first: IntArray = (scores >= least[:, np.newaxis]).argmax(axis=1)
    return first


def _together(ways: int, queries: int, width: int) -> int:
    """Return of how many classes to score the queries in one product."""
    fitting = [n for n in range(1, ways + 1) if ways % n == 0 and n * queries * (ways + _LANES) * width < _ONE_THREAD]
    return max(fitting, default=1)


def _sums(members: FloatArray, centroid: Centroid) -> DoubleArray:
    """Add up support embeddings [episodes, ways, shots, d] in float64, [episodes, ways, d]; cosines divide by no count.

    Embeddings scaled to one length cancel out but for their rounding, which has no direction to speak of.
    """
    normalised = centroid == "mean-of-normalised"
    some: npt.NDArray[Any] = _directions(members.astype(np.float64)) if normalised else members
    sums: DoubleArray = some.sum(axis=2, dtype=np.float64)
    if normalised:
        sums[np.sqrt(np.einsum("ewd,ewd->ew", sums, sums)) < TOLERANCE * _LENGTH] = 0
    return sums


def _directions(vectors: DoubleArray) -> DoubleArray:
    """Scale vectors to a common length; zeros stay zeros. No square of a float32 number overflows in float64."""
    norms = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., np.newaxis]
    short: DoubleArray = vectors * np.divide(_LENGTH, norms, out=np.zeros_like(norms), where=norms != 0)
    return short


def _refuse(features: FloatArray, positions: IntArray) -> None:
    used = np.unique(positions)
    bad = used[~np.isfinite(features[used]).all(axis=1)]
    raise UserError(f"the embedding of image {bad[0]} holds NaN or infinity", todo="fix the model")
