"""HiRED: the patches that the CLS token attends to most (Arif et al. 2025, arXiv 2408.10945)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pydantic import Field

from ...adapters.tower_signals import received_flops
from .choosing import AttendedTokens, KeptTokens, highest, shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ...adapters.tower_signals import Signals, Views
    from ...harness.transformer import Architecture


class Hired(AttendedTokens, KeptTokens):
    """Keep the patches that are attended to most; heads are summed.

    Of an image in several views, as LLaVA-NeXT has it, the view of the whole image keeps a share ``alpha``, cut, and at
    most all that it has. Its first block says how the others share the rest: by how many of its patches show the same
    place, of the share 1 - ``alpha`` that are attended to most there. The release cuts these shares, so that an image
    keeps fewer than ``keep``; here it keeps exactly as many.
    """

    alpha: float = Field(0.5, ge=0, le=1)
    """The share of ``keep`` that the view of the whole image keeps, where there are several views."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the patches by falling score, int64 [images, keep]."""
        return highest(tower.received(self.layer, self.query, "sum"), self.keep)

    def by_view(self, tower: Views) -> Sequence[Self]:
        """Return what chooses in each view; all of them are scored, also those of which nothing is kept."""
        whole, *others = [view.features.shape[1] for view in tower.every]
        self.kept(whole + sum(others))
        own = max(min(int(self.keep * self.alpha), whole), self.keep - sum(others))
        best = highest(tower.every[0].received(0, self.query, "sum")[0], int(whole * (1 - self.alpha)))
        falls = tower.shown[best.to(tower.shown.device)].bincount(minlength=len(tower.every))[1:].tolist()
        rest = shares(self.keep - own, [fall + (not any(falls)) for fall in falls], others)
        return [self.model_copy(update={"keep": count}) for count in (own, *rest)]

    def choosing(self, model: Architecture, left: int) -> int:
        """Return `flops`, of an image in views those of all and of the first block besides."""
        vision = model.vision
        if vision is None or not vision.views:
            return super().choosing(model, left)
        return (1 + len(vision.views)) * received_flops(replace(vision, tiles=1), self.query)
