"""Keys and values that have room to grow: a new token is written beside them, and what was there is not copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    import torch

_ROOM = 64
"""Tokens that there is room for when keys and values have been copied."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc] # transformers has no types
    """A layer of transformers' cache, which it would copy whole for every token.

    Args:
        layer: What is in it at first; not copied before the next token comes.
    """

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.__dict__.update(layer.__dict__)
        self._rooms: list[torch.Tensor] = [self.keys, self.values]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of new tokens, [B, heads, n, d]; return all of them."""
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if end > self._rooms[0].shape[-2]:
            self._rooms = [_copied(kept, end + _ROOM) for kept in (self.keys, self.values)]
        for room, new in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, length:end] = new
        return self._shown(end)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        length = self.get_seq_length()
        self._rooms = [room.repeat_interleave(repeats, dim=0) for room in self._rooms]
        self._shown(length)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        length = self.get_seq_length()
        self._rooms = [room[indices] for room in self._rooms]
        self._shown(length)

    def _shown(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (room[:, :, :length] for room in self._rooms)
        return self.keys, self.values


def with_room(cache: Any) -> Any:
    """Return a cache of transformers whose plain layers have room; others, such as those of a window, stay."""
    for place, layer in enumerate(getattr(cache, "layers", ())):
        if type(layer) is DynamicLayer and layer.get_seq_length():
            cache.layers[place] = RoomyLayer(layer)
    return cache


def _copied(states: torch.Tensor, length: int) -> torch.Tensor:
    room = states.new_empty(*states.shape[:2], length, states.shape[3])
    room[:, :, : states.shape[2]] = states
    return room
