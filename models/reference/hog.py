"""Histograms of oriented gradients (Dalal and Triggs 2005), by scikit-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from .pixels import grey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray


class Hog:
    """Embeds an image as its block-normalised gradient histograms.

    Args:
        size: Side that images are resized to.
        cell: Side of a cell in pixels.
    """

    def __init__(self, size: int = 32, cell: int = 8) -> None:
        try:
            from skimage.feature import hog
        except ImportError as error:
            raise UserError(
                "scikit-image is needed", where="model hog", todo="pip install 'adaptbench[images]'"
            ) from error
        self._hog, self._size, self._cell = hog, size, cell

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d]."""
        return np.stack([self._vector(grey(image, self._size)) for image in images])

    def _vector(self, pixels: FloatArray) -> FloatArray:
        vector = self._hog(pixels, orientations=9, pixels_per_cell=(self._cell, self._cell), cells_per_block=(2, 2))
        return np.asarray(vector, dtype=np.float32)


def hog(size: int = 32, cell: int = 8) -> Hog:
    """Make the model."""
    return Hog(size, cell)
