"""The random baseline: visual tokens at places that a seed draws, the same for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...adapters.tower_features import patch_features
from ...harness.errors import UserError
from ...harness.methods import Seed, Selector

if TYPE_CHECKING:
    import torch


class RandomTokens(Selector):
    """Keep some visual tokens of each image, in their order in the image."""

    keep: int = Field(64, ge=1)
    """How many visual tokens of each image are kept."""
    seed: Seed = 0
    """The seed of the places."""

    def kept(self, given: int) -> int:
        """Return ``keep``, if an image has that many."""
        if self.keep > given:
            raise UserError(f"cannot keep {self.keep} of {given} visual tokens", todo=f"give keep from 1 to {given}")
        return self.keep

    def __call__(self, llava: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features [images, keep, width] that the projector is given."""
        import torch

        features = patch_features(llava, pixels)
        drawn = torch.randperm(features.shape[1], generator=torch.Generator().manual_seed(self.seed))
        return features[:, drawn[: self.kept(features.shape[1])].sort().values]
