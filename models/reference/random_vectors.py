"""The random predictor: a random vector for each content, so that only equal images are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.hashing import image_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray


class RandomVectors:
    """Embeds an image as numbers drawn uniformly from [-1, 1) by a generator seeded with (seed, pixels).

    Args:
        dims: Length of the vectors.
        seed: Of the draw.
    """

    def __init__(self, dims: int = 64, seed: int = 0) -> None:
        self._dims, self._seed = dims, seed

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, dims]."""
        return np.stack([self._vector(image) for image in images])

    def _vector(self, image: Image) -> FloatArray:
        entropy = [self._seed, int(image_digest(image), 16)]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        return (2 * rng.random(self._dims) - 1).astype(np.float32)


def random_vectors(dims: int = 64, seed: int = 0) -> RandomVectors:
    """Make the model."""
    return RandomVectors(dims, seed)
