"""The constant predictor: the same vector for every image, so every query goes to the first class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray


class Constant:
    """Embeds every image as [1]."""

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return ones of shape [n, 1]."""
        return np.ones((len(images), 1), dtype=np.float32)


def constant() -> Constant:
    """Make the model."""
    return Constant()
