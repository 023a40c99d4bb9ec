"""The pooling baseline: the visual tokens of an image averaged over a coarser grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...adapters.tower_features import patch_features
from .grids import OnGrid

if TYPE_CHECKING:
    import torch


class PooledTokens(OnGrid):
    """Average the patches of each image over ``grid`` x ``grid`` cells, which overlap where the sides do not divide."""

    def __call__(self, llava: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features [images, grid x grid, width] that the projector is given."""
        from torch.nn.functional import adaptive_avg_pool2d

        features = patch_features(llava, pixels)
        self.kept(features.shape[1])
        side = math.isqrt(features.shape[1])
        square = features.transpose(1, 2).reshape(len(features), -1, side, side)
        return adaptive_avg_pool2d(square, self.grid).flatten(2).transpose(1, 2)
