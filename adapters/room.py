"""Room for tokens to come: a new token is written beside those that are there, and they are not copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SPARE = 64
"""Tokens that there is room for when those before have been copied."""


class Room:
    """Keys or values of some tokens, [..., rows, heads, tokens, head width], that grow by their tokens.

    Args:
        states: What is in it at first; neither copied nor written to, so that others may hold it, too.
    """

    def __init__(self, states: torch.Tensor) -> None:
        self._whole, self._count = states, states.shape[-2]

    @property
    def states(self) -> torch.Tensor:
        """What is in it."""
        return self._whole[..., : self._count, :]

    @property
    def bytes(self) -> int:
        """Bytes of what is in it and of the room beside."""
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

    def rows(self, chosen: torch.Tensor) -> Room:
        """Some rows, int64 or bool, in a room of their own."""
        other = Room(self._whole[..., chosen, :, :, :])
        other._count = self._count
        return other
