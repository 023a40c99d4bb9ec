"""Clusters by density peaks of the k nearest: centres are dense and far from what is denser (Du et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choosing import highest

if TYPE_CHECKING:
    import torch


def clusters(tokens: torch.Tensor, count: int) -> torch.Tensor:
    """Return which cluster each token belongs to, int64 [n]; of equal tokens the first counts as the denser one.

    A token's density falls with its mean squared distance to the ``count`` nearest, itself among them. Centres are
    those whose density, times the distance to the nearest denser token, is highest; for the densest one that is the
    largest distance of all. Other tokens go to the nearest centre.

    Args:
        tokens: float32 [n, width].
        count: How many clusters, at most n.
    """
    import torch

    # Without matrix products, which would put distances of equal tokens a little above 0.
    distances = torch.cdist(tokens, tokens, compute_mode="donot_use_mm_for_euclid_dist") / tokens.shape[1] ** 0.5
    density = (-distances.sort(dim=1).values[:, :count].square().mean(dim=1)).exp()
    order = torch.arange(len(tokens), device=tokens.device)
    denser = (density > density[:, None]) | ((density == density[:, None]) & (order < order[:, None]))
    apart = distances.masked_fill(~denser, torch.inf).amin(dim=1)
    apart = torch.where(apart.isinf(), distances.max(), apart)
    centres = highest(density * apart, count)
    found: torch.Tensor = distances[:, centres].argmin(dim=1)
    found[centres] = order[:count]
    return found


def means(tokens: torch.Tensor, count: int) -> torch.Tensor:
    """Return the mean of each of ``count`` clusters of tokens [n, width]: float32 [count, width]."""
    import torch

    found = clusters(tokens.float(), count)
    sums = torch.zeros(count, tokens.shape[1], device=tokens.device).index_add_(0, found, tokens.float())
    return sums / torch.bincount(found, minlength=count)[:, None]
