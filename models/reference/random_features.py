"""Random features: pixels through one random layer and a ReLU, as an untrained network sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .pixels import grey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL.Image import Image

    from ...harness.contracts import FloatArray


class RandomFeatures:
    """Embeds an image as ReLU(W x), W drawn once by the seed.

    Args:
        dims: Length of the vectors.
        size: Side that images are resized to.
        seed: Of the draw.

    Attributes:
        module: Takes ``pixels`` [n, size * size], returns [n, dims].
    """

    def __init__(self, dims: int = 512, size: int = 32, seed: int = 0) -> None:
        self._size = size
        generator = torch.Generator().manual_seed(seed)
        self.module = _Layer(torch.randn(dims, size * size, generator=generator) / size)

    def prepare(self, inputs: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """Return grey values, centred on the image's mean: ``pixels`` [n, size * size]."""
        values = np.stack([grey(image, self._size).ravel() for image in inputs])
        return {"pixels": torch.from_numpy(values - values.mean(axis=1, keepdims=True))}

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, dims]."""
        with torch.inference_mode():
            vectors: FloatArray = self.module(**self.prepare(images)).numpy()
        return vectors


class _Layer(torch.nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.nn.functional.linear(pixels, self.weight))


def random_features(dims: int = 512, size: int = 32, seed: int = 0) -> RandomFeatures:
    """Make the model."""
    return RandomFeatures(dims, size, seed)
