"""The pooling baseline: the visual tokens of an image averaged over a coarser grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .grids import OnGrid

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class PooledTokens(OnGrid):
    """Average the patches of each image over ``grid`` x ``grid`` cells, which overlap where the sides do not divide.

    Where tokens have places in the image, each stands in the middle of its cell.
    """

    def of_images(self, tower: Signals) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the means, and the tokens in the middles of the cells, whose places they take."""
        from torch.nn.functional import adaptive_avg_pool2d

        self.check(tower)
        features, (rows, columns) = tower.features, tower.grid
        images, _, width = features.shape
        tiles = features.reshape(-1, rows * columns, width).transpose(1, 2).reshape(-1, width, rows, columns)
        means = adaptive_avg_pool2d(tiles, self.grid).flatten(2).transpose(1, 2)
        return means.reshape(images, -1, width), self.middles(tower).expand(images, -1)
