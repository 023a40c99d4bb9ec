"""DivPrune: visual tokens that are as far from each other as can be (Alvar et al., CVPR 2025, arXiv 2503.02175)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...harness.measure.closed_form import COUNTED, projector
from .choosing import KeptTokens

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import Signals
    from ...harness.transformer import Architecture


class DivPrune(KeptTokens):
    """Keep patches whose smallest distance to each other is large, picked one after the other.

    The distance of two is one minus the cosine of what the language model would read of them. The first is the one
    whose nearest other one is farthest; each further one is the farthest from those that are picked. Where features
    repeat, the release picks a patch again; here each is picked once. The release keeps a share of 0.098, rounded: 56
    of 576.
    """

    keep: int = Field(56, ge=1)
    """How many visual tokens of each image are kept."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return the patches in the order in which they are picked, int64 [images, keep]."""
        import torch
        from torch.nn.functional import normalize

        unit = normalize(tower.projected.float(), dim=-1)
        return torch.stack([spread(1 - image @ image.T, self.keep) for image in unit])

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - all patches are compared
        """FLOPs of projecting all patches, and of their cosines."""
        projected = sum(operator.flops for operator in projector(model, model.visual_tokens, COUNTED))
        return projected + 2 * model.visual_tokens**2 * model.language.stack.hidden  # type: ignore[union-attr]


def spread(distances: torch.Tensor, count: int) -> torch.Tensor:
    """Pick places that are far from each other, by the distance to the nearest that is picked: O(count N).

    Args:
        distances: float32 [N, N], symmetric.
        count: At most N.

    Returns:
        int64 [count], each once.
    """
    import numpy as np
    import torch

    rows = distances.detach().cpu().numpy()  # each pick waits for the last, which a GPU is slow at
    apart = rows.copy()
    np.fill_diagonal(apart, np.inf)
    picked = [int(apart.min(axis=1).argmax())]
    nearest = rows[picked[0]].copy()  # of each place, the distance to what is picked
    nearest[picked[0]] = -np.inf
    while len(picked) < count:
        picked.append(int(nearest.argmax()))
        np.minimum(nearest, rows[picked[-1]], out=nearest)
        nearest[picked[-1]] = -np.inf
    return torch.tensor(picked, device=distances.device)
