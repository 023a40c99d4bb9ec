"""One block of a decoder: as the library runs it, or with some of its heads and MLP channels only.

A restricted block multiplies with slices of the library's own weights, so what is left out is not computed. The slices
of the last plans are kept, as each token of an answer needs them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch.nn import functional

from ..harness.errors import UserError
from .lru import ByteLru

if TYPE_CHECKING:
    from collections.abc import Sequence

Runs: TypeAlias = tuple[range, ...]
"""Indices as ascending runs that do not overlap: ``(range(0, 8), range(24, 32))``."""

SUPPORTED = ("llama", "mistral", "phi", "qwen2")
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
        """Nothing runs: the block hands on what it is given."""
        return self.heads == () and self.channels == ()


WHOLE = Block()
SKIPPED = Block((), ())


class Gates(NamedTuple):
    """Factors for the parts of a block that runs in full, for training a scheduler: gradients reach them.

    Where all is 0, the block, its attention or its MLP hands on what it is given, as if it were left out.

    Attributes:
        heads: [B, heads], times the output of each head before the output projection.
        channels: [B, channels], times each channel of the MLP before the down projection.
        block: [B], times what the whole block adds; then the others are not read.
    """

    heads: torch.Tensor | None = None
    channels: torch.Tensor | None = None
    block: torch.Tensor | None = None


class Keys:
    """Keys and values of some rows of a batch in one block.

    Attributes:
        keys: [rows, key heads, tokens, head width], rotated; ``None`` before the first.
        values: As ``keys``.
        most: Tokens that are kept, the latest; ``None`` is all. A sliding window never looks back further.
    """

    def __init__(self, most: int | None = None) -> None:
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None
        self.most = most

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append what is new and return all; transformers' attention calls this as its cache."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=-2), torch.cat([self.values, values], dim=-2)
        start = 0 if self.most is None else max(0, keys.shape[-2] - self.most)
        self.keys, self.values = keys[:, :, start:], values[:, :, start:]
        return keys, values


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


class Blocks:
    """The blocks of a Llama, Mistral, Phi or Qwen2 model, run one at a time.

    Args:
        model: ``LlamaModel`` and its like.

    Raises:
        UserError: The architecture or its attention implementation is not known here.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        if config.model_type not in SUPPORTED:
            raise UserError(
                f"the decoder of a {config.model_type} cannot be run block by block",
                todo=f"name one of {', '.join(SUPPORTED)}",
            )
        self.attention: str = config._attn_implementation
        if self.attention not in ("eager", "sdpa"):
            raise UserError(f"attention {self.attention!r} cannot be run block by block", todo="choose sdpa or eager")
        self.layers = model.layers[: config.num_hidden_layers]
        self.heads: int = config.num_attention_heads
        self.channels: int = config.intermediate_size
        self._group = self.heads // config.num_key_value_heads
        self._phi = config.model_type == "phi"
        self._slices = ByteLru(_SLICES)

    def run(
        self,
        index: int,
        block: Block,
        hidden: torch.Tensor,
        reach: Reach | None,
        gates: Gates | None = None,
    ) -> torch.Tensor:
        """Run what a plan leaves of a block.

        Args:
            index: Which block.
            block: What of it.
            hidden: [B, n, d].
            reach: Of its attention; ``None`` if that is left out.
            gates: Factors for its parts; the block must be whole.
        """
        layer = self.layers[index]
        if gates is not None and gates.block is not None:
            whole = self.run(index, block, hidden, reach)
            return hidden + gates.block[:, None, None].to(hidden.dtype) * (whole - hidden)
        if block == WHOLE and gates is None and reach is not None:
            out: torch.Tensor = layer(
                hidden,
                attention_mask=reach.mask,
                past_key_values=reach.keys,
                use_cache=True,
                position_embeddings=reach.turned,
            )
            return out
        normed = layer.input_layernorm(hidden)
        attended = None
        if reach is not None:
            attended = self._attention(index, block.heads, normed, reach, gates and gates.heads)
        factor = gates and gates.channels
        if self._phi:  # attention and MLP stand side by side
            parts = [part for part in (attended, self._mlp(index, block, normed, factor)) if part is not None]
            return sum(parts[1:], parts[0]) + hidden if parts else hidden
        if attended is not None:
            hidden = hidden + attended
        inner = None if block.channels == () else layer.post_attention_layernorm(hidden)
        widened = self._mlp(index, block, inner, factor)
        return hidden if widened is None else hidden + widened

    def last_row(self, index: int, last: torch.Tensor, keys: Keys, turned: Turned) -> torch.Tensor:
        """Scores of one query over all keys of a whole block, before the softmax.

        Args:
            index: Which block.
            last: What the block was given for the querying token, [B, 1, d].
            keys: Which the block kept.
            turned: For the querying token.

        Returns:
            [B, heads, keys].
        """
        if keys.keys is None:
            raise UserError(f"block {index} kept no keys", todo="read the attention of a block that ran")
        attention = self.layers[index].self_attn
        query, _ = self._heads(index, "q", None, self.layers[index].input_layernorm(last), turned)
        known = keys.keys.repeat_interleave(self._group, dim=1)
        return (query @ known.transpose(2, 3)).squeeze(2) * float(attention.scaling)

    def _attention(
        self,
        index: int,
        heads: tuple[int, ...] | None,
        normed: torch.Tensor,
        reach: Reach,
        gate: torch.Tensor | None,
    ) -> torch.Tensor:
        attention = self.layers[index].self_attn
        if heads is None and gate is None:
            out: torch.Tensor = attention(
                hidden_states=normed,
                attention_mask=reach.mask,
                past_key_values=reach.keys,
                position_embeddings=reach.turned,
            )[0]
            return out
        open_heads = tuple(range(self.heads)) if heads is None else heads
        shared = tuple(dict.fromkeys(head // self._group for head in open_heads))
        query, width = self._heads(index, "q", open_heads, normed, reach.turned)
        key, _ = self._heads(index, "k", shared, normed, reach.turned)
        value, _ = self._heads(index, "v", shared, normed, None)
        key, value = reach.keys.update(key, value)
        if self._group > 1:
            place = torch.tensor([shared.index(head // self._group) for head in open_heads], device=key.device)
            key, value = key[:, place], value[:, place]
        mixed = self._mix(query, key, value, reach.mask, float(attention.scaling))
        if gate is not None:
            mixed = mixed * gate[:, :, None, None].to(mixed.dtype)
        flat = mixed.transpose(1, 2).flatten(2)
        weight, bias = self._sliced(index, "dense" if self._phi else "o_proj", _runs(open_heads, width), dim=1)
        return _added(flat, weight, bias, gate)

    def _heads(
        self, index: int, name: str, heads: Sequence[int] | None, normed: torch.Tensor, turned: Turned | None
    ) -> tuple[torch.Tensor, int]:
        """Return queries, keys or values of some heads [B, heads, n, head width], and the head's width."""
        attention = self.layers[index].self_attn
        width: int = attention.head_dim
        weight, bias = self._sliced(index, f"{name}_proj", None if heads is None else _runs(heads, width), dim=0)
        states = functional.linear(normed, weight, bias)
        states = states.view(*states.shape[:2], -1, width).transpose(1, 2)
        if turned is None:
            return states, width
        if getattr(attention, "qk_layernorm", False):
            states = getattr(attention, f"{name}_layernorm")(states)
        return _turn(states, turned), width

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
            causal = mask is None and bool(query.shape[2] > 1)  # under a trace it is a tensor
            return functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, scale=scaling
            )
        scores = query @ key.transpose(2, 3) * scaling
        if mask is not None:
            scores = scores + mask
        return functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value

    def _mlp(
        self, index: int, block: Block, hidden: torch.Tensor | None, gate: torch.Tensor | None
    ) -> torch.Tensor | None:
        if hidden is None or block.channels == ():
            return None
        mlp = self.layers[index].mlp
        if block.channels is None and gate is None:
            out: torch.Tensor = mlp(hidden)
            return out
        names, act, down = (
            (("fc1",), mlp.activation_fn, "fc2") if self._phi else (("gate_proj", "up_proj"), mlp.act_fn, "down_proj")
        )
        first, *second = (
            functional.linear(hidden, *self._sliced(index, name, block.channels, dim=0)) for name in names
        )
        inner = act(first) * second[0] if second else act(first)
        if gate is not None:
            inner = inner * gate[:, None].to(inner.dtype)
        return _added(inner, *self._sliced(index, down, block.channels, dim=1), gate)

    def _sliced(
        self, index: int, name: str, runs: Runs | None, *, dim: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rows (dim 0) or columns (dim 1) of a linear layer's weight, and the bias that belongs to them."""
        layer = self.layers[index]
        linear = getattr(layer.self_attn, name, None) or getattr(layer.mlp, name)
        weight, bias = linear.weight, linear.bias
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


def _added(
    inner: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, gate: torch.Tensor | None
) -> torch.Tensor:
    """Project what a block adds; where all of a row's gates are shut, its bias is not added either."""
    if bias is None or gate is None:
        return functional.linear(inner, weight, bias)
    some = gate.detach().amax(dim=1).to(inner.dtype)
    return functional.linear(inner, weight) + some[:, None, None] * bias


def _runs(heads: Sequence[int], width: int) -> Runs:
    """Return the rows of a projection that belong to some heads, neighbours joined."""
    runs: list[range] = []
    for head in heads:
        start = head * width
        if runs and runs[-1].stop == start:
            start = runs.pop().start
        runs.append(range(start, (head + 1) * width))
    return tuple(runs)


def _turn(states: torch.Tensor, turned: Turned) -> torch.Tensor:
    """Rotate the first numbers of each head, as many as there are cosines; the rest passes (Phi)."""
    cos, sin = turned.cos[:, None], turned.sin[:, None]
    rotated, rest = states[..., : cos.shape[-1]], states[..., cos.shape[-1] :]
    left, right = rotated.chunk(2, dim=-1)
    rotated = rotated * cos + torch.cat((-right, left), dim=-1) * sin
    return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
