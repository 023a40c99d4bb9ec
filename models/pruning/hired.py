"""HiRED on one view: the patches that the CLS token attends to most (Arif et al. 2025, arXiv 2408.10945)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choosing import AttendedTokens, KeptTokens, highest

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals


class Hired(AttendedTokens, KeptTokens):
    """Keep the patches that are attended to most; heads are summed.

    What HiRED does with an image of one view, as LLaVA-1.5 has it; how it shares a budget among the views of LLaVA-NeXT
    is not offered.
    """

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the patches by falling score, int64 [images, keep]."""
        return highest(tower.received(self.layer, self.query, "sum"), self.keep)
