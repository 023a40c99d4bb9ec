"""The grid baseline: visual tokens at evenly spaced places of each image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from ...harness.errors import UserError
from .choosing import TokenChoice

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class GridTokens(TokenChoice):
    """Keep the patch in the middle of each of ``grid`` x ``grid`` cells of an image."""

    grid: int = Field(8, ge=1)
    """How many visual tokens are kept on each side of an image."""

    def kept(self, given: int) -> int:
        """Return grid x grid, if the patches are a square of at least that side."""
        side = math.isqrt(given)
        if side**2 != given or self.grid > side:
            what = f"cannot put a grid of {self.grid} x {self.grid} on {given} visual tokens"
            raise UserError(what, todo=f"give grid from 1 to {side}" if side**2 == given else "choose another method")
        return self.grid**2

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
