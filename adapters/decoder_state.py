"""What a decoder carries from block to block, and what it keeps of each: tokens, hidden states, keys and values."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import torch

from ..harness.errors import UserError
from ..harness.measure.execution import Execution, LayerWork
from .decoder_blocks import WHOLE, Block, Gates, Keys

Plan: TypeAlias = Mapping[int, Block]
"""What runs for one row of a batch, by block; a block that is not named runs whole."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """Which tokens stand in the rows of a batch. Never changed; compared by identity.

    Attributes:
        real: bool [B, n]; where false there is only padding. The last token of every row is real.
        positions: int64 [B, n], ascending in a row; with gaps where tokens were dropped.
        visual: bool [B, n]; tokens that came from an image.
        gaps: Padding that stands between real tokens of a row, at most.
        forgotten: int64 [B], real tokens that stood before and left a sliding window; ``None`` is none.
    """

    real: torch.Tensor
    positions: torch.Tensor
    visual: torch.Tensor
    gaps: int = 0
    forgotten: torch.Tensor | None = None

    @classmethod
    def following(cls, before: Tokens | None, real: torch.Tensor, visual: torch.Tensor) -> Tokens:
        """New tokens whose positions go on after the last one of ``before``, or start at 0."""
        start = -1 if before is None else before.positions[:, -1:]
        return cls(real, (real.cumsum(dim=1) + start).clamp(min=0), visual)

    @property
    def count(self) -> int:
        """Tokens of a row, with its padding."""
        return self.real.shape[1]

    @functools.cached_property
    def padded(self) -> bool:
        """Whether there is any padding."""
        return not bool(self.real.all())

    def joined(self, new: Tokens) -> Tokens:
        """These and then ``new``."""
        gaps = int((~new.real).sum(dim=1).max()) if new.padded else 0
        real, positions, visual = (
            torch.cat([getattr(self, name), getattr(new, name)], dim=1) for name in ("real", "positions", "visual")
        )
        return Tokens(real, positions, visual, self.gaps + gaps, self.forgotten)

    @property
    def read(self) -> torch.Tensor:
        """Real tokens of each row, those that were forgotten included, int64 [B]."""
        count = self.real.sum(dim=1)
        return count if self.forgotten is None else count + self.forgotten

    def latest(self, count: int) -> Tokens:
        """The last ``count``."""
        left = self._each(lambda part: part[:, -count:])
        return dataclasses.replace(left, forgotten=self.read - left.real.sum(dim=1))

    def rows(self, index: torch.Tensor) -> Tokens:
        """Some rows."""
        forgotten = None if self.forgotten is None else self.forgotten[index]
        return dataclasses.replace(self._each(lambda part: part[index]), forgotten=forgotten)

    def next(self, count: int = 1) -> Tokens:
        """The ``count`` tokens after the last, each one position further."""
        positions = self.positions[:, -1:] + torch.arange(1, count + 1, device=self.positions.device)
        return Tokens(torch.ones_like(positions, dtype=torch.bool), positions, torch.zeros_like(positions).bool())

    def padded_to(self, count: int) -> Tokens:
        """The same with padding before, up to ``count`` tokens."""
        return self._each(lambda part: pad(part, count, 1))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Tokens:
        return Tokens(change(self.real), change(self.positions), change(self.visual), self.gaps, self.forgotten)


def _no_attention() -> torch.Tensor:
    raise UserError("no block has run yet", todo="read attention after a block")


@dataclass(frozen=True, eq=False)
class State:
    """What stands between two blocks.

    Attributes:
        hidden: [B, n, d].
        tokens: Which tokens these are.
        plans: Of each row, what runs of the blocks that are still to come.
        gates: Block -> factors for its parts, for training; empty at inference.
        attention: Returns the attention of the last token to each of ``tokens`` in the block that ran just before:
            probabilities float32 [B, heads, n], zero at padding. Only that row is computed. The block must have run
            whole in every row, and must not have forgotten tokens that left its sliding window.
    """

    hidden: torch.Tensor
    tokens: Tokens
    plans: tuple[Plan, ...]
    gates: Mapping[int, Gates] = field(default_factory=dict)
    attention: Callable[[], torch.Tensor] = _no_attention

    def keep(self, kept: torch.Tensor) -> State:
        """Drop tokens. The others stay in order and keep their positions.

        Args:
            kept: bool [B, n]. Rows may keep different numbers; the last token of every row must stay.
        """
        kept = kept & self.tokens.real
        if not bool(kept[:, -1].all()):
            raise UserError("a method drops the last token of a prompt", todo="keep it: the answer starts there")
        longest = int(kept.sum(dim=1).max())
        order = kept.to(torch.uint8).argsort(dim=1, stable=True)[:, -longest:]
        real, positions = kept.gather(1, order), self.tokens.positions.gather(1, order)
        tokens = Tokens(real, positions, self.tokens.visual.gather(1, order))
        hidden = self.hidden.gather(1, order[..., None].expand(-1, -1, self.hidden.shape[-1]))
        return dataclasses.replace(self, hidden=hidden, tokens=tokens, attention=_no_attention)

    def compacted(self) -> State:
        """The same tokens at positions without gaps."""
        tokens = Tokens.following(None, self.tokens.real, self.tokens.visual)
        return dataclasses.replace(self, tokens=tokens)

    def planned(self, plans: Sequence[Plan]) -> State:
        """Add to each row's plan; a block that is named again is replaced."""
        merged = tuple({**old, **new} for old, new in zip(self.plans, plans, strict=True))
        return dataclasses.replace(self, plans=merged)


class Cache:
    """Keys and values of a batch, block by block and, within a block, of the rows that run the same part of it.

    Attributes:
        plans: Of each row.
        kept: Block index -> part of the block -> its rows' keys and values, and which tokens they belong to. A part
            without attention, and a skipped block, have none.
        given: The tokens of the prompts that each block was given in the prefill, whether or not it ran.
    """

    def __init__(self, depth: int, plans: Sequence[Plan]) -> None:
        self.plans = tuple(plans)
        self.kept: list[dict[Block, tuple[Keys, Tokens | None]]] = [{} for _ in range(depth)]
        self.given: list[Tokens] = []

    def parts(self, index: int) -> list[tuple[Block, list[int]]]:
        """What runs of a block, and in which rows, ascending."""
        parts: dict[Block, list[int]] = {}
        for row, plan in enumerate(self.plans):
            parts.setdefault(plan.get(index, WHOLE), []).append(row)
        return list(parts.items())

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all other rows.

        Args:
            rows: Ascending.
        """
        wanted = set(rows)
        for index, kept in enumerate(self.kept):
            for block, before in self.parts(index):
                if block not in kept:
                    continue
                places = [place for place, row in enumerate(before) if row in wanted]
                if not places:
                    del kept[block]
                    continue
                keys, tokens = kept[block]
                chosen = torch.tensor(places, device=keys.keys.device if keys.keys is not None else None)
                smaller = Keys(keys.most)
                if keys.keys is not None and keys.values is not None:
                    smaller.keys, smaller.values = keys.keys[chosen], keys.values[chosen]
                kept[block] = (smaller, tokens and tokens.rows(chosen))
        self.plans = tuple(self.plans[row] for row in rows)

    def work(self, row: int, *, heads: int, channels: int) -> Execution:
        """What has run for a row, as the cost engine takes it; asked right after the prefill.

        Args:
            row: Of the batch.
            heads: Query heads of a whole block.
            channels: MLP channels of a whole block.
        """
        layers = []
        for index, given in enumerate(self.given):
            block = self.plans[row].get(index, WHOLE)
            if block.skipped:
                continue
            open_heads = heads if block.heads is None else len(block.heads)
            open_channels = channels if block.channels is None else sum(map(len, block.channels))
            layers.append(LayerWork(index, int(given.read[row]), open_heads, Fraction(open_channels, channels)))
        return Execution(tuple(layers))

    def whole(self, row: int, *, heads: int, added: int) -> Execution:
        """What would have run for a row with every switch on, and without the tokens added after its prompt.

        Args:
            row: Of the batch.
            heads: As in `work`.
            added: Number of those tokens.
        """
        return Execution(
            tuple(LayerWork(index, int(given.read[row]) - added, heads) for index, given in enumerate(self.given))
        )


@dataclass(frozen=True, eq=False)
class Context:
    """Tokens that have run through the blocks below ``depth``, so that others can follow them, or share them.

    Attributes:
        depth: Blocks that have run.
        cache: Their keys and values.
        state: What the next block will be given, of all tokens.
    """

    depth: int
    cache: Cache
    state: State

    @property
    def bytes(self) -> int:
        """Bytes of keys, values and hidden states."""
        pairs = [keys for kept in self.cache.kept for keys, _ in kept.values()]
        tensors = [tensor for pair in pairs for tensor in (pair.keys, pair.values) if tensor is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in [self.state.hidden, *tensors])

    def copy(self) -> Context:
        """The same tokens, so that both can be used up; they share tensors, as nothing changes those in place."""
        cache = Cache(len(self.cache.kept), self.cache.plans)
        for kept, own in zip(self.cache.kept, cache.kept, strict=True):
            own.update({block: (copy.copy(keys), tokens) for block, (keys, tokens) in kept.items()})
        return dataclasses.replace(self, cache=cache)

    @staticmethod
    def batch(contexts: Sequence[Context]) -> Context:
        """Stack contexts of equal depth into one batch; shorter ones are padded on the left.

        The same context may stand in several places: this is how a beginning is shared. None of them is changed.
        """
        first, states = contexts[0], [context.state for context in contexts]
        count = max(state.tokens.count for state in states)
        cache = Cache(len(first.cache.kept), [plan for state in states for plan in state.plans])
        known: dict[tuple[Tokens | None, ...], Tokens] = {}  # blocks with the same tokens have the same mask
        for index in range(first.depth):
            pairs = [context.cache.kept[index][WHOLE] for context in contexts]
            length = max(tokens.count for _, tokens in pairs if tokens is not None)
            keys = Keys(pairs[0][0].most)
            keys.keys = torch.cat([pad(pair.keys, length, 2) for pair, _ in pairs if pair.keys is not None])
            keys.values = torch.cat([pad(pair.values, length, 2) for pair, _ in pairs if pair.values is not None])
            group = tuple(tokens for _, tokens in pairs)
            if group not in known:
                known[group] = _stack([tokens for tokens in group if tokens is not None], length)
            cache.kept[index][WHOLE] = (keys, known[group])
        hidden = torch.cat([pad(state.hidden, count, 1) for state in states])
        tokens = _stack([state.tokens for state in states], count)
        return Context(first.depth, cache, State(hidden, tokens, cache.plans))


def _stack(parts: Sequence[Tokens], count: int) -> Tokens:
    padded = [part.padded_to(count) for part in parts]
    real, positions, visual = (
        torch.cat([getattr(part, name) for part in padded]) for name in ("real", "positions", "visual")
    )
    forgotten = torch.cat([part.read - part.real.sum(dim=1) for part in parts])
    return Tokens(real, positions, visual, max(part.gaps for part in parts), forgotten)


def pad(tensor: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """Put zeros before a tensor, along a dimension, up to a length."""
    missing = count - tensor.shape[dim]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim)


class Row(NamedTuple):
    """A piece of a prompt, embedded: [n, d], and which of its tokens are visual, bool [n]."""

    embeddings: torch.Tensor
    visual: torch.Tensor


def padded(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return embeddings [B, n, d], which tokens are real and which are visual, bool [B, n]; padded on the left."""
    count = max(len(row.visual) for row in rows)
    embeddings = torch.stack([pad(row.embeddings, count, 0) for row in rows])
    real = torch.stack([pad(torch.ones_like(row.visual), count, 0) for row in rows])
    return embeddings, real, torch.stack([pad(row.visual, count, 0) for row in rows])
