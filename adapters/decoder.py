"""A decoder that can be steered: block by block, with explicit masks, positions, keys and values.

It runs the language model inside a ``...ForCausalLM`` or a model of images and text through prefill and
decoding, by the blocks' own modules. If no method acts, its numbers are those of the library, bit by bit.

A method acts between the blocks of the prefill (`Method`). It may

* drop tokens: ``state.keep(kept)``. Later blocks neither read them nor keep keys of them; positions stay;
* plan what runs of the blocks to come, row by row: ``state.planned([{20: SKIPPED, 21: Block(heads=(0, 3))}, ...])``.
  A skipped block has no keys and values; a restricted one multiplies with parts of its weights. Rows of equal plan
  run together. A plan holds for the whole answer;
* read the last token's attention in the block that has just run: ``state.attention()``; of it also the attention of
  other tokens and the keys, and the last token's attention in the block that runs next: `decoder_state.Reading`;
* put tokens of its own after the prompt (`Method.after_prompt`).

A method that keeps 10 visual tokens from block 2 on::

    class Ten:
        first = 2

        def after_prompt(self, batch):
            return None

        def before(self, index, state):
            if index != self.first:
                return state
            score = state.attention().mean(dim=1).masked_fill(~state.tokens.visual, -1)
            best = torch.zeros_like(state.tokens.visual).scatter(1, score.topk(10).indices, True)
            return state.keep(best | ~state.tokens.visual)

What runs below a method's ``first`` block depends on no method, so it can be shared: prompts that begin alike share
the blocks below it (`Decoder.start`, `PartialPrefill.batch`, `Decoder.extend`), and so do the budgets of one prompt.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..harness.errors import UserError
from .decoder_blocks import M_ROPE, SKIPPED, WHOLE, Block, Blocks, Gates, Part
from .decoder_reading import BlockReading
from .decoder_state import Cache, Kept, PartialPrefill, Plan, Prefix, SharedPrefixes, State, Tokens, stacked
from .kv_cache import AttentionContext, KVCache, RotaryEmbedding
from .lru import ByteLru
from .prompt_rows import deepened, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "SKIPPED", "WHOLE", "Block", "Blocks", "Cache", "Decoder", "Gates", "Method", "PartialPrefill", "Plan", "State",
    "Tokens",
]  # fmt: skip  # fmt: skip


class Method(Protocol):
    """Something that steers a decoder.

    Attributes:
        first: The first block before which it acts. The blocks below run whole, on all tokens.
    """

    first: int

    def after_prompt(self, batch: int) -> torch.Tensor | None:
        """Return embeddings [batch, k, d] of tokens to append to each prompt, or ``None`` for none.

        The first token of the answer is read from the last of them.
        """
        ...

    def before(self, index: int, state: State) -> State:
        """Return what block ``index`` shall be given; called in the prefill, not for the tokens of the answer.

        Args:
            index: From ``first`` to the number of blocks; with that number it is called after the last one.
            state: All tokens of the prompt, those of `after_prompt` included.
        """
        ...


class Decoder:
    """Runs a language model block by block.

    Args:
        model: A ``...ForCausalLM`` with a Llama, Mistral, Phi, Qwen2 or Qwen3 model, a Qwen2-VL, Qwen2.5-VL or
            Qwen3-VL, or a LLaVA or InternVL with one of those inside, in evaluation mode. It is not changed.

    Raises:
        UserError: The architecture or its attention implementation is not known here.
    """

    def __init__(self, model: Any) -> None:
        inner = getattr(model.model, "language_model", model.model)
        self.blocks = Blocks(inner)
        self.depth = len(self.blocks.layers)
        """Blocks."""
        self._embedding, self._rotary = inner.embed_tokens, inner.rotary_emb
        self._norm = inner.norm if hasattr(inner, "norm") else inner.final_layernorm
        self._head = model.lm_head
        self._windows = _windows(inner.config, self.depth)
        self.axes = 3 if inner.config.model_type in M_ROPE else 1
        """Numbers of a token's position."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings [..., d] of token ids."""
        embedded: torch.Tensor = self._embedding(ids)
        return embedded

    def shared_depth(self, methods: Sequence[Method]) -> int:
        """The number of blocks that run in the same way for all methods."""
        return min([self.depth, *(method.first for method in methods)])

    def start(  # noqa: PLR0913 - one parameter is one thing that tokens have
        self,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        deep: torch.Tensor | None = None,
        *,
        depth: int | None = None,
        only_last: bool = False,
    ) -> PartialPrefill:
        """Run the first tokens of prompts through the blocks below ``depth``.

        Args:
            embeddings: [B, n, d], padded on the left.
            real: bool [B, n], false at padding; default all real.
            visual: bool [B, n], true at tokens that come from an image; default none.
            positions: int64 [B, n, axes]; default one after the other.
            deep: [B, n, L, d], what is added to the tokens after each of the first L blocks; default nothing.
            depth: Blocks that run; default all.
            only_last: Where these are all blocks: leave out of the last one what only the head would read, and that
                reads the last token alone. No method can act after it then.
        """
        depth = self.depth if depth is None else depth
        real, visual = _flags(embeddings, real, visual)
        plans: tuple[Plan, ...] = tuple({} for _ in range(len(embeddings)))
        state = State(embeddings, self._tokens(None, real, visual, positions), plans, deep=deep)
        cache = Cache(self.depth, plans)
        return PartialPrefill(depth, cache, self._below(state, cache, depth, only_last))

    def extend(  # noqa: PLR0913 - as in `start`
        self,
        partial: PartialPrefill,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        deep: torch.Tensor | None = None,
        *,
        only_last: bool = False,
    ) -> PartialPrefill:
        """Continue a partial prefill with more tokens, through the same blocks; it is used up.

        Args:
            partial: B rows.
            embeddings: [B, n, d], padded on the left.
            real: As in `start`.
            visual: As in `start`.
            positions: As in `start`; default after the last token.
            deep: As in `start`.
            only_last: As in `start`.
        """
        before = partial.state
        real, visual = _flags(embeddings, real, visual)
        tokens = self._tokens(before.tokens, real, visual, positions)
        state = State(embeddings, tokens, before.plans, deep=deep)
        state = self._below(state, partial.cache, partial.depth, only_last)
        prefixes = before.prefixes and dataclasses.replace(before.prefixes, own=before.prefixes.own.joined(tokens))
        own, every = torch.cat([before.own, state.own], dim=1), before.tokens.joined(tokens)
        deep = joined([(before.deep, before.own.shape[1]), (deep, embeddings.shape[1])], 1)
        state = dataclasses.replace(state, own=own, tokens=every, prefixes=prefixes, deep=deep)
        return PartialPrefill(partial.depth, partial.cache, state)

    def finish(
        self, partial: PartialPrefill, methods: Sequence[Method] = (), memory: ByteLru | None = None
    ) -> tuple[torch.Tensor, Cache]:
        """Run the blocks that are left, with the methods between them; the partial prefill is used up.

        Args:
            partial: Where to continue.
            methods: None may act below its depth.
            memory: Keeps what blocks make of shared prefixes, by their names.

        Returns:
            Logits [B, vocabulary] of the first token of the answer, and the cache for `step`.
        """
        state, cache = self.run(partial, methods, memory)
        return self._logits(state.own), cache

    def run(
        self, partial: PartialPrefill, methods: Sequence[Method] = (), memory: ByteLru | None = None
    ) -> tuple[State, Cache]:
        """Do what `finish` does; return the state after the last block, of all tokens, and the cache for `follow`."""
        if partial.depth > self.shared_depth(methods):
            raise UserError(f"a method acts before block {partial.depth}, which has run", todo="start less deep")
        state, cache, passing = partial.state.beginning(), partial.cache, _Pass(self, partial.cache)
        sharing = _Sharing(self, ByteLru(0) if memory is None else memory)
        if not state.own.shape[1]:  # the prefixes are the whole prompts: their last token is needed in every row
            state = state.apart()
        cache.given = [state.tokens] * partial.depth  # those blocks ran whole, and costs are counted by block
        for index in range(
            partial.depth, self.depth + 1
        ):  # one more than there are blocks: methods also act after the last
            for method in methods:
                if index >= method.first:
                    state = method.before(index, state)
            if index < self.depth:
                cache.plans = state.plans
                cache.given.append(state.tokens)
                if state.gates:  # rows have gates of their own, so from here on they cannot share a prefix
                    state = state.apart()
                prefixes = state.prefixes and sharing.run(index, state.prefixes, cache)
                own = passing.run(index, state.own, state.prefixes.own if state.prefixes else state.tokens, state.gates)
                read = BlockReading(self, index, state, cache)
                own = deepened(own, state.deep, index)
                state = dataclasses.replace(state, own=own, attention=read, prefixes=prefixes)
        return state, cache

    def prefill(
        self,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
        methods: Sequence[Method] = (),
        positions: torch.Tensor | None = None,
        deep: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Cache]:
        """Run whole prompts; arguments as in `start`, results as in `finish`."""
        real, visual = _flags(embeddings, real, visual)
        tokens = self._tokens(None, real, visual, positions)
        for extra in self.extras(methods, len(embeddings)):
            deep = joined([(deep, embeddings.shape[1]), (None, extra.shape[1])], 1)
            embeddings = torch.cat([embeddings, extra.to(embeddings)], dim=1)
            tokens = tokens.joined(self._tokens(tokens, *_flags(extra, None, None)))
        depth = self.shared_depth(methods)
        started = self.start(embeddings, tokens.real, tokens.visual, tokens.positions, deep, depth=depth)
        return self.finish(started, methods)

    def extras(self, methods: Sequence[Method], batch: int) -> list[torch.Tensor]:
        """What the methods put after each prompt, each [batch, k, d]."""
        added = (method.after_prompt(batch) for method in methods)
        return [embeddings for embeddings in added if embeddings is not None]

    def step(self, ids: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Run one more token of each answer, as its prompt's plan says.

        Args:
            ids: int64 [B].
            cache: What `finish` or the last `step` left; the token is added.

        Returns:
            Logits [B, vocabulary] of the next token.
        """
        return self._logits(self.follow(self.embed(ids[:, None]), cache))

    def follow(self, embeddings: torch.Tensor, cache: Cache, gates: Mapping[int, Gates] | None = None) -> torch.Tensor:
        """Run tokens of each answer that are known already, as its prompt's plan says.

        Args:
            embeddings: [B, n, d], not padded.
            cache: As in `step`.
            gates: For training: those of the prompts, from the state that `run` returns.

        Returns:
            Output of the last block, [B, n, d].
        """
        hidden, passing = embeddings, _Pass(self, cache)
        for index in range(self.depth):
            hidden = passing.run(index, hidden, gates=gates)
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [..., vocabulary] of the tokens that come after those with these hidden states [..., d].

        Args:
            hidden: Output of the last block.
        """
        logits: torch.Tensor = self._head(self.normed(hidden))
        return logits

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return hidden states [..., d] after the norm that stands before the head."""
        normed: torch.Tensor = self._norm(hidden)
        return normed

    def _tokens(
        self, before: Tokens | None, real: torch.Tensor, visual: torch.Tensor, positions: torch.Tensor | None = None
    ) -> Tokens:
        """Tokens at the positions that they are given, or one after the other."""
        if positions is not None:
            return Tokens(real, positions, visual)
        return Tokens.following(before, real, visual, self.axes)

    def _below(self, state: State, cache: Cache, depth: int, only_last: bool) -> State:
        passing = _Pass(self, cache)
        for index in range(depth):
            own = passing.run(index, state.own, state.tokens, only_last=only_last and index == self.depth - 1)
            read = BlockReading(self, index, state, cache)
            state = dataclasses.replace(state, own=deepened(own, state.deep, index), attention=read)
        return state

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.logits(hidden[:, -1:])[:, 0]

    def rotary(self, hidden: torch.Tensor, tokens: Tokens) -> RotaryEmbedding:
        """Return the rotary embedding of tokens."""
        positions = tokens.positions if tokens.axes == 1 else tokens.positions.permute(2, 0, 1)
        return RotaryEmbedding(*self._rotary(hidden, position_ids=positions))

    def mask(self, new: Tokens, keys: Tokens, index: int, dtype: torch.dtype) -> torch.Tensor | None:
        """Return which keys the new tokens, the last of them, see: as the attention implementation wants it.

        ``None`` where its kernel knows: without padding, for a single token or a whole prompt.
        """
        window = self._windows[index]
        narrow = window is not None and keys.count >= window
        fused = self.blocks.attention == "sdpa"
        # Without a mask the fused kernel is faster, and what it assumes is right: one query sees all keys, and as many
        # queries as keys are causal. A window or padding needs a mask of its own.
        if fused and not narrow and not keys.padded and new.count in (1, keys.count):
            return None
        order = torch.ones(new.count, keys.count, dtype=torch.bool, device=keys.real.device)
        seen = order.tril(keys.count - new.count) & keys.real[:, None]
        if window is not None:
            seen = seen & (new.positions[:, :, None] - keys.positions[:, None] < window)
        seen = seen[:, None]
        if fused:
            return seen
        # Eager attention adds its mask; -inf would make NaN of a row of padding, which sees nothing.
        return torch.where(seen, torch.zeros((), dtype=dtype, device=seen.device), torch.finfo(dtype).min)

    def most(self, index: int, tokens: Tokens) -> int | None:
        """Tokens that a block has to keep for those to come: all, or those within its sliding window."""
        # The next token sees itself and the window - 1 before it; padding among them takes places without being seen.
        window = self._windows[index]
        return None if window is None else window - 1 + tokens.gaps

    def window(self, index: int) -> int | None:
        """Tokens that a block looks back on, itself included; ``None`` for all."""
        return self._windows[index]


class _Pass:
    """One pass of some tokens through blocks: masks and rotary embeddings are made once for blocks that are alike."""

    def __init__(self, decoder: Decoder, cache: Cache) -> None:
        self._decoder, self._cache = decoder, cache
        self._made: dict[tuple[Any, ...], Any] = {}

    def run(
        self,
        index: int,
        hidden: torch.Tensor,
        tokens: Tokens | None = None,
        gates: Mapping[int, Gates] | None = None,
        *,
        only_last: bool = False,
    ) -> torch.Tensor:
        """Run a block on [B, n, d], each row by its plan; without ``tokens`` they are the next of each row.

        With ``only_last``, which is for whole blocks, return the output of the last token of each, [B, 1, d].
        """
        parts = self._cache.parts(index)
        gate = (gates or {}).get(index)
        if gate is not None and [block for block, _ in parts] != [WHOLE]:
            raise UserError(f"block {index} has both gates and a plan", todo="give one of them")
        running = []
        for block, rows in parts:
            if block.skipped:
                continue
            chosen = None if len(parts) == 1 else self._once(("rows", tuple(rows)), _index, rows, hidden.device)
            given = hidden if chosen is None else hidden[chosen]
            context = self._context(index, block, given, chosen, tokens)
            if context is not None and only_last:
                mask = None if context.mask is None else context.mask[..., -1:, :]
                context = context._replace(mask=mask, only_last=True)
            running.append(Part(block, chosen, context))
        # In decoding the time goes into reading weights, so rows with different plans share one pass over them. In the
        # prefill it goes into arithmetic, so each part of a block runs for its own rows alone.
        if tokens is None and any(part.block != WHOLE for part in running):
            return self._decoder.blocks.follow(index, running, hidden)
        for block, chosen, context in running:
            out = self._decoder.blocks.run(index, block, hidden if chosen is None else hidden[chosen], context, gate)
            hidden = out if chosen is None else hidden.index_copy(0, chosen, out)
        return hidden

    def _context(
        self, index: int, block: Block, given: torch.Tensor, chosen: torch.Tensor | None, tokens: Tokens | None
    ) -> AttentionContext | None:
        """Return what a part of a block attends to, and note which tokens its KV cache will hold."""
        if block.heads == ():
            return None
        decoder = self._decoder
        kv_cache, before = self._cache.kept[index].get(block) or (KVCache(), None)
        new = tokens
        if new is None:
            if before is None:
                raise UserError("there is no prompt to go on from", todo="prefill first")
            new = self._once(("next", before), Tokens.next, before, given.shape[1])
        elif chosen is not None:
            new = self._once(("part", new, chosen), Tokens.rows, new, chosen)
        seen = new if before is None else self._once(("joined", before, new), Tokens.joined, before, new)
        kv_cache.most = decoder.most(index, seen)
        mask = self._once(("mask", new, seen, decoder.window(index)), decoder.mask, new, seen, index, given.dtype)
        rotary = self._once(("rotary", new), decoder.rotary, given, new)
        if kv_cache.most is not None and kv_cache.most < seen.count:
            seen = self._once(("latest", seen, kv_cache.most), Tokens.latest, seen, kv_cache.most)
        self._cache.kept[index][block] = (kv_cache, seen)
        return AttentionContext(kv_cache, mask, rotary)

    def _once(self, key: tuple[Any, ...], make: Callable[..., Any], *arguments: Any) -> Any:
        if key not in self._made:
            self._made[key] = make(*arguments)
        return self._made[key]


class _Sharing:
    """Runs the prefixes of a batch: each once through a part of a block, for all rows whose plans agree so far."""

    def __init__(self, decoder: Decoder, memory: ByteLru) -> None:
        self._decoder, self._memory = decoder, memory
        self._stacks: dict[tuple[Tokens, ...], Tokens] = {}

    def run(self, index: int, prefixes: SharedPrefixes, cache: Cache) -> SharedPrefixes:
        """Run a block as the cache's plans say, and put keys and values of each row's prefix into the cache."""
        after = list(prefixes.rows)
        for block, rows in cache.parts(index):
            if block.skipped:
                continue
            own = dict.fromkeys(prefixes.rows[row] for row in rows)
            ran = {prefix: self._through(index, block, prefix) for prefix in own}
            for row in rows:
                after[row] = ran[prefixes.rows[row]][0]
            if block.heads != ():
                cache.kept[index][block] = stacked([ran[prefixes.rows[row]][1][block] for row in rows], self._stacks)
        return dataclasses.replace(prefixes, rows=tuple(after))

    def _through(self, index: int, block: Block, prefix: Prefix) -> tuple[Prefix, Kept]:
        """Return the output of a part of a block for a prefix.

        The prefix runs alone: in a batch its last digits would depend on the other rows, and `memory` would return
        numbers that no run without it has.
        """
        name = (prefix.name, index, block)

        def make() -> tuple[Prefix, Kept]:
            cache = Cache(index + 1, [{index: block}])
            hidden = _Pass(self._decoder, cache).run(index, prefix.hidden, prefix.tokens)
            passed = deepened(hidden, prefix.deep, index)
            return Prefix(passed, prefix.tokens, name, prefix.deep), cache.kept[index]

        ran: tuple[Prefix, Kept] = self._memory.get(name, make, _bytes)
        return ran


def _bytes(ran: tuple[Prefix, Kept]) -> int:
    prefix, kept = ran
    return prefix.hidden.numel() * prefix.hidden.element_size() + sum(keys.bytes for keys, _ in kept.values())


def _windows(config: Any, depth: int) -> list[int | None]:
    """Of each block, how far it looks back: in Mistral all alike, in Qwen as its kind says."""
    window = getattr(config, "sliding_window", None)
    if config.model_type in M_ROPE and "sliding_attention" in getattr(config, "layer_types", ()):
        raise UserError("sliding windows of places in an image are not defined", todo="run it as hf-vlm")
    if config.model_type in ("qwen2", "qwen3"):
        return [window if kind == "sliding_attention" else None for kind in config.layer_types[:depth]]
    return [window if config.model_type == "mistral" else None] * depth


def _flags(
    embeddings: torch.Tensor, real: torch.Tensor | None, visual: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    shape, device = embeddings.shape[:2], embeddings.device
    real = torch.ones(shape, dtype=torch.bool, device=device) if real is None else real
    return real, torch.zeros(shape, dtype=torch.bool, device=device) if visual is None else visual


def _index(rows: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(rows, device=device)
