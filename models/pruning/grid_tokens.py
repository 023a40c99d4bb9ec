"""The grid baseline: visual tokens at evenly spaced places of each image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choosing import TokenChoice
from .grids import OnGrid

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class GridTokens(OnGrid, TokenChoice):
    """Keep the patch in the middle of each of ``grid`` x ``grid`` cells of an image."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the same places in every image, int64 [images, n]."""
        return self.middles(tower).expand(len(tower.features), -1)
