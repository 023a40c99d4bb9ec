"""VisPruner: patches that are attended to most, and others that differ (Zhang et al., ICCV 2025, arXiv 2412.01818)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from .choosing import AttendedTokens, KeptTokens, feature_width, highest

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals
    from ...harness.transformer import Architecture

_AT_ONCE = 8
"""The most patches that a round removes."""


class VisPruner(AttendedTokens, KeptTokens):
    """Keep the patches that are attended to most, and of the others those that no other one is like.

    The others stand by falling score. Each round compares every second one with those between them, by the cosine of
    the tower's features, and removes up to 8 that have the most similar one, until as many are left as are missing.
    """

    important: float = Field(0.5, ge=0, le=1)
    """The share of the kept patches that are attended to most; rounded down."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the patches, int64 [images, keep]."""
        import torch
        from torch.nn.functional import normalize

        order = highest(tower.received(self.layer, self.query, "mean"), tower.features.shape[1])
        unit = normalize(tower.features.float(), dim=-1)
        best = int(self.keep * self.important)
        found = [
            torch.cat([ranked[:best], distinct(ranked[best:], image, self.keep - best)])
            for ranked, image in zip(order, unit, strict=True)
        ]
        return torch.stack(found)

    def flops(self, model: Architecture, left: int) -> int:
        """FLOPs of a row of attention, and of the rounds' cosines."""
        best = int(left * self.important)
        rest, missing, pairs = model.visual_tokens - best, left - best, 0
        while missing and rest > missing:
            pairs += (rest + 1) // 2 * (rest // 2)
            rest -= min(_AT_ONCE, rest - missing, (rest + 1) // 2)
        return super().flops(model, left) + 2 * feature_width(model) * pairs


def distinct(ranked: torch.Tensor, unit: torch.Tensor, count: int) -> torch.Tensor:
    """Remove patches that others are like, until ``count`` are left.

    Args:
        ranked: int64 [R], the patches by falling score.
        unit: Features of all patches, of length 1, [N, width].
        count: At most R.

    Returns:
        int64 [count].
    """
    import torch

    while len(ranked) > count:
        if not count:
            return ranked[:0]
        even, odd = ranked[::2], ranked[1::2]
        similar = (unit[even] @ unit[odd].T).amax(dim=1)
        removed = min(_AT_ONCE, len(ranked) - count, len(even))
        left = even[highest(similar, len(even))[removed:]]
        ranked = torch.cat([left, odd])
    return ranked
