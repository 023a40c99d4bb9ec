"""Keys and values of one block of a decoder, and what attention reaches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .room import Room

if TYPE_CHECKING:
    from collections.abc import Sequence


class Keys:
    """Keys and values of some rows of a batch in one block. Those of shared beginnings are stacked when they are read.

    Args:
        most: Tokens that are kept, the latest; ``None`` is all. A sliding window never looks back further.
        begun: What stands before, row by row; the same one may stand in several places. None of them is changed.
    """

    def __init__(self, most: int | None = None, begun: Sequence[Keys] = ()) -> None:
        self.most = most
        self._begun = tuple(begun)
        self._own: Room | None = None
        """What comes after those, [2, rows, key heads, tokens, head width]."""

    @property
    def pair(self) -> torch.Tensor | None:
        """Keys, rotated, and values: [2, rows, key heads, tokens, head width]; ``None`` before the first."""
        pieces = self._pieces()
        return _joined(pieces) if pieces else None

    @property
    def bytes(self) -> int:
        """Bytes that are kept, each beginning once."""
        own = 0 if self._own is None else self._own.bytes
        return own + sum(keys.bytes for keys in dict.fromkeys(self._begun))

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append what is new and return all; transformers' attention calls this as its cache."""
        new, some = torch.stack([keys, values]), bool(self._begun) or self._own is not None
        if some and self.most is None and keys.shape[2] == 1 and not torch.is_grad_enabled():
            if self._own is None or self._begun:
                self._own, self._begun = Room(_joined(self._pieces())), ()
            whole = self._own.add(new)
            return whole[0], whole[1]
        pieces = [*self._pieces(), new]
        whole = _joined(pieces)
        if self.most is not None:
            self._begun = ()
            self._own = Room(whole[..., max(0, whole.shape[3] - self.most) :, :])
        else:
            self._own = Room(_joined(pieces[1:]) if self._begun else whole)
        return whole[0], whole[1]

    def copy(self) -> Keys:
        """The same, so that both can be added to; they share tensors, and neither sees what is added to the other."""
        return self._with(self._own and Room(self._own.states), self._begun)

    def rows(self, chosen: torch.Tensor) -> Keys:
        """Some rows."""
        if self._own is not None and not self._begun:
            return self._with(self._own.rows(chosen))
        return self._with(None if self.pair is None else Room(self.pair[:, chosen]))

    def _with(self, own: Room | None, begun: Sequence[Keys] = ()) -> Keys:
        other = Keys(self.most, begun)
        other._own = own
        return other

    def _pieces(self) -> list[torch.Tensor]:
        pieces = [pair for keys in self._begun if (pair := keys.pair) is not None]
        if pieces:
            longest = max(piece.shape[3] for piece in pieces)
            pieces = [torch.cat([pad(piece, longest, 3) for piece in pieces], dim=1)]
        return pieces if self._own is None else [*pieces, self._own.states]


class Turned(NamedTuple):
    """Rotary embedding of the new tokens: cosines and sines [B, n, rotated width]."""

    cos: torch.Tensor
    sin: torch.Tensor


class Reach(NamedTuple):
    """What attention reaches: the keys and values so far, which of them each new token sees, and where those stand.

    Attributes:
        keys: The new tokens are added.
        mask: [B, 1, new, all] as the attention implementation wants it.
        turned: For the new tokens.
    """

    keys: Keys
    mask: torch.Tensor | None
    turned: Turned


def pad(tensor: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """Put zeros before a tensor, along a dimension, up to a length."""
    missing = count - tensor.shape[dim]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim)


def _joined(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Keys and values of some tokens and those of the tokens after them."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim=3)
