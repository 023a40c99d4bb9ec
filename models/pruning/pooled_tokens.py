"""The pooling baseline: the visual tokens of an image averaged over a coarser grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...adapters.tower_features import patch_features
from ...harness.errors import UserError
from ...harness.methods import Selector

if TYPE_CHECKING:
    import torch


class PooledTokens(Selector):
    """Average the patches of each image over ``grid`` x ``grid`` cells, which overlap where the sides do not divide."""

    grid: int = Field(8, ge=1)
    """How many visual tokens each side of an image has."""

    def kept(self, given: int) -> int:
        """Return grid x grid, if the patches are a square of at least that side."""
        side = math.isqrt(given)
        if side**2 != given or self.grid > side:
            what = f"cannot average {given} visual tokens over a grid of {self.grid} x {self.grid}"
            raise UserError(what, todo=f"give grid from 1 to {side}" if side**2 == given else "choose another method")
        return self.grid**2

    def __call__(self, llava: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features [images, grid x grid, width] that the projector is given."""
        from torch.nn.functional import adaptive_avg_pool2d

        features = patch_features(llava, pixels)
        self.kept(features.shape[1])
        side = math.isqrt(features.shape[1])
        square = features.transpose(1, 2).reshape(len(features), -1, side, side)
        return adaptive_avg_pool2d(square, self.grid).flatten(2).transpose(1, 2)
