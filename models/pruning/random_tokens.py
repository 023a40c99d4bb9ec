"""The random baseline: visual tokens at places that a seed draws, the same for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.methods import Seed  # noqa: TC001 - pydantic reads it
from .choosing import KeptTokens

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class RandomTokens(KeptTokens):
    """Keep some visual tokens of each image, in their order in the image."""

    seed: Seed = 0
    """The seed of the places."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the same places in every image, int64 [images, keep]."""
        import torch

        images, patches = tower.features.shape[:2]
        drawn = torch.randperm(patches, generator=torch.Generator().manual_seed(self.seed))
        return drawn[: self.keep].to(tower.features.device).expand(images, -1)
