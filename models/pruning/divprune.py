"""DivPrune: visual tokens that are as far from each other as can be (Alvar et al., CVPR 2025, arXiv 2503.02175)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from .choosing import KeptTokens

if TYPE_CHECKING:
    import torch

    from ...adapters.tower_signals import TowerSignals


class DivPrune(KeptTokens):
    """Keep patches whose smallest distance to each other is large, picked one after the other.

    The distance of two is one minus the cosine of what the language model would read of them. The first is the one
    whose nearest other one is farthest; each further one is the farthest from those that are picked. Where features
    repeat, the release picks a patch again; here each is picked once. The release keeps a share of 0.098, rounded: 56
    of 576.
    """

    keep: int = Field(56, ge=1)
    """How many visual tokens of each image are kept."""

    def choose(self, tower: TowerSignals) -> torch.Tensor:
        """Return the patches in the order in which they are picked, int64 [images, keep]."""
        import torch
        from torch.nn.functional import normalize

        unit = normalize(tower.projected.float(), dim=-1)
        return torch.stack([spread(1 - image @ image.T, self.keep) for image in unit])


def spread(distances: torch.Tensor, count: int) -> torch.Tensor:
    """Pick places that are far from each other, by the distance to the nearest that is picked: O(count N).

    Args:
        distances: [N, N], symmetric.
        count: At most N.

    Returns:
        int64 [count], each once.
    """
    import torch

    distances = distances.detach()
    picked = torch.empty(count, dtype=torch.int64, device=distances.device)
    apart = distances.clone().fill_diagonal_(torch.inf)
    picked[0] = apart.amin(dim=1).argmax()
    nearest = apart[picked[0]].clone()  # of each place, the distance to what is picked
    nearest[picked[0]] = -torch.inf
    for place in range(1, count):
        picked[place] = nearest.argmax()
        torch.minimum(nearest, distances[picked[place]], out=nearest)
        nearest[picked[place]] = -torch.inf
    return picked
