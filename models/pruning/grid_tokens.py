"""The grid baseline: visual tokens at evenly spaced places of each image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .choosing import TokenChoice
from .grids import OnGrid

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class GridTokens(OnGrid, TokenChoice):
    """Keep the patch in the middle of each of ``grid`` x ``grid`` cells of an image."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the same places in every image, int64 [images, n]."""
        import torch

        images, patches = tower.features.shape[:2]
        side = math.isqrt(patches)
        if tower.grid != (side, side):
            raise UserError("its visual tokens are not a square", todo="show it square images")
        middles = [(2 * cell + 1) * side // (2 * self.grid) for cell in range(self.grid)]
        places = [row * side + column for row in middles for column in middles]
        return torch.tensor(places, device=tower.features.device).expand(images, -1)
