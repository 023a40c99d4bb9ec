"""A cache of keys and values whose rows share a prefix: it is kept once, and read once a step.

In transformers' own cache each row would hold the prefix, and each step of decoding would read it once a row, and
copy all of it to append one token: with long demonstrations, that is most of what a step does. Here a layer
holds the prefix as one row and each row's own tokens beside it, in a growable buffer. The two meet in
`_attend`, which the model calls as its implementation of attention, so that its own modules need not know.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface

from .growable_buffer import GrowableBuffer
from .installed import PlainLayer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Pair = tuple[torch.Tensor, torch.Tensor]
    """Keys and values, each [rows, heads, tokens, head width]."""

ATTENTION = "sdpa_with_shared_prefix"
"""The implementation of attention that reads these caches; any other cache it reads as ``sdpa`` does."""
_PREFIX = "_shared_prefix"
"""The attribute by which a layer's own keys lead to the prefix: all that attention is given is tensors."""


class PrefixBatch(NamedTuple):
    """Rows that a model has read, to continue from.

    Attributes:
        cache: The library's KV cache.
        mask: Of all tokens in it, [B, n]; 0 at padding.
    """

    cache: Any
    mask: torch.Tensor

    def behind(self, rows: Sequence[list[int]]) -> PrefixBatch:
        """Mask the padding of `right_padded` rows, so that the tokens read next do not attend to it."""
        ends = torch.tensor([[len(row)] for row in rows], device=self.mask.device)
        real = torch.arange(max(map(len, rows)), device=self.mask.device) < ends
        return PrefixBatch(self.cache, torch.cat([self.mask[:, : -real.shape[1]], real.long()], dim=1))


class PrefixLayer(PlainLayer):  # type: ignore[misc] # transformers has no types
    """One layer's keys and values.

    Args:
        layer: Whose place it takes.
        prefix: Of the prefix that all rows share, in one row; ``None`` if they share none.
        own: Of each row's own tokens so far; not copied before the next token comes.
    """

    def __init__(self, layer: Any, prefix: Pair | None, own: Pair) -> None:
        super().__init__()
        self.__dict__.update(layer.__dict__)
        self.prefix = prefix
        self._buffers = [GrowableBuffer(states) for states in own]
        self._show()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Pair:
        """Add keys and values of new tokens, [rows, heads, n, head width]; return what attention is given."""
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer.add(new)
        self._show()
        return _pair(self)

    def get_seq_length(self) -> int:
        """Return the tokens of a row, the prefix's included."""
        count: int = self.keys.shape[-2] + (0 if self.prefix is None else self.prefix[0].shape[-2])
        return count

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        self._buffers = [buffer.rows(indices) for buffer in self._buffers]
        self._show()

    reorder_cache = batch_select_indices

    def _show(self) -> None:
        self.keys, self.values = (buffer.states for buffer in self._buffers)
        setattr(self.keys, _PREFIX, self.prefix)


def cropped(past: PrefixBatch, tokens: int) -> PrefixBatch:
    """Return the first tokens of one row that has been read; it stays as it is."""

    def crop(layer: Any) -> Any:
        keys, values = _pair(layer)
        return PrefixLayer(layer, None, (keys[..., :tokens, :], values[..., :tokens, :]))

    return PrefixBatch(_with_layers(past.cache, map(crop, past.cache.layers)), past.mask[:, :tokens])


def forked(past: PrefixBatch, rows: int, *, apart: bool) -> PrefixBatch:
    """Return rows that all begin with one row that has been read; it stays as it is.

    Args:
        past: Of one row.
        rows: How many.
        apart: Keep the prefix apart, for a model whose attention is `ATTENTION`.
    """

    def fork(layer: Any) -> Any:
        keys, values = _pair(layer)
        if not apart:
            return PrefixLayer(layer, None, (keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)))
        nothing = [states.new_empty(rows, states.shape[1], 0, states.shape[3]) for states in (keys, values)]
        return PrefixLayer(layer, (keys, values), (nothing[0], nothing[1]))

    return PrefixBatch(_with_layers(past.cache, map(fork, past.cache.layers)), past.mask.expand(rows, -1))


def joined(past: Sequence[PrefixBatch]) -> PrefixBatch:
    """Return the rows of several batches, used up, as one growable batch; shorter rows are padded at the end.

    Args:
        past: Of one model: all plain, or all forked from the same row.
    """

    def join(layers: Sequence[Any]) -> Any:
        keys, values = (_stacked(states, 2) for states in zip(*map(_pair, layers), strict=True))
        return PrefixLayer(layers[0], getattr(layers[0], "prefix", None), (keys, values))

    layers = zip(*(one.cache.layers for one in past), strict=True)
    return PrefixBatch(_with_layers(past[0].cache, map(join, layers)), _stacked([one.mask for one in past], 1))


def growable(cache: Any) -> Any:
    """Return a cache whose plain layers grow in place; others, such as sliding-window layers, stay as they are."""

    def grow(layer: Any) -> Any:
        plain = type(layer) is PlainLayer and layer.get_seq_length()
        return PrefixLayer(layer, None, _pair(layer)) if plain else layer

    return _with_layers(cache, map(grow, cache.layers)) if hasattr(cache, "layers") else cache


def size(past: PrefixBatch) -> int:
    """Return the bytes of the keys and values of what has been read."""
    return sum(states.numel() * states.element_size() for layer in past.cache.layers for states in _pair(layer))


def _pair(layer: Any) -> Pair:
    return layer.keys, layer.values


def _with_layers(cache: Any, layers: Iterable[Any]) -> Any:
    other = copy.copy(cache)
    other.layers = list(layers)
    return other


def _stacked(parts: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Stack rows of several batches, with zeros where the shorter ones end along a dimension."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.shape[dim] for part in parts)
    return torch.cat([pad(part, (0, 0) * (part.ndim - dim - 1) + (0, longest - part.shape[dim])) for part in parts])


def _attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it: heads [rows, heads, n, width] in, [rows, n, heads, width] out."""
    prefix = getattr(key, _PREFIX, None)
    if prefix is not None and query.shape[2] > 1:  # once a prompt: the kernel that is there, on all keys and values
        rows = len(query)
        key, value = (
            torch.cat([shared.expand(rows, -1, -1, -1), own], dim=2)
            for shared, own in zip(prefix, (key, value), strict=True)
        )
        prefix = None
    # The library would copy keys that several heads share for each of them, once a token.
    if prefix is None and (query.shape[2] > 1 or query.shape[1] == key.shape[1]):
        found: tuple[torch.Tensor, None] = _SDPA(module, query, key, value, attention_mask, **options)
        return found
    return _attend_once(query, prefix, (key, value), attention_mask, options.get("scaling")), None


def _attend_once(
    query: torch.Tensor, prefix: Pair | None, own: Pair, mask: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    """Attention of one token per row: to the prefix in one product for all rows, to each row's own tokens apart."""
    rows, heads, _, width = query.shape
    groups, length = own[0].shape[1], 0 if prefix is None else prefix[0].shape[2]
    query = (query * (width**-0.5 if scaling is None else scaling)).view(rows, groups, -1, width)
    scores = query @ own[0].transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask[..., length:], -torch.inf)
    if prefix is not None:
        every = query.transpose(0, 1).reshape(groups, -1, width)
        to_prefix = (every @ prefix[0][0].transpose(1, 2)).view(groups, rows, -1, length).transpose(0, 1)
        scores = torch.cat([to_prefix, scores], dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    said = weights[..., length:] @ own[1]
    if prefix is not None:
        of_prefix = weights[..., :length].transpose(0, 1).reshape(groups, -1, length) @ prefix[1][0]
        said = said + of_prefix.view(groups, rows, -1, of_prefix.shape[-1]).transpose(0, 1)
    return said.reshape(rows, 1, heads, -1)


_SDPA = AttentionInterface()["sdpa"]
AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, AttentionMaskInterface()["sdpa"])
