"""What a decoder carries from block to block, and what it keeps of each: tokens, hidden states, keys and values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, TypeAlias

import torch

from ..harness.errors import UserError
from ..harness.execution import Execution, LayerWork
from .decoder_blocks import WHOLE, Block, Gates
from .kv_cache import KVCache, pad
from .prompt_rows import Row, joined, padded

Plan: TypeAlias = Mapping[int, Block]
"""What runs for one row of a batch, by block; a block that is not named runs whole."""

Kept: TypeAlias = "dict[Block, tuple[KVCache, Tokens]]"
"""Part of a block -> keys and values of the rows that run it, and which tokens they belong to."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of the rows of a batch. Immutable; compared by identity.

    Attributes:
        real: bool [B, n]; where false there is only padding. The last token of every row is real.
        positions: int64 [B, n], ascending in a row; with gaps where tokens were dropped. [B, n, 3] where each token has
            a time, a row and a column (M-RoPE; Qwen2-VL, section 2.1).
        visual: bool [B, n]; tokens that came from an image.
        gaps: Maximum padding between real tokens of a row.
        forgotten: int64 [B], real tokens that have left a sliding window; ``None`` if none did.
    """

    real: torch.Tensor
    positions: torch.Tensor
    visual: torch.Tensor
    gaps: int = 0
    forgotten: torch.Tensor | None = None

    @classmethod
    def following(cls, before: Tokens | None, real: torch.Tensor, visual: torch.Tensor, axes: int = 1) -> Tokens:
        """New tokens whose positions go on after the last one of ``before``, or start at 0 on each axis."""
        count = real.cumsum(dim=1)
        if axes == 1:
            return cls(real, (count + (-1 if before is None else before.positions[:, -1:])).clamp(min=0), visual)
        last = -1 if before is None else before.positions[:, -1:].amax(dim=2)
        return cls(real, (count + last).clamp(min=0)[..., None].expand(-1, -1, axes), visual)

    @property
    def axes(self) -> int:
        """Numbers of a position."""
        return 1 if self.positions.ndim == 2 else self.positions.shape[2]

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
        new = torch.ones(len(self.real), count, dtype=torch.bool, device=self.real.device)
        return Tokens.following(self, new, torch.zeros_like(new), self.axes)

    def padded_to(self, count: int) -> Tokens:
        """The same with padding before, up to ``count`` tokens."""
        return self._each(lambda part: pad(part, count, 1))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Tokens:
        return Tokens(change(self.real), change(self.positions), change(self.visual), self.gaps, self.forgotten)


class Reading(Protocol):
    """What can be read of the block that ran just before.

    The block must have run whole in every row, and must not have forgotten tokens that left its sliding window.
    """

    def __call__(self) -> torch.Tensor:
        """Return the attention of the last token to each: probabilities float32 [B, heads, n], zero at padding."""
        ...

    def ahead(self, state: State) -> torch.Tensor:
        """Return the same of the block that runs next, whose queries and keys are computed for it.

        Args:
            state: What that block would be given.
        """
        ...

    def by_head(self, places: torch.Tensor, *, by_distance: bool = False) -> Iterator[torch.Tensor]:
        """Yield the attention of some tokens to each, head by head: probabilities float32 [B, q, n].

        One head at a time is in memory. A row of padding holds any probabilities. The block must not be below the
        ``first`` of the method that reads: of tokens that prompts share, what went into it is not kept.

        Args:
            places: int64 [B, q], in each row.
            by_distance: Divide by the logits of queries and keys of ones: what rotation alone makes of two positions.
        """
        ...

    def keys(self) -> torch.Tensor:
        """Return the keys of all tokens, rotated: [B, key heads, n, head width]."""
        ...

    def normed(self, state: State) -> torch.Tensor:
        """Return a state's tokens as the head would be given them, after the last norm: [B, n, d]."""
        ...


class _NoReading:
    """No block has run yet, or tokens were dropped since."""

    def __call__(self) -> torch.Tensor:
        raise UserError("no block has run yet", todo="read attention after a block")

    def ahead(self, state: State) -> torch.Tensor:  # noqa: ARG002 - there is nothing to be read
        return self()

    def by_head(self, places: torch.Tensor, *, by_distance: bool = False) -> Iterator[torch.Tensor]:  # noqa: ARG002
        yield self()

    def keys(self) -> torch.Tensor:
        return self()

    def normed(self, state: State) -> torch.Tensor:  # noqa: ARG002
        return self()


_NO_READING = _NoReading()


@dataclass(frozen=True, eq=False)
class Prefix:
    """The tokens that some prompts begin with, where some blocks have run: alike for all whose plans agree so far.

    Attributes:
        hidden: [1, n, d].
        tokens: Which tokens these are, without padding.
        name: What it depends on: prompt and blocks. Equal names are the same prefix.
        deep: As in a state.
    """

    hidden: torch.Tensor
    tokens: Tokens
    name: Hashable
    deep: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class SharedPrefixes:
    """Where the rows of a batch begin with tokens that they share.

    Attributes:
        rows: Of each row, its prefix; what is shared is the same object.
        tokens: Those of the prefixes, stacked.
        own: The tokens that follow.
    """

    rows: tuple[Prefix, ...]
    tokens: Tokens
    own: Tokens


@dataclass(frozen=True, eq=False)
class State:
    """What one block passes to the next.

    Attributes:
        own: States [B, n, d] of the tokens; where prefixes are shared, of those that follow.
        tokens: Which tokens these are, those of the prefixes included.
        plans: Of each row, what runs of the blocks that are still to come.
        gates: Block -> factors for its parts, for training; empty at inference.
        attention: Returns the attention of the last token to each of ``tokens`` in the block that ran just before, and
            more if it is asked: see `Reading`. Only what is asked for is computed.
        prefixes: The prefixes that are shared, if any are.
        asked: The visual tokens of each prompt before any was dropped, int64 [B]; ``None`` before the first block.
        marked: bool [B, n], tokens that a method has marked, for itself to find them in later blocks; default none.
        deep: What is added to ``own`` after each of the first L blocks, [B, n, L, d]; ``None`` for nothing.
    """

    own: torch.Tensor
    tokens: Tokens
    plans: tuple[Plan, ...]
    gates: Mapping[int, Gates] = field(default_factory=dict)
    attention: Reading = _NO_READING
    prefixes: SharedPrefixes | None = None
    asked: torch.Tensor | None = None
    marked: torch.Tensor | None = None
    deep: torch.Tensor | None = None

    @functools.cached_property
    def hidden(self) -> torch.Tensor:
        """States of all tokens, [B, n, d]."""
        if self.prefixes is None:
            return self.own
        count = self.prefixes.tokens.count
        return torch.cat([torch.cat([pad(row.hidden, count, 1) for row in self.prefixes.rows]), self.own], dim=1)

    @property
    def every_deep(self) -> torch.Tensor | None:
        """What is added to all tokens, [B, n, L, d]."""
        if self.prefixes is None or self.deep is None:
            return self.deep
        count = self.prefixes.tokens.count
        rows = [(None if row.deep is None else pad(row.deep, count, 1), 1) for row in self.prefixes.rows]
        return joined([(joined(rows, 0), count), (self.deep, self.deep.shape[1])], 1)

    def apart(self) -> State:
        """The same state, with a copy of its prefix in every row."""
        if self.prefixes is None:
            return self
        return dataclasses.replace(self, own=self.hidden, deep=self.every_deep, prefixes=None)

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
        real = kept.gather(1, order)
        tokens = Tokens(real, picked(self.tokens.positions, order), self.tokens.visual.gather(1, order) & real)
        hidden = picked(self.hidden, order)
        marked = None if self.marked is None else self.marked.gather(1, order)
        deep = None if self.every_deep is None else picked(self.every_deep, order)
        return dataclasses.replace(self.unread(), own=hidden, tokens=tokens, prefixes=None, marked=marked, deep=deep)

    def with_tokens(self, rows: Sequence[Row], marked: torch.Tensor | None = None) -> State:
        """Go on with other tokens, at positions without gaps.

        Args:
            rows: Hidden states of each row, and which of its tokens are visual.
            marked: As in the state, padded as rows are: on the left.

        Raises:
            UserError: Positions are not in a line.
        """
        self._in_a_line()
        hidden, real, visual, *_ = padded(rows)
        tokens = Tokens.following(None, real, visual)
        return dataclasses.replace(self.unread(), own=hidden, tokens=tokens, prefixes=None, marked=marked)

    def unread(self) -> State:
        """The same state, of which nothing can be read."""
        return dataclasses.replace(self, attention=_NO_READING)

    def beginning(self) -> State:
        """The same state, before the first block between which methods may act."""
        return dataclasses.replace(self, asked=self.tokens.visual.sum(dim=1))

    @property
    def asked_visual(self) -> list[int]:
        """The visual tokens of each prompt before any was dropped."""
        return (self.tokens.visual.sum(dim=1) if self.asked is None else self.asked).tolist()

    def _in_a_line(self) -> None:
        if self.tokens.axes > 1:
            raise UserError("places in an image have no gaps to close", todo="say positions=original")

    def compacted(self) -> State:
        """The same tokens at positions without gaps.

        Raises:
            UserError: Positions are not in a line.
        """
        self._in_a_line()
        tokens = Tokens.following(None, self.tokens.real, self.tokens.visual)
        return dataclasses.replace(self.apart(), tokens=tokens)

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
        self.kept: list[Kept] = [{} for _ in range(depth)]
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
                chosen = torch.tensor(places, device=tokens.real.device)
                kept[block] = (keys.rows(chosen), tokens.rows(chosen))
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
            active_heads = heads if block.heads is None else len(block.heads)
            active_channels = channels if block.channels is None else sum(map(len, block.channels))
            layers.append(LayerWork(index, int(given.read[row]), active_heads, Fraction(active_channels, channels)))
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
class PartialPrefill:
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
        """Bytes of keys, values and hidden states, those of each prefix once."""
        tensors = [self.state.own, self.state.deep]
        if self.state.prefixes is not None:
            for row in dict.fromkeys(self.state.prefixes.rows):
                tensors += [row.hidden, row.deep]
        kept = sum(keys.bytes for kept in self.cache.kept for keys, _ in kept.values())
        return kept + sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)

    def copy(self) -> PartialPrefill:
        """The same tokens, so that both can be used up; they share tensors."""
        cache = Cache(len(self.cache.kept), self.cache.plans)
        for kept, own in zip(self.cache.kept, cache.kept, strict=True):
            own.update({block: (keys.copy(), tokens) for block, (keys, tokens) in kept.items()})
        return dataclasses.replace(self, cache=cache)

    @staticmethod
    def batch(partials: Sequence[PartialPrefill], names: Sequence[Hashable] | None = None) -> PartialPrefill:
        """Batch partial prefills of one prompt each and of equal depth; shorter ones are padded on the left.

        One of them may be given several times: this is how rows share a prefix, in later blocks too. None is changed.

        Args:
            partials: Of each row.
            names: What each depends on; default nothing that is known elsewhere.
        """
        first = partials[0]
        unique = dict.fromkeys(partials) if names is None else dict(zip(partials, names, strict=True))
        known = {
            partial: Prefix(partial.state.hidden, partial.state.tokens, name or object(), partial.state.every_deep)
            for partial, name in unique.items()
        }
        cache = Cache(len(first.cache.kept), [plan for partial in partials for plan in partial.cache.plans])
        stacks: dict[tuple[Tokens, ...], Tokens] = {}  # blocks with the same tokens have the same mask
        for index in range(first.depth):
            cache.kept[index][WHOLE] = stacked([partial.cache.kept[index][WHOLE] for partial in partials], stacks)
        rows = tuple(known[partial] for partial in partials)
        tokens = _stack([row.tokens for row in rows])
        none = torch.zeros(len(rows), 0, device=tokens.real.device)
        own = Tokens(none.bool(), tokens.positions[:, :0], none.bool())
        hidden = rows[0].hidden.new_zeros(len(rows), 0, rows[0].hidden.shape[2])
        deep = joined([(None if row.deep is None else row.deep[:, :0], 1) for row in rows], 0)
        state = State(hidden, tokens, cache.plans, prefixes=SharedPrefixes(rows, tokens, own), deep=deep)
        return PartialPrefill(first.depth, cache, state)


def stacked(pairs: Sequence[tuple[KVCache, Tokens]], known: dict[tuple[Tokens, ...], Tokens]) -> tuple[KVCache, Tokens]:
    """Put what a block kept of some rows into one batch.

    Args:
        pairs: Keys and values of each row, and which tokens they belong to.
        known: What has been stacked of tokens; added to.
    """
    group = tuple(tokens for _, tokens in pairs)
    if group not in known:
        known[group] = _stack(group)
    return KVCache(pairs[0][0].most, [keys for keys, _ in pairs]), known[group]


def _stack(parts: Sequence[Tokens]) -> Tokens:
    count = max(part.count for part in parts)
    padded = [part.padded_to(count) for part in parts]
    real, positions, visual = (
        torch.cat([getattr(part, name) for part in padded]) for name in ("real", "positions", "visual")
    )
    forgotten = torch.cat([part.read - part.real.sum(dim=1) for part in parts])
    return Tokens(real, positions, visual, max(part.gaps for part in parts), forgotten)


def picked(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the values [B, m, ...] at places [B, m] of values [B, n, ...]."""
    return values[torch.arange(len(places), device=places.device)[:, None], places]
