"""Operators of a transformer with their arithmetic and their traffic: the closed form.

Three conventions share the code and differ only in `Convention`:

* ``counted``: the contractions, as the counters on the real module see them. Attention in full.
* ``default``: what really runs, elementwise operators included.
* ``llm-viewer``: the analyser behind the dissertation's Table C.2, to the operation, its quirks included.

FLOPs are 2 per multiply-accumulate; traffic is counted in numbers moved, so that precision is chosen later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ..errors import UserError
from ..execution import Execution, LayerWork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..transformer import Architecture, Language, Linear, Stack
    from .sharding import Shard

Phase: TypeAlias = Literal["vision", "projector", "text", "prefill", "decode"]
Attention: TypeAlias = Literal["fused", "eager"]
ATTENTION: tuple[Attention, ...] = get_args(Attention)


@dataclass(frozen=True, slots=True)
class Convention:
    """What is counted, operator by operator.

    Attributes:
        elementwise: Norms, softmax, activations, rotary embedding and residual additions count.
        causal_half: A causal product costs only the pairs that are not masked: n (n + 1) / 2 instead of n^2, as
            fused kernels skip masked blocks.
        fused: Attention is one kernel whose scores never reach memory.
        windows: What a window over the text bounds: ``kept``, the keys and values that later tokens attend to;
            ``skipped``, the pairs of a prefill as well, in a kernel that leaves out what lies outside; ``unknown``,
            nothing.
        rotary: Rotating queries and keys counts: 3 operations a number.
        head_flops: FLOPs per multiply-accumulate of the head.
        norm: Operations per number of a norm.
        activation: Operations per number of the MLP's activation and, where gated, its product.
        activation_width: Whether the activation works on the MLP's width, or (a slip that the published tables
            contain) on the hidden width.
        addends: Operands of a residual addition that are read.
        traffic: What moves. ``open``: what the active heads and channels need, and a fused kernel reads keys and values
            once. ``analyser``: as LLM-Viewer and AdaLLaVA's analyser on top of it have it: a block's linear layers move
            the active share of all that they read and write, but keys and values are written whole; in the prefill as
            many keys and values are read as there are query heads; and a fused kernel reads them anew for every block
            of queries and writes its scores twice. Their memory footprint has no head.
        on_chip: Numbers that fit on the chip, from which the analyser's block of queries in a fused kernel follows.
            ``None``: no chip is named, and all queries are one block.
    """

    name: str
    elementwise: bool = True
    causal_half: bool = True
    fused: bool = True
    windows: Literal["kept", "skipped", "unknown"] = "kept"
    rotary: bool = True
    head_flops: int = 2
    norm: int = 4
    activation: int = 5
    activation_width: Literal["ffn", "hidden"] = "ffn"
    addends: int = 2
    traffic: Literal["open", "analyser"] = "open"
    on_chip: float | None = None

    def with_attention(self, kind: Attention) -> Convention:
        """The same with attention as one kernel or as three, which compute the masked half as well."""
        fused = kind == "fused"
        return replace(self, fused=fused, causal_half=self.causal_half and fused)

    def with_windowed_kernel(self) -> Convention:
        """The same with attention that skips what lies outside of a window."""
        return self if self.windows == "unknown" else replace(self, windows="skipped")

    @property
    def depends_on_chip(self) -> bool:
        """Whether the traffic of an operator depends on the chip it runs on."""
        return self.fused and self.traffic == "analyser"


COUNTED = Convention("counted", elementwise=False, causal_half=False, rotary=False)
DEFAULT = Convention("default")
LLM_VIEWER = Convention(
    "llm-viewer", causal_half=False, fused=False, rotary=False, head_flops=1, norm=7, activation=2,
    activation_width="hidden", addends=1, traffic="analyser", windows="unknown",
)  # fmt: skip
CONVENTIONS = {convention.name: convention for convention in (DEFAULT, LLM_VIEWER, COUNTED)}


_SHARDS: dict[str, Shard] = {
    "q": "column", "k": "keys", "v": "keys", "rotary": "inside", "attention": "inside", "qk": "inside",
    "softmax": "inside", "sv": "inside", "out": "row", "gate": "column", "up": "column", "activation": "inside",
    "down": "row",
}  # fmt: skip
"""How several accelerators share the operators of a language model's block; what is not here runs whole on each."""
_ROOTS = {"vision": "vision_tower", "projector": "multi_modal_projector", "text": "text_model"} | dict.fromkeys(
    ("prefill", "decode"), "model"
)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of one layer, for one input.

    Attributes:
        phase: Part of the pass.
        module: Where in the model: ``layers.3.attention``.
        name: Which operator.
        flops: Operations.
        weights: Numbers read of weights.
        read: Numbers read of activations and of keys and values.
        written: Numbers written, keys and values included.
        shape: Inputs and outputs of a linear layer, or of one expert.
        most: Numbers of weights that a batch reads at most, where each input chooses experts; ``None`` where all
            inputs read the same.
        stored: Bytes that its weights take, where they are quantised.
        path: Of the module in the model, where that is known.
        shard: How several accelerators share it.
        summed: Numbers that are sums over those accelerators once it ran.
    """

    phase: Phase
    module: str
    name: str
    flops: int
    weights: int
    read: int
    written: int
    shape: tuple[int, int] | None = None
    stored: int | None = None
    path: str = ""
    most: int | None = None
    shard: Shard = "whole"
    summed: int = 0

    def numbers(self, batch: int = 1) -> int:
        """Numbers moved for a batch: weights are read once, everything else once an input."""
        return self.weights_read(batch) + batch * (self.read + self.written)

    def weights_read(self, batch: int = 1) -> int:
        """Numbers read of weights: other inputs of a batch choose other experts, until all are read."""
        return self.weights if self.most is None else min(batch * self.weights, self.most)

    def weight_bytes(self, size: float, batch: int = 1) -> float:
        """Bytes of its weights, where a number that is not quantised takes ``size``."""
        read = self.weights_read(batch)
        return read * size if self.stored is None else self.stored * read / max(1, self.weights)

    def bytes_moved(self, size: float, batch: int = 1) -> float:
        """Bytes moved for a batch, as `numbers`."""
        return self.weight_bytes(size, batch) + batch * (self.read + self.written) * size

    @property
    def layer(self) -> str:
        """Name of its linear layer in a model, as Llama and LLaVA name theirs: ``model.layers.3.mlp.up_proj``."""
        if self.path:
            return self.path
        if self.module == "head":
            return self.name
        module, name = self.module.replace(".attention", ".self_attn"), self.name.replace("out", "o")
        return f"{_ROOTS[self.phase]}.{module}.{name}" + "_proj" * module.startswith("layers.")

    @property
    def place(self) -> int | None:
        """Of the language model's blocks the one that it is in."""
        words = self.module.split(".")
        return int(words[1]) if self.phase in ("prefill", "decode") and words[0] == "layers" else None

    def times(self, count: int) -> Operator:
        """The same for ``count`` inputs at once, which share the weights."""
        weights = self.weights_read(count)
        flops, read, written = (count * value for value in (self.flops, self.read, self.written))
        return replace(self, weights=weights, flops=flops, read=read, written=written)


def prefill(
    model: Architecture, execution: Execution, convention: Convention, *, head_positions: int = 1
) -> Iterator[Operator]:
    """The language model's pass over the prompt.

    Args:
        model: It has a language model.
        execution: What runs.
        convention: What is counted.
        head_positions: Positions of which the head makes logits: 1 for answering, all tokens for a bare forward pass.
    """
    language = _language(model)
    for work in execution.layers:
        place = _Place("prefill", f"layers.{work.layer}", convention, language.causal)
        pairs = None
        if convention.windows == "skipped" and language.stack.seen(work.layer, work.tokens) < work.tokens:
            pairs = language.stack.pairs(work.layer, work.tokens)
        yield from _layer(language.stack, work, work.tokens, place, pairs=pairs)
    yield from _around(language, execution, "prefill", convention)
    yield from _head(language.head, head_positions, "prefill", convention)


def decode_step(model: Architecture, execution: Execution, context: int, convention: Convention) -> Iterator[Operator]:
    """One more token, which attends to ``context`` tokens, itself included.

    A layer that dropped tokens in the prefill has that many fewer keys, and a window bounds them.
    """
    language = _language(model)
    longest = max((work.tokens for work in execution.layers), default=0)
    for work in execution.layers:
        place = _Place("decode", f"layers.{work.layer}", convention, causal=False)
        keys = context - (longest - work.tokens)
        if convention.windows != "unknown":
            keys = language.stack.seen(work.layer, keys)
        yield from _layer(language.stack, work, 1, place, keys=keys)
    yield from _around(language, Execution.full(language.stack, 1), "decode", convention)
    yield from _head(language.head, 1, "decode", convention)


def vision(model: Architecture, execution: Execution, convention: Convention) -> Iterator[Operator]:
    """The vision tower's pass over one image."""
    if model.vision is None:
        return
    stack = model.vision.stack
    patch = _Place("vision", "patch_embedding", convention, causal=False)
    yield patch.linear("patches", model.vision.patches, model.vision.patch_inputs, stack.hidden)
    for work in execution.layers:
        yield from _layer(stack, work, work.tokens, _Place("vision", f"layers.{work.layer}", convention, causal=False))
    if model.vision.pooling:
        yield from _pooling(stack, execution, _Place("vision", "pooling", convention, causal=False))


def _pooling(stack: Stack, execution: Execution, place: _Place) -> Iterator[Operator]:
    """One learnt query attends to all tokens; what it gathers goes through an MLP."""
    hidden, tokens = stack.hidden, max((work.tokens for work in execution.layers), default=0)
    yield place.linear("q", 1, hidden, hidden, "attention")
    yield place.linear("k", tokens, hidden, hidden, "attention")
    yield place.linear("v", tokens, hidden, hidden, "attention")
    yield from place.attention(stack, 1, tokens, stack.heads)
    yield place.linear("out", 1, hidden, hidden, "attention")
    yield from place.elementwise("norm", place.convention.norm * hidden, hidden, hidden, "norm")
    yield from _mlp(stack, LayerWork(0, 1, stack.heads), 1, place)
    yield from place.elementwise("add", hidden, place.convention.addends * hidden, hidden, "add")


def text_tower(model: Architecture, tokens: int, convention: Convention) -> Iterator[Operator]:
    """The pass of a dual encoder's tower of texts over one text; its head projects one token."""
    if model.text is None:
        return
    for work in Execution.full(model.text.stack, tokens).layers:
        place = _Place("text", f"layers.{work.layer}", convention, model.text.causal)
        yield from _layer(model.text.stack, work, tokens, place)
    place = _Place("text", "projection", convention, causal=False)
    for layer in model.text.head:
        yield place.linear(layer.name, 1, layer.inputs, layer.outputs)


def projector(model: Architecture, tokens: int, convention: Convention) -> Iterator[Operator]:
    """The projector, over the visual tokens that the language model will read."""
    place = _Place("projector", "projector", convention, causal=False)
    for layer in model.projector:
        yield place.linear(layer.name, tokens, layer.inputs, layer.outputs)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where operators stand and how they are counted."""

    phase: Phase
    module: str
    convention: Convention
    causal: bool

    def linear(
        self, name: str, tokens: int, inputs: int, outputs: int, part: str = "", moved: tuple[int, int] | None = None
    ) -> Operator:
        size, (read, written) = inputs * outputs, moved or (inputs, outputs)
        operator = self._operator(name, part, 2 * tokens * size, size, tokens * read, tokens * written)
        return replace(operator, shape=(inputs, outputs))

    def elementwise(self, name: str, flops: int, read: int, written: int, part: str = "") -> Iterator[Operator]:
        if self.convention.elementwise:
            yield self._operator(name, part, flops, 0, read, written)

    def attention(
        self, stack: Stack, queries: int, keys: int, heads: int, pairs: int | None = None
    ) -> Iterator[Operator]:
        """Softmax(q k') v, as one kernel or as three with their scores in memory; ``pairs`` if not of all."""
        rules, q = self.convention, heads * stack.head_dim
        kv = keys * self._read_heads(stack, heads) * stack.head_dim
        scores = (queries * keys if pairs is None else pairs) * heads
        if pairs is None:
            half = self.causal and rules.causal_half and queries == keys
            pairs = queries * (queries + 1) // 2 if half else queries * keys
        product, softmax = 2 * pairs * q, 5 * pairs * heads if rules.elementwise else 0
        if rules.fused:
            blocks, written = self._blocks(stack, queries), queries * q
            if rules.traffic == "analyser":
                written = 2 * scores
            moved = queries * q + 2 * blocks * kv
            yield self._operator("attention", "attention", 2 * product + softmax, 0, moved, written)
            return
        yield self._operator("qk", "attention", product, 0, queries * q + kv, scores)
        yield from self.elementwise("softmax", softmax, scores, scores, "attention")
        yield self._operator("sv", "attention", product, 0, scores + kv, queries * q)

    def _read_heads(self, stack: Stack, heads: int) -> int:
        """Heads whose keys and values attention reads."""
        if self.convention.traffic == "open":
            return _kv_heads(stack, heads)
        return stack.kv_heads if self.phase == "decode" else heads

    def _blocks(self, stack: Stack, queries: int) -> int:
        """How often a fused kernel reads keys and values."""
        if self.convention.on_chip is None or not self.convention.depends_on_chip:
            return 1
        return math.ceil(queries / min(math.ceil(self.convention.on_chip / stack.head_dim), stack.head_dim))

    def _operator(self, name: str, part: str, flops: int, weights: int, read: int, written: int) -> Operator:
        module = f"{self.module}.{part}" if part else self.module
        shard = _SHARDS.get(name, "whole") if self.phase in ("prefill", "decode") else "whole"
        summed = written if shard == "row" else 0
        return Operator(self.phase, module, name, flops, weights, read, written, shard=shard, summed=summed)


def _layer(
    stack: Stack, work: LayerWork, queries: int, place: _Place, keys: int | None = None, pairs: int | None = None
) -> Iterator[Operator]:
    """A block: norm, attention, addition, norm, MLP, addition."""
    rules, hidden = place.convention, stack.hidden
    q, kv = work.heads * stack.head_dim, _kv_heads(stack, work.heads) * stack.head_dim
    width = queries * hidden
    # What q, k, v and out are taken to move: of the residual stream, and of written keys and values.
    seen, kept = (hidden, kv) if rules.traffic == "open" else (hidden * work.heads // stack.heads, _kv_width(stack))
    yield from place.elementwise("norm_1", rules.norm * width, width, width, "norm_1")
    yield place.linear("q", queries, hidden, q, "attention", (seen, q))
    yield place.linear("k", queries, hidden, kv, "attention", (seen, kept))
    yield place.linear("v", queries, hidden, kv, "attention", (seen, kept))
    if rules.rotary and stack.rotary:
        turned = queries * (q + kv)
        yield from place.elementwise("rotary", 3 * turned, turned, turned, "attention")
    yield from place.attention(stack, queries, queries if keys is None else keys, work.heads, pairs)
    yield place.linear("out", queries, q, hidden, "attention", (q, seen))
    yield from place.elementwise("add_1", width, rules.addends * width, width, "add_1")
    passed = queries if work.passed is None else work.passed
    width = passed * hidden
    yield from place.elementwise("norm_2", rules.norm * width, width, width, "norm_2")
    yield from _mlp(stack, work, passed, place)
    yield from place.elementwise("add_2", width, rules.addends * width, width, "add_2")


def _mlp(stack: Stack, work: LayerWork, tokens: int, place: _Place) -> Iterator[Operator]:
    rules, hidden, channels = place.convention, stack.hidden, round(stack.ffn * work.mlp)
    share = round(hidden * work.mlp)
    seen = hidden if rules.traffic == "open" else share
    for name in ("gate", "up") if stack.gated else ("up",):
        yield place.linear(name, tokens, hidden, channels, "mlp", (seen, channels))
    acted = tokens * (channels if rules.activation_width == "ffn" else share)
    operands = 2 if stack.gated else 1
    yield from place.elementwise("activation", rules.activation * acted, operands * acted, acted, "mlp")
    yield place.linear("down", tokens, channels, hidden, "mlp", (channels, seen))


def _around(language: Language, execution: Execution, phase: Phase, convention: Convention) -> Iterator[Operator]:
    """What widens embeddings before the blocks and narrows states after them."""
    tokens = max((work.tokens for work in execution.layers), default=0)
    place = _Place(phase, "around", convention, causal=False)
    for layer in language.around:
        yield place.linear(layer.name, tokens, layer.inputs, layer.outputs)


def _head(head: tuple[Linear, ...], positions: int, phase: Phase, convention: Convention) -> Iterator[Operator]:
    for layer in head:
        size = layer.inputs * layer.outputs
        flops = convention.head_flops * positions * size
        read, written = positions * layer.inputs, positions * layer.outputs
        shape = (layer.inputs, layer.outputs)
        yield Operator(phase, "head", layer.name, flops, size, read, written, shape, shard="column")


def _kv_heads(stack: Stack, heads: int) -> int:
    """Key and value heads that a number of active query heads needs."""
    return -(-stack.kv_heads * heads // stack.heads)


def _kv_width(stack: Stack) -> int:
    return stack.kv_heads * stack.head_dim


def _language(model: Architecture) -> Language:
    if model.language is None:
        raise UserError(f"a {model.model_type} has no language model", todo="name a model that has one")
    return model.language
