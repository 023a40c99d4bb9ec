"""The KV cache of one block of a decoder, and what its attention needs besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .growable_buffer import GrowableBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence


class KVCache:
    """Keys and values of some rows of a batch in one block; those of shared prefixes stay where they are.

    Args:
        most: Tokens that are kept, the latest; ``None`` is all. A sliding window never looks back further.
        prefixes: What comes before, row by row; rows may share one. None of them is changed.
    """

    def __init__(self, most: int | None = None, prefixes: Sequence[KVCache] = ()) -> None:
        self.most = most
        self._prefixes = tuple(prefixes)
        self._own: GrowableBuffer | None = None
        """What comes after those, [2, rows, key heads, tokens, head width]."""

    @property
    def shared(self) -> tuple[KVCache, ...]:
        """The prefix of each row, which attention reads without a copy; none in a sliding window, which moves past."""
        return () if self.most is not None else self._prefixes

    @property
    def pair(self) -> torch.Tensor | None:
        """Keys, rotated, and values: [2, rows, key heads, tokens, head width]; ``None`` before the first."""
        pieces = [pair for cache in self._prefixes if (pair := cache.pair) is not None]
        if pieces:
            longest = max(piece.shape[3] for piece in pieces)
            pieces = [torch.cat([pad(piece, longest, 3) for piece in pieces], dim=1)]
        if self._own is not None:
            pieces.append(self._own.states)
        return _joined(pieces) if pieces else None

    @property
    def bytes(self) -> int:
        """Bytes that are kept, each prefix once."""
        own = 0 if self._own is None else self._own.bytes
        return own + sum(cache.bytes for cache in dict.fromkeys(self._prefixes))

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append what is new and return all that is not `shared`; transformers' attention calls this as its cache."""
        if self._prefixes and not self.shared:
            whole = self.pair
            self._own, self._prefixes = None if whole is None else GrowableBuffer(whole), ()
        own = self._append(torch.stack([keys, values]))
        return own[0], own[1]

    def _append(self, new: torch.Tensor) -> torch.Tensor:
        # One token in decoding is written in place. A prefill is stored once anyway; gradients forbid writing in place;
        # and a sliding window forgets its oldest tokens, so its tensors are built anew.
        if self._own is not None and self.most is None and new.shape[3] == 1 and not torch.is_grad_enabled():
            return self._own.add(new)
        whole = new if self._own is None else _joined([self._own.states, new])
        self._own = GrowableBuffer(whole if self.most is None else whole[..., max(0, whole.shape[3] - self.most) :, :])
        return whole

    def copy(self) -> KVCache:
        """The same, so that both can be added to; they share tensors, and neither sees what is added to the other."""
        return self._with(self._own and GrowableBuffer(self._own.states), self._prefixes)

    def rows(self, chosen: torch.Tensor) -> KVCache:
        """Some rows, int64."""
        prefixes = [self._prefixes[row] for row in chosen.tolist()] if self._prefixes else ()
        return self._with(self._own and self._own.rows(chosen), prefixes)

    def _with(self, own: GrowableBuffer | None, prefixes: Sequence[KVCache]) -> KVCache:
        other = KVCache(self.most, prefixes)
        other._own = own
        return other


class RotaryEmbedding(NamedTuple):
    """Rotary embedding of the new tokens: cosines and sines [B, n, rotated width]."""

    cos: torch.Tensor
    sin: torch.Tensor

    def latest(self, count: int) -> RotaryEmbedding:
        """Of the last ``count`` tokens."""
        return RotaryEmbedding(self.cos[:, -count:], self.sin[:, -count:])


class AttentionContext(NamedTuple):
    """What attention needs besides hidden states: the KV cache, a mask, and the rotary embedding of the new tokens.

    Attributes:
        kv_cache: Of the tokens so far; attention adds the new ones.
        mask: [B, 1, new, all] as the attention implementation wants it.
        rotary: Of the new tokens.
        only_last: Whether only the last of them attends, and the output of the block is its alone: [B, 1, d].
    """

    kv_cache: KVCache
    mask: torch.Tensor | None
    rotary: RotaryEmbedding
    only_last: bool = False

    @property
    def usual(self) -> bool:
        """Whether transformers' own attention reads all that it needs here, and says no more than is needed."""
        return not (self.only_last or self.kv_cache.shared)


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
