"""How tensor parallel shards the operators of a block, found from what flows into what.

Megatron-LM shards a block in pairs: a linear layer by its outputs (column parallel), what follows by heads or channels,
and the linear layer that reads it by its inputs (row parallel), whose results are then summed over the cards. The pairs
of a block without a closed form are found in the flow of its tensors: a layer whose result no other one of the block
reads is the end of a pair, and what feeds such ends is the beginning. What comes before a pair runs whole on each card,
such as what narrows states to the latents of multi-head latent attention, and so does a router.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch.utils.weak import WeakTensorKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Shard: TypeAlias = Literal["whole", "column", "keys", "inside", "row"]
"""How an operator is shared: not at all; by its outputs; by its outputs, which are heads of keys or values; by all that
it reads and writes; by its inputs, so that its results are sums over the cards."""

_INPUT = -1
"""In the place of an operator: what the model was given."""
_ADD = (torch.ops.aten.add, torch.ops.aten.add_)
_STATES = 3
"""The most dimensions that a residual stream has: batch, tokens, width."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator as a part of a block's flow.

    Attributes:
        follows: Places of the linear layers of the same block whose results it reads.
        linear: Whether it mixes channels by weights.
        narrows: Whether it writes less than it reads.
        written: Numbers that it writes.
    """

    follows: frozenset[int]
    linear: bool
    narrows: bool
    written: int


def shards(nodes: Mapping[int, Node], sums: Sequence[tuple[frozenset[int], int]]) -> dict[int, tuple[Shard, int]]:
    """Shard the operators of a block.

    Args:
        nodes: Place -> operator, in the order in which they run.
        sums: What is added to the residual stream: places of the linear layers that it comes from, and its numbers.

    Returns:
        Place -> how it is shared, and how many numbers are summed over the cards after it.
    """
    readers = {place: {p for p, node in nodes.items() if node.linear and place in node.follows} for place in nodes}
    ends = {place for place in nodes if not readers[place]}
    narrow = {place for place, node in nodes.items() if node.narrows and readers[place] - ends}  # others widen it again
    found: dict[int, Shard] = {}
    for place, node in nodes.items():
        shared = any(found.get(before) == "column" for before in node.follows)
        if shared:
            found[place] = "row" if node.linear else "inside"
        elif node.linear and place not in ends | narrow and readers[place] <= ends | narrow:
            found[place] = "column"
        else:
            found[place] = "whole"
    for node in nodes.values():  # fewer heads of keys and values than of queries
        heads = [] if node.linear else [place for place in node.follows if found[place] == "column"]
        widest = max((nodes[place].written for place in heads), default=0)
        found |= {place: "keys" for place in heads if nodes[place].written < widest}
    summed = {place: nodes[place].written for place, how in found.items() if how == "row"}
    for places, numbers in sums:
        partial = sorted(places & summed.keys())
        summed |= dict.fromkeys(partial, 0) | dict.fromkeys(partial[-1:], numbers)
    return {place: (how, summed.get(place, 0)) for place, how in found.items()}


class Flow:
    """Follows tensors from one linear layer to the next.

    Args:
        block_of: Place of an operator -> its block; empty if it lies in none.
    """

    def __init__(self, block_of: Callable[[int], str]) -> None:
        self._block_of = block_of
        self._sources: Any = WeakTensorKeyDictionary()
        self.sums: list[tuple[frozenset[int], int]] = []
        """What was added to the residual stream: places of the linear layers that it comes from, and its numbers."""

    def begin(self, inputs: Mapping[str, Any]) -> None:
        """Take note of what the model is given."""
        self._mark(list(inputs.values()), frozenset({_INPUT}))

    def sources(self, args: Sequence[Any]) -> frozenset[int]:
        """Places of the linear layers that tensors come from, directly."""
        return frozenset().union(*(self._sources.get(one, ()) for one in _tensors(args)))

    def ran(self, packet: Any, args: Sequence[Any], result: Any, block: Callable[[], str]) -> None:
        """Another operator ran: its result comes from where what it reads comes from.

        Args:
            packet: Which.
            args: Its arguments.
            result: What it returned.
            block: Tells where it ran.
        """
        sources = self.sources(args)
        if packet is torch.ops.aten.embedding:
            sources = frozenset({_INPUT})
        elif packet in _ADD and len(sources) > 1 and result.ndim <= _STATES:
            sources = self._added(args, result, block()) or sources
        if sources:
            self._mark([result], sources)

    def linear(self, place: int, result: Any) -> None:
        """A linear layer ran."""
        self._mark([result], frozenset({place}))

    def _mark(self, values: Sequence[Any], sources: frozenset[int]) -> None:
        for tensor in _tensors(values):
            if tensor.is_floating_point() or tensor.is_complex():
                self._sources[tensor] = sources

    def _added(self, args: Sequence[Any], result: torch.Tensor, block: str) -> frozenset[int] | None:
        """The sources of the residual stream, if one of two addends is what the block was given."""
        tensors = [one for one in _tensors(args) if one.shape == result.shape]
        if not block or len(tensors) != 2:
            return None
        every = [self.sources([one]) for one in tensors]
        own = [frozenset(place for place in one if self._block_of(place) == block) for one in every]
        for stream, new in ((0, 1), (1, 0)):
            if every[stream] and not own[stream] and own[new]:
                self.sums.append((own[new], result.numel()))
                return every[stream]
        return None


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
