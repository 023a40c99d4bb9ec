"""Raw pixels as an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Resampling

from ...harness.errors import UserError
from ...harness.measure.memory import free_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray

_SMALL = 1 << 24
"""Pixels of an image up to which no memory is asked for."""
_BYTES = 13
"""Of a pixel, at most, at once: as Pillow has it, as a number before and after division, and in the batch."""


class Pixels:
    """Embeds an image as its grey values in [0, 1].

    Args:
        size: Side that images are resized to.
    """

    def __init__(self, size: int = 32) -> None:
        self._size = size

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, size * size].

        Raises:
            MemoryError: This many do not fit, but fewer may.
        """
        if self._size**2 > _SMALL and len(images) > 1 and len(images) * _BYTES * self._size**2 > free_memory():
            raise MemoryError
        return np.stack([grey(image, self._size).ravel() for image in images])


def grey(image: Image, size: int) -> FloatArray:
    """Return an image's grey values in [0, 1], float32 [size, size].

    Raises:
        UserError: There is no such size, or not the memory for it.
    """
    if type(size) is not int or size < 1:
        raise UserError(f"size={size!r} is not a side of an image", todo="give a whole number of 1 or more")
    if size**2 > _SMALL and _BYTES * size**2 > (free := free_memory()):
        what = f"an image of {size:,} x {size:,} pixels takes {_BYTES * size**2 / 1e9:,.1f} GB of memory"
        raise UserError(f"{what}, of which {free / 1e9:,.1f} are free", todo="give a smaller size=")
    small = image.convert("L")
    if small.size != (size, size):
        small = small.resize((size, size), Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def pixels(size: int = 32) -> Pixels:
    """Make the model."""
    return Pixels(size)
