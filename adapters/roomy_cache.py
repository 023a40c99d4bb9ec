"""transformers' cache of keys and values, with room for the tokens of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .installed import PlainLayer
from .room import Room

if TYPE_CHECKING:
    import torch


class RoomyLayer(PlainLayer):  # type: ignore[misc] # transformers has no types
    """A layer of transformers' cache, which it would copy whole for every token.

    Args:
        layer: What is in it at first; not copied before the next token comes.
    """

    def __init__(self, layer: PlainLayer) -> None:
        super().__init__()
        self.__dict__.update(layer.__dict__)
        self._rooms = [Room(layer.keys), Room(layer.values)]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of new tokens, [B, heads, n, d]; return all of them."""
        self.keys, self.values = (
            room.add(new) for room, new in zip(self._rooms, (key_states, value_states), strict=True)
        )
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        self._rooms = [room.rows(indices) for room in self._rooms]
        self.keys, self.values = (room.states for room in self._rooms)

    reorder_cache = batch_select_indices


def with_room(cache: Any) -> Any:
    """Return a cache of transformers whose plain layers have room; others, such as those of a window, stay."""
    for place, layer in enumerate(getattr(cache, "layers", ())):
        if type(layer) is PlainLayer and layer.get_seq_length():
            cache.layers[place] = RoomyLayer(layer)
    return cache
