"""A buffer with spare capacity: a new token is written after the others, which are not copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SPARE = 64
"""Tokens of spare capacity after each reallocation."""


class GrowableBuffer:
    """Keys or values, [..., rows, heads, tokens, head width], that grow along their tokens.

    Args:
        states: Initial content; neither copied nor written to, so others may hold it too.
    """

    def __init__(self, states: torch.Tensor) -> None:
        self._whole, self._count = states, states.shape[-2]

    @property
    def states(self) -> torch.Tensor:
        """The tokens so far."""
        return self._whole[..., : self._count, :]

    @property
    def bytes(self) -> int:
        """Bytes, spare capacity included."""
        return self._whole.numel() * self._whole.element_size()

    def add(self, new: torch.Tensor) -> torch.Tensor:
        """Add tokens, [..., rows, heads, n, head width]; return all of them."""
        before, end = self.states, self._count + new.shape[-2]
        if end > self._whole.shape[-2]:
            self._whole = before.new_empty(*before.shape[:-2], end + _SPARE, before.shape[-1])
            self._whole[..., : self._count, :] = before
        self._whole[..., self._count : end, :] = new
        self._count = end
        return self.states

    def rows(self, chosen: torch.Tensor) -> GrowableBuffer:
        """Return some rows, int64 or bool, as a new buffer."""
        other = GrowableBuffer(self._whole[..., chosen, :, :, :])
        other._count = self._count
        return other
