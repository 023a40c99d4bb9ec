"""G-Prune: patches that a graph of likeness leads to (Jiang et al., AAAI 2025, arXiv 2501.02268)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from .choosing import KeptTokens, feature_width, highest

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals
    from ...harness.transformer import Architecture


class GPrune(KeptTokens):
    """Keep the patches with the highest scores after information has spread over the graph of patches.

    Two patches are joined if the cosine of the tower's features is at least ``threshold``. Each patch passes on what it
    has to those it is joined to, by a softmax of the cosines over a ``temperature``; at first that is the length of its
    feature. After some ``steps`` a patch's score is what it has, over how many it is joined to. The release multiplies
    the matrix of the graph with itself, here it is only multiplied with the scores. It is for LLaVA-NeXT, whose base
    view and crops it prunes apart, the crops together, at a share of one half that is typed into the code.
    """

    keep: int = Field(64, ge=1)
    """How many visual tokens of each image are kept."""
    threshold: float = Field(0.5, gt=0, le=1)
    """The least cosine of patches that are joined."""
    temperature: float = Field(0.03, gt=0)
    """What cosines are divided by."""
    steps: int = Field(5, ge=0)
    """How often information is passed on."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the patches by falling score, int64 [images, keep]."""
        return highest(spread(tower.features.float(), self.threshold, self.temperature, self.steps), self.keep)

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - all patches are compared
        """FLOPs of cosines and steps."""
        return 2 * model.visual_tokens**2 * (feature_width(model) + self.steps)


def spread(features: torch.Tensor, threshold: float, temperature: float, steps: int) -> torch.Tensor:
    """Return the score of each patch, float32 [images, N].

    Args:
        features: float32 [images, N, width].
        threshold: As the option.
        temperature: As the option.
        steps: As the option.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(features, dim=-1)
    cosines = unit @ unit.transpose(1, 2)
    joined = cosines >= threshold
    passed = (cosines / temperature).masked_fill(~joined, -torch.inf).softmax(dim=-1)
    passed = passed.nan_to_num()  # a patch without features is joined to none
    has = features.norm(dim=-1)[:, None]
    for _ in range(steps):
        has = has @ passed
    scores: torch.Tensor = has[:, 0] / joined.sum(dim=1).clamp(min=1)
    return scores
