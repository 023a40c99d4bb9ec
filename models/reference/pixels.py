"""Raw pixels as an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Resampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray


class Pixels:
    """Embeds an image as its grey values in [0, 1].

    Args:
        size: Side that images are resized to.
    """

    def __init__(self, size: int = 32) -> None:
        self._size = size

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, size * size]."""
        return np.stack([grey(image, self._size).ravel() for image in images])


def grey(image: Image, size: int) -> FloatArray:
    """Return an image's grey values in [0, 1], float32 [size, size]."""
    small = image.convert("L")
    if small.size != (size, size):
        small = small.resize((size, size), Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def pixels(size: int = 32) -> Pixels:
    """Make the model."""
    return Pixels(size)
