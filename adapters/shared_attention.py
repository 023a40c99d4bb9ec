"""Attention of rows that begin alike: keys and values of a prefix are read where they are, once for all of its rows.

One softmax goes over a prefix and what follows it, in float32 as fused kernels do; so the result is that of attention
over both, but for rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kv_cache import KVCache


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    prefixes: Sequence[KVCache],
    place: torch.Tensor | None,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Return the output of some heads: [B, heads, n, head width].

    Args:
        query: [B, heads, n, head width], scaled.
        key: Of the tokens that follow the prefixes, [B, heads, m, head width].
        value: Likewise.
        prefixes: Of each row, one row without padding, all of which its queries see.
        place: The key head of a prefix that each head reads, int64; ``None`` where there are equally many.
        mask: Which of the keys the queries see, bool [B, 1, n, m], or what is added to their scores; ``None``: all.
    """
    rows_of: dict[KVCache, list[int]] = {}
    for row, prefix in enumerate(prefixes):
        rows_of.setdefault(prefix, []).append(row)
    mixed = torch.empty_like(query)
    for prefix, rows in rows_of.items():
        chosen = torch.tensor(rows, device=query.device)
        asked, keys, values = (part[chosen].transpose(0, 1).float() for part in (query, key, value))
        pair: Any = prefix.pair
        known = (pair[:, 0] if place is None else pair[:, 0, place]).float()
        seen = None if mask is None else mask[chosen].transpose(0, 1)
        mixed[chosen] = _after_one(asked, keys, values, known, seen).transpose(0, 1).to(mixed.dtype)
    return mixed


def _after_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, known: torch.Tensor, seen: torch.Tensor | None
) -> torch.Tensor:
    """Attention of rows, [heads, rows, n, head width], after one prefix, [2, heads, tokens, head width]."""
    heads, rows, new, _ = query.shape
    before = query.flatten(1, 2) @ known[0].transpose(1, 2)
    scores = query @ key.transpose(2, 3)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf) if seen.dtype == torch.bool else scores + seen
    shares = torch.cat([before.view(heads, rows, new, -1), scores], dim=-1).softmax(dim=-1)
    of_prefix, of_own = shares.tensor_split([before.shape[2]], dim=-1)
    mixed: torch.Tensor = (of_prefix.flatten(1, 2) @ known[1]).view(heads, rows, new, -1) + of_own @ value
    return mixed
