"""The nearest-centroid classifier with cosine, over many episodes at once.

Dissertation section 3.4 and A.5: a class is the plain mean of its raw support embeddings; a query belongs to the class
whose mean has the largest cosine with it. No head is trained.

Cosines within 1e-9 of the largest count as equal to it, and of equal ones the lowest class is the answer. Float32
cannot tell such cosines apart: how it rounds depends on the processor's kernel, on the threads and on the shapes. It
therefore only answers where one class alone can be the nearest, however it rounded; elsewhere float64 decides, whose
rounding is far below 1e-9. So an answer depends on its own episode alone: not on the processor, and not on which
episodes it is scored together with. A resumed run equals an uninterrupted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from ...harness.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ...harness.contracts import FloatArray
    from .episodes import IntArray

    BoolArray = npt.NDArray[np.bool_]
    DoubleArray = npt.NDArray[np.float64]

Centroid: TypeAlias = Literal["mean", "mean-of-normalised"]

TOLERANCE = 1e-9
"""Cosines that differ by no more are equal."""

_BLOCK = 2**20
"""Bytes of an array to work on at a time: it stays in the processor's cache."""
_ONE_THREAD = 2**19
"""Multiplications in a product of matrices that OpenBLAS leaves to one thread, so that none waits for another."""
_LANES = 4
"""Matrix products are fast when the number of columns is a multiple of this; columns of zeros pad it."""
_SHORT = 2.0**-30
"""A length whose square is far from underflow in float32."""


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
    query = query.reshape(len(query), -1)
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))  # finite where all numbers are
    if not np.isfinite(lengths).all():
        used = np.union1d(support, query)
        for bad in used[~np.isfinite(lengths[used])]:
            raise UserError(f"the embedding of image {bad} holds NaN or infinity", todo="fix the model")
    classes, doubtful = _screen(*_scaled(features, lengths, centroid), support, query)
    _decide(classes, doubtful, features, support, query, centroid)
    return classes


def _scaled(features: FloatArray, lengths: DoubleArray, centroid: Centroid) -> tuple[FloatArray, FloatArray]:
    """Scale embeddings so that their sums are centroids, whose squares fit float32; return them and their lengths."""
    finite = np.isfinite(lengths)
    longest = np.max(lengths, where=finite, initial=0)
    if centroid == "mean" and 2.0**-10 < longest < 2.0**20:  # as they are, nearly always
        return features, np.maximum(lengths, _SHORT).astype(features.dtype)
    unit = np.where(finite & (lengths > 0), lengths if centroid == "mean-of-normalised" else longest, 1)
    vectors = np.divide(features, unit[:, np.newaxis], out=np.empty_like(features), casting="same_kind")
    return vectors, np.maximum(lengths / unit, _SHORT).astype(features.dtype)


def _screen(vectors: FloatArray, lengths: FloatArray, support: IntArray, query: IntArray) -> tuple[IntArray, BoolArray]:
    """Return the class with the largest cosine by float32, and whether another's might be: [episodes, queries] each."""
    (episodes, queries), ways, width = query.shape, support.shape[1], vectors.shape[1]
    padded = -(-ways // _LANES) * _LANES
    some = max(1, _BLOCK // (vectors.itemsize * queries * width))
    step = some * max(1, _BLOCK // (vectors.itemsize * padded * max(queries, width) * some))
    parts = ways // _together(ways, queries // ways * padded * width)
    gathered = np.empty((some, parts, queries // parts, width), dtype=vectors.dtype)
    columns = np.zeros((step, 1, width, padded), dtype=vectors.dtype)
    scores = np.empty((padded, step, parts, queries // parts), dtype=vectors.dtype)
    products = np.moveaxis(scores, 0, 2)
    numbers = np.arange(ways, dtype=np.min_scalar_type(ways))[:, np.newaxis, np.newaxis]
    classes, doubtful = np.empty(query.shape, dtype=np.int64), np.empty(query.shape, dtype=bool)
    for start in range(0, episodes, step):
        rows = slice(start, start + step)
        asked = query[rows]
        blur = _fill(columns[: len(asked), 0, :, :ways], vectors, lengths, support[rows])
        for first in range(0, len(asked), some):
            few = slice(first, min(first + some, len(asked)))
            block = gathered[: few.stop - first]
            np.take(vectors, asked[few].reshape(block.shape[:-1]), axis=0, out=block, mode="clip")
            np.matmul(columns[few].swapaxes(2, 3), block.swapaxes(2, 3), out=products[few])
        table = scores.reshape(padded, step, queries)[:ways, : len(asked)]
        possible = table >= table.max(axis=0) - blur[:, np.newaxis] * lengths.take(asked)
        classes[rows] = (possible * numbers).max(axis=0)
        doubtful[rows] = possible.sum(axis=0, dtype=numbers.dtype) > 1
    return classes, doubtful


def _fill(columns: FloatArray, vectors: FloatArray, lengths: FloatArray, support: IntArray) -> FloatArray:
    """Write the directions of centroids into ``columns`` [episodes, d, ways].

    Returns:
        How far float32 may move two scores of an episode apart, over the query's length: [episodes]. In whatever order
        k rounded numbers are added up, the sum is off by at most k roundings of the sum of their absolute values
        (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1): a score by d of them for its product,
        d / 2 for the centroid's length, 2 for each shot, as often as the centroid is shorter than what it is the sum
        of, and 8 that come once. A quarter more is for terms of the second order.
    """
    first, *others = np.moveaxis(support, 2, 0)
    sums, total = vectors.take(first, axis=0, mode="clip"), lengths.take(first)
    for shot in others:
        sums += vectors.take(shot, axis=0, mode="clip")
        total += lengths.take(shot)
    norms = np.sqrt(np.einsum("ewd,ewd->ew", sums, sums))
    cancelled = np.where(norms < _SHORT, np.inf, total / np.maximum(norms, _SHORT))
    sums /= np.maximum(norms, _SHORT)[..., np.newaxis]
    columns[:] = sums.swapaxes(1, 2)
    roundings = 1.5 * vectors.shape[1] + 2 * support.shape[2] * cancelled.max(axis=1) + 8
    blur: FloatArray = (1.25 * np.finfo(vectors.dtype).eps * roundings).astype(vectors.dtype)
    return blur


def _together(ways: int, products: int) -> int:
    """Return of how many classes to score the queries in one product, if those of one class take ``products``."""
    fitting = [n for n in range(1, ways + 1) if ways % n == 0 and n * products < _ONE_THREAD]
    return max(fitting, default=1)


def _decide(
    classes: IntArray,
    doubtful: BoolArray,
    features: FloatArray,
    support: IntArray,
    query: IntArray,
    centroid: Centroid,
) -> None:
    """Replace the classes of doubtful queries by the lowest whose cosine is the largest, within the tolerance."""
    width = features.shape[1]
    unsure = np.flatnonzero(doubtful.any(axis=1))
    step = max(1, 8 * _BLOCK // (8 * width * (support[0].size + query.shape[1])))
    for start in range(0, len(unsure), step):
        rows = unsure[start : start + step]
        most = np.count_nonzero(doubtful[rows], axis=1).max()
        places = np.argsort(~doubtful[rows], axis=1, kind="stable")[:, :most]  # where fewer are, sure ones fill up
        rows = rows[:, np.newaxis]
        asked = features[query[rows, places]].astype(np.float64)
        scores = asked @ _directions(_sums(features[support[rows[:, 0]]], centroid)).swapaxes(1, 2)
        least = scores.max(axis=2) - TOLERANCE * np.sqrt(np.einsum("eqd,eqd->eq", asked, asked))
        classes[rows, places] = (scores >= least[..., np.newaxis]).argmax(axis=2)


def _sums(members: FloatArray, centroid: Centroid) -> DoubleArray:
    """Add up support embeddings [episodes, ways, shots, d] in float64, [episodes, ways, d]; cosines divide by no count.

    Embeddings scaled to one length cancel out but for their rounding, which has no direction to speak of.
    """
    normalised, wide = centroid == "mean-of-normalised", members.astype(np.float64)
    sums: DoubleArray = (_directions(wide) if normalised else wide).sum(axis=2)
    if normalised:
        sums[np.sqrt(np.einsum("ewd,ewd->ew", sums, sums)) < TOLERANCE] = 0
    return sums


def _directions(vectors: DoubleArray) -> DoubleArray:
    """Scale vectors to length 1; zeros stay zeros. No square of a float32 number overflows in float64."""
    norms = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., np.newaxis]
    directions: DoubleArray = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms != 0)
    return directions
