"""One block of a decoder: as the library runs it, or with some of its heads and MLP channels only.

A restricted block multiplies with slices of the library's own weights, so what is left out is not computed. The slices
of the last plans are kept, as each token of an answer needs them again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch.nn import functional

from ..harness.errors import UserError
from . import placement
from .lru import ByteLru
from .shared_attention import attend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kv_cache import AttentionContext, RotaryEmbedding

Runs: TypeAlias = tuple[range, ...]
"""Indices as ascending runs that do not overlap: ``(range(0, 8), range(24, 32))``."""

M_ROPE = ("qwen2_5_vl_text", "qwen2_vl_text", "qwen3_vl_text")
"""Model types whose tokens have three positions: a time, a row and a column."""
SUPPORTED = ("llama", "mistral", "phi", "qwen2", "qwen3", *M_ROPE)
_SLICES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Block:
    """What of one block runs.

    Attributes:
        heads: Query heads, ascending; ``None`` is all, empty leaves attention out, and then no keys and values are
            kept. A key and value head runs if one of its query heads does.
        channels: Channels of the MLP; ``None`` is all, empty leaves the MLP out.
    """

    heads: tuple[int, ...] | None = None
    channels: Runs | None = None

    @property
    def skipped(self) -> bool:
        """Nothing runs: the block's output is its input."""
        return self.heads == () and self.channels == ()


WHOLE = Block()
SKIPPED = Block((), ())


class Gates(NamedTuple):
    """Factors for the parts of a block that runs in full, for training a scheduler: gradients reach them.

    Where all is 0, the block, its attention or its MLP adds nothing, as if it were left out.

    Attributes:
        heads: [B, heads], times the output of each head before the output projection.
        channels: [B, channels], times each channel of the MLP before the down projection.
        block: [B], times what the whole block adds; then the others are not read.
    """

    heads: torch.Tensor | None = None
    channels: torch.Tensor | None = None
    block: torch.Tensor | None = None


class Part(NamedTuple):
    """Rows of a batch that run the same of a block.

    Attributes:
        block: What of it.
        rows: Which, int64; ``None`` is all.
        context: Of their attention; ``None`` without attention.
    """

    block: Block
    rows: Any
    context: Any


class Blocks:
    """The blocks of a Llama, Mistral, Phi or Qwen model, run one at a time.

    Args:
        model: ``LlamaModel`` and its like.

    Raises:
        UserError: The architecture or its attention implementation is not known here.
    """

    def __init__(self, model: Any) -> None:
        from . import installed

        config = model.config
        if config.model_type not in SUPPORTED:
            raise UserError(
                f"the decoder of a {config.model_type} cannot be run block by block",
                todo=f"name one of {', '.join(SUPPORTED)}",
            )
        self.attention: str = installed.attention_of(config)
        if self.attention not in ("eager", "sdpa"):
            raise UserError(f"attention {self.attention!r} cannot be run block by block", todo="choose sdpa or eager")
        self.layers = model.layers[: config.num_hidden_layers]
        self.heads: int = config.num_attention_heads
        self.channels: int = config.intermediate_size
        self._group = self.heads // config.num_key_value_heads
        self._phi = config.model_type == "phi"
        self._norms = "{}_layernorm" if self._phi else "{}_norm"  # of queries and keys, in Phi and Qwen3
        self._slices = ByteLru(_SLICES)
        self._devices = placement.devices_of(self.layers)

    def run(
        self,
        index: int,
        block: Block,
        hidden: torch.Tensor,
        context: AttentionContext | None,
        gates: Gates | None = None,
    ) -> torch.Tensor:
        """Run what a plan leaves of a block.

        Args:
            index: Which block.
            block: What of it.
            hidden: [B, n, d].
            context: Of its attention; ``None`` without attention.
            gates: Factors for its parts; the block must be whole.
        """
        if self._devices is not None:
            there = self._devices[index]
            moved = None if context is None else _context_on(context, there)
            moved_gates = None if gates is None else _gates_on(gates, there)
            return self._run(index, block, hidden.to(there), moved, moved_gates).to(hidden.device)
        return self._run(index, block, hidden, context, gates)

    def _run(
        self, index: int, block: Block, hidden: torch.Tensor, context: AttentionContext | None, gates: Gates | None
    ) -> torch.Tensor:
        """Run it on what is where its weights are."""
        from .installed import run_block

        layer = self.layers[index]
        if gates is not None and gates.block is not None:
            whole = self._run(index, block, hidden, context, None)
            return hidden + gates.block[:, None, None].to(hidden.dtype) * (whole - hidden)
        if block == WHOLE and gates is None and context is not None and context.usual:
            return run_block(layer, hidden, context)  # the library's own code: equal to the last bit
        parts = [Part(block, None, context)] if context is not None else []
        return self._restricted(index, block, hidden, parts, gates or Gates())

    def follow(self, index: int, parts: Sequence[Part], hidden: torch.Tensor) -> torch.Tensor:
        """Run a block on the next tokens of answers, of which rows run different parts.

        To read the weights is what a token costs. So they are neither copied nor read for each row: all rows are
        multiplied with what any of them runs, and what a row does not run itself is taken as zero.

        Args:
            index: Which block.
            parts: Those that are not skipped.
            hidden: [B, n, d].
        """
        home = hidden.device
        if self._devices is not None:
            hidden = hidden.to(self._devices[index])
            parts = [_part_on(part, hidden.device) for part in parts]
        union, heads, channels = _union(tuple(part.block for part in parts), self.heads, self.channels)
        place = torch.full((len(hidden),), len(parts), device=hidden.device)  # the last one is of rows that skip
        for number, part in enumerate(parts):
            place[slice(None) if part.rows is None else part.rows] = number
        gates = Gates(heads.to(hidden.device)[place], channels.to(hidden.device)[place])
        attended_parts = [part for part in parts if part.context is not None]
        return self._restricted(index, union, hidden, attended_parts, gates, views=True).to(home)

    def _restricted(
        self,
        index: int,
        block: Block,
        hidden: torch.Tensor,
        parts: Sequence[Part],
        gates: Gates,
        *,
        views: bool = False,
    ) -> torch.Tensor:
        """Run a part of a block on [B, n, d].

        Args:
            index: Which block.
            block: What of it.
            hidden: What it is given.
            parts: Of it, those that have attention.
            gates: Factors for its own heads and channels.
            views: Multiply with the weights where they stand, instead of with a copy of those that are needed.
        """
        layer = self.layers[index]
        normed = layer.input_layernorm(hidden)
        attended = self._attention(index, block.heads, normed, parts, gates.heads, views) if parts else None
        if parts and parts[0].context.only_last:
            hidden, normed = hidden[:, -1:], normed[:, -1:]
        if self._phi:  # attention and MLP stand side by side
            widened = self._mlp(index, block.channels, normed, gates.channels, views)
            added = [part for part in (attended, widened) if part is not None]
            return sum(added[1:], added[0]) + hidden if added else hidden
        if attended is not None:
            hidden = hidden + attended
        inner = None if block.channels == () else layer.post_attention_layernorm(hidden)
        widened = self._mlp(index, block.channels, inner, gates.channels, views)
        return hidden if widened is None else hidden + widened

    def rotated(
        self, index: int, name: Literal["q", "k"], given: torch.Tensor, rotary: RotaryEmbedding
    ) -> torch.Tensor:
        """Queries or keys that a whole block makes of tokens: [B, heads, n, head width], or key heads; where it is.

        Args:
            index: Which block.
            name: Which of the two.
            given: What the block is given for the tokens, [B, n, d].
            rotary: For the tokens.
        """
        if self._devices is not None:
            given = given.to(self._devices[index])
            rotary = _rotary_on(rotary, given.device)
        return rotate(self._heads(index, name, None, self.layers[index].input_layernorm(given)), rotary)

    def scores(self, index: int, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Scores [B, heads, q, n] of queries [B, heads, q, head width] over keys, before the softmax.

        Args:
            index: Which block.
            queries: Of any of its heads.
            keys: Of their key heads, each of which serves a group of them, [B, key heads, n, head width].
        """
        known = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)
        return (queries @ known.transpose(2, 3)) * float(self.layers[index].self_attn.scaling)

    def _attention(
        self,
        index: int,
        heads: tuple[int, ...] | None,
        normed: torch.Tensor,
        parts: Sequence[Part],
        gate: torch.Tensor | None,
        views: bool,
    ) -> torch.Tensor:
        from .installed import run_attention

        attention, first = self.layers[index].self_attn, parts[0]
        if heads is None and gate is None and first.context.usual:
            return run_attention(attention, normed, first.context)
        runs = None if heads is None else _runs(heads, attention.head_dim)
        shared = None if heads is None else self._shared(heads)
        asking = normed[:, -1:] if first.context.only_last else normed
        query = self._heads(index, "q", heads, asking, views)
        key, value = (self._heads(index, name, shared, normed, views) for name in ("k", "v"))
        heads = tuple(range(self.heads)) if heads is None else heads
        shared = self._shared(heads)
        if first.rows is None:  # then there are no others
            mixed = self._attend(index, heads, query, key, value, first.context)
        else:
            mixed = query.new_zeros(query.shape)
            for block, rows, context in parts:
                own = heads if block.heads is None else block.heads
                at = rows[:, None], _places(own, heads, rows.device)
                of = rows[:, None], _places(self._shared(own), shared, rows.device)
                mixed[at] = self._attend(index, own, query[at], key[of], value[of], context)
        if gate is not None:
            mixed = mixed * gate[:, :, None, None].to(mixed.dtype)
        return self._columns(
            index, "dense" if self._phi else "o_proj", runs, mixed.transpose(1, 2).flatten(2), gate, views
        )

    def _shared(self, heads: Sequence[int]) -> tuple[int, ...]:
        """The key and value heads that query heads need."""
        return tuple(dict.fromkeys(head // self._group for head in heads))

    def _heads(
        self, index: int, name: str, heads: Sequence[int] | None, normed: torch.Tensor, views: bool = False
    ) -> torch.Tensor:
        """Return queries, keys or values of some heads [B, heads, n, head width], not yet rotated."""
        attention = self.layers[index].self_attn
        width: int = attention.head_dim
        states = self._rows(index, f"{name}_proj", None if heads is None else _runs(heads, width), normed, views)
        states = states.view(*states.shape[:2], -1, width).transpose(1, 2)
        norm = None if name == "v" else getattr(attention, self._norms.format(name), None)
        return states if norm is None else norm(states)

    def _attend(
        self,
        index: int,
        heads: Sequence[int],
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        context: AttentionContext,
    ) -> torch.Tensor:
        """Return the output of some heads: [B, heads, n, head width]."""
        scaling = float(self.layers[index].self_attn.scaling)
        query = rotate(query, context.rotary.latest(query.shape[2]))
        key, value = context.kv_cache.update(rotate(key, context.rotary), value)
        place = None
        if self._group > 1:
            place = _places([head // self._group for head in heads], self._shared(heads), key.device)
            key, value = key[:, place], value[:, place]
        if prefixes := context.kv_cache.shared:
            mask = None if context.mask is None else context.mask[..., -key.shape[2] :]
            return attend(query * scaling, key, value, prefixes, place, mask)
        return self._mix(query, key, value, context.mask, scaling)

    def _mix(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
    ) -> torch.Tensor:
        """Attention of equally many query and key heads: [B, heads, n, head width]."""
        if self.attention == "sdpa":
            # The kernel aligns its causal mask with the first key, so it must not be used for one query that sees all.
            causal = mask is None and bool(query.shape[2] > 1)  # under a trace it is a tensor
            return functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, scale=scaling
            )
        scores = query @ key.transpose(2, 3) * scaling
        if mask is not None:
            scores = scores + mask
        return functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value

    def _mlp(
        self, index: int, channels: Runs | None, hidden: torch.Tensor | None, gate: torch.Tensor | None, views: bool
    ) -> torch.Tensor | None:
        if hidden is None or channels == ():
            return None
        mlp = self.layers[index].mlp
        if channels is None and gate is None:
            out: torch.Tensor = mlp(hidden)
            return out
        names, act, down = (
            (("fc1",), mlp.activation_fn, "fc2") if self._phi else (("gate_proj", "up_proj"), mlp.act_fn, "down_proj")
        )
        first, *second = (self._rows(index, name, channels, hidden, views) for name in names)
        inner = act(first) * second[0] if second else act(first)
        if gate is not None:
            inner = inner * gate[:, None].to(inner.dtype)
        return self._columns(index, down, channels, inner, gate, views)

    def _rows(self, index: int, name: str, runs: Runs | None, states: torch.Tensor, views: bool) -> torch.Tensor:
        """Multiply with rows of a linear layer's weight, and add their bias."""
        if runs is None:
            whole: torch.Tensor = self._linear(index, name)(states)
            return whole
        each = [(run,) for run in runs] if views else [runs]  # one run is a view
        pieces = [functional.linear(states, *self._cut(index, name, some, dim=0)) for some in each]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)

    def _columns(
        self, index: int, name: str, runs: Runs | None, inner: torch.Tensor, gate: torch.Tensor | None, views: bool
    ) -> torch.Tensor:
        """Multiply with columns of a linear layer's weight; a row whose gates are all 0 gets no bias."""
        if views and runs:
            inner, runs = self._spread(index, name, runs, inner), None
        if runs is None and gate is None:
            whole: torch.Tensor = self._linear(index, name)(inner)
            return whole
        weight, bias = self._cut(index, name, runs, dim=1)
        # A row without any of these heads or channels skips the layer, its bias included; gates are differentiable.
        if bias is None or gate is None:
            return functional.linear(inner, weight, bias)
        some = gate.detach().amax(dim=1).to(inner.dtype)
        return functional.linear(inner, weight) + some[:, None, None] * bias

    def _spread(self, index: int, name: str, runs: Runs, inner: torch.Tensor) -> torch.Tensor:
        """Put zeros between runs: to read a weight's columns piece by piece takes as long as to read them all."""
        spread = inner.new_zeros(*inner.shape[:-1], self._linear(index, name).in_features)
        for run, piece in zip(runs, torch.split(inner, [len(run) for run in runs], dim=-1), strict=True):
            spread[..., run.start : run.stop] = piece
        return spread

    def _linear(self, index: int, name: str) -> Any:
        layer = self.layers[index]
        return getattr(layer.self_attn, name, None) or getattr(layer.mlp, name)

    def _cut(self, index: int, name: str, runs: Runs | None, *, dim: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rows (dim 0) or columns (dim 1) of a linear layer's weight, and the bias that belongs to them."""
        linear = self._linear(index, name)
        if hasattr(linear, "base_layer"):
            what = f"a live adapter is on {name} of block {index}, of which only a part is to run"
            raise UserError(what, todo="merge it into the weights")
        with placement.whole(linear):
            weight, bias = linear.weight, linear.bias
        if weight.is_meta and self._devices is not None:  # torch multiplies with it and gives any numbers
            raise UserError(f"the weights {name} of block {index} are not in memory", todo="leave device_map out")
        if runs is None:
            return weight, bias
        if runs[0].start < 0 or runs[-1].stop > weight.shape[dim]:
            raise UserError(
                f"a plan names heads or channels that block {index} does not have",
                todo=f"it has {self.heads} heads and {self.channels} channels",
            )

        def cut(whole: torch.Tensor) -> torch.Tensor:
            pieces = [whole.narrow(dim, run.start, len(run)) for run in runs]
            return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)

        if len(runs) == 1 or (weight.requires_grad and torch.is_grad_enabled()):
            part = cut(weight)  # one run is a view
        else:
            state = (weight.data_ptr(), weight._version)  # weights that were trained on since are other weights
            part = self._slices.get((index, name, runs, state), lambda: cut(weight), _bytes)
        return part, cut(bias) if bias is not None and dim == 0 else bias


def _rotary_on(rotary: RotaryEmbedding, device: torch.device) -> RotaryEmbedding:
    return rotary._replace(cos=rotary.cos.to(device), sin=rotary.sin.to(device))


def _context_on(context: AttentionContext, device: torch.device) -> AttentionContext:
    mask = None if context.mask is None else context.mask.to(device)
    return context._replace(mask=mask, rotary=_rotary_on(context.rotary, device))


def _part_on(part: Part, device: torch.device) -> Part:
    context = None if part.context is None else _context_on(part.context, device)
    return part._replace(rows=None if part.rows is None else part.rows.to(device), context=context)


def _gates_on(gates: Gates, device: torch.device) -> Gates:
    return Gates(*(None if gate is None else gate.to(device) for gate in gates))


def _runs(heads: Sequence[int], width: int) -> Runs:
    """Return the rows of a projection that belong to some heads, neighbours joined."""
    runs: list[range] = []
    for head in heads:
        start = head * width
        if runs and runs[-1].stop == start:
            start = runs.pop().start
        runs.append(range(start, (head + 1) * width))
    return tuple(runs)


def _places(some: Sequence[int], among: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor([among.index(one) for one in some], device=device)


@functools.lru_cache(maxsize=128)
def _union(blocks: tuple[Block, ...], heads: int, channels: int) -> tuple[Block, torch.Tensor, torch.Tensor]:
    """Return what any of some parts of a block runs.

    Returns:
        The union, and which of its heads and of its channels each part runs, bool [parts + 1, their number]; the last
        row is that of a skipped block.
    """
    own_heads = torch.zeros(len(blocks) + 1, heads, dtype=torch.bool)
    own_channels = torch.zeros(len(blocks) + 1, channels, dtype=torch.bool)
    for block, some_heads, some_channels in zip(blocks, own_heads, own_channels, strict=False):
        some_heads[list(range(heads) if block.heads is None else block.heads)] = True
        for run in (range(channels),) if block.channels is None else block.channels:
            some_channels[run.start : run.stop] = True
    any_head, any_channel = own_heads.any(0), own_channels.any(0)
    union = Block(tuple(any_head.nonzero().flatten().tolist()), _runs(any_channel.nonzero().flatten().tolist(), 1))
    return union, own_heads[:, any_head], own_channels[:, any_channel]


def rotate(states: torch.Tensor, rotary: RotaryEmbedding) -> torch.Tensor:
    """Rotate the first numbers of each head, as many as there are cosines; the rest passes (Phi)."""
    cos, sin = rotary.cos[:, None], rotary.sin[:, None]
    rotated, rest = states[..., : cos.shape[-1]], states[..., cos.shape[-1] :]
    left, right = rotated.chunk(2, dim=-1)
    rotated = rotated * cos + torch.cat((-right, left), dim=-1) * sin
    return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
