"""Pieces of prompts as the decoder is given them: embedded, with what else it must know of each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from .kv_cache import pad

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(NamedTuple):
    """A piece of a prompt, embedded.

    Attributes:
        embeddings: [n, d].
        visual: Which of its tokens are visual, bool [n].
        positions: int64 [n, axes], where they are not in a line.
        deep: What is added to its tokens after each of the first L blocks, [n, L, d]; ``None`` for nothing (DeepStack,
            Meng et al. 2024, arXiv 2406.04334).
    """

    embeddings: torch.Tensor
    visual: torch.Tensor
    positions: torch.Tensor | None = None
    deep: torch.Tensor | None = None


class Padded(NamedTuple):
    """Pieces of prompts, padded on the left.

    Attributes:
        embeddings: [B, n, d].
        real: Which tokens are not padding, bool [B, n].
        visual: Which come from an image, bool [B, n].
        positions: int64 [B, n, axes]; ``None`` if they go on in a line.
        deep: [B, n, L, d], as of a row; ``None`` for nothing.
    """

    embeddings: torch.Tensor
    real: torch.Tensor
    visual: torch.Tensor
    positions: torch.Tensor | None
    deep: torch.Tensor | None


def padded(rows: Sequence[Row]) -> Padded:
    """Put pieces of prompts into one batch."""
    count = max(len(row.visual) for row in rows)
    embeddings = torch.stack([pad(row.embeddings, count, 0) for row in rows])
    real = torch.stack([pad(torch.ones_like(row.visual), count, 0) for row in rows])
    visual = torch.stack([pad(row.visual, count, 0) for row in rows])
    placed = [pad(row.positions, count, 0) for row in rows if row.positions is not None]
    deep = joined([(None if row.deep is None else pad(row.deep, count, 0)[None], 1) for row in rows], 0)
    return Padded(embeddings, real, visual, torch.stack(placed) if placed else None, deep)


def joined(parts: Sequence[tuple[torch.Tensor | None, int]], axis: int) -> torch.Tensor | None:
    """Join what is added to tokens; zero for those to which nothing is, ``None`` if that is all of them.

    Args:
        parts: What is added, and how many it is of on the axis.
        axis: On which they are joined.
    """
    known = next((part for part, _ in parts if part is not None), None)
    if known is None:
        return None
    before, after = known.shape[:axis], known.shape[axis + 1 :]
    every = [known.new_zeros(*before, count, *after) if part is None else part for part, count in parts]
    return torch.cat(every, dim=axis)


def deepened(hidden: torch.Tensor, deep: torch.Tensor | None, index: int) -> torch.Tensor:
    """Return what a block passes on: its output [B, m, d] of the last m tokens, and what is added to them.

    Args:
        hidden: The output.
        deep: [B, n, L, d], as of a row.
        index: The block.
    """
    if deep is None or index >= deep.shape[2]:
        return hidden
    return hidden + deep[:, -hidden.shape[1] :, index]
