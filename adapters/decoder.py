"""A decoder that can be steered: block by block, with explicit masks, positions, keys and values.

It runs the language model inside a ``...ForCausalLM`` or a ``LlavaForConditionalGeneration`` through prefill and
decoding, by the blocks' own modules. If no method acts, its numbers are those of the library, bit by bit.

A method stands between the blocks of the prefill (`Method`). It may

* drop tokens: ``state.keep(kept)``. Later blocks neither read them nor keep keys of them; positions stay;
* plan what runs of the blocks to come, row by row: ``state.planned([{20: SKIPPED, 21: Block(heads=(0, 3))}, ...])``.
  A skipped block has no keys and values; a restricted one multiplies with parts of its weights. Rows of equal plan
  run together. A plan holds for the whole answer;
* read the last token's attention in the block that has just run: ``state.attention()``;
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
the blocks below it (`Decoder.start`, `Context.batch`, `Decoder.extend`), and so do the budgets of one prompt.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..harness.errors import UserError
from .decoder_blocks import SKIPPED, WHOLE, Block, Blocks, Gates, Part
from .decoder_keys import Keys, Reach, Turned
from .decoder_state import Beginning, Begun, Cache, Context, Kept, Plan, State, Tokens, stacked
from .lru import ByteLru

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "SKIPPED", "WHOLE", "Block", "Blocks", "Cache", "Context", "Decoder", "Gates", "Method", "Plan", "State", "Tokens",
]  # fmt: skip


class Method(Protocol):
    """Something that steers a decoder.

    Attributes:
        first: The first block before which it acts. The blocks below run whole, on all tokens.
    """

    first: int

    def after_prompt(self, batch: int) -> torch.Tensor | None:
        """Return embeddings [batch, k, d] of tokens that stand after each prompt, or ``None`` for no such tokens.

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
        model: A ``...ForCausalLM`` with a Llama, Mistral, Phi or Qwen2 model, or a ``LlavaForConditionalGeneration``
            with one of those inside, in evaluation mode. It is not changed.

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

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings [..., d] of token ids."""
        embedded: torch.Tensor = self._embedding(ids)
        return embedded

    def shared_depth(self, methods: Sequence[Method]) -> int:
        """Blocks that run alike whatever the methods do."""
        return min([self.depth, *(method.first for method in methods)])

    def start(
        self,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
        *,
        depth: int | None = None,
    ) -> Context:
        """Run the first tokens of prompts through the blocks below ``depth``.

        Args:
            embeddings: [B, n, d], padded on the left.
            real: bool [B, n], false at padding; default all real.
            visual: bool [B, n], true at tokens that come from an image; default none.
            depth: Blocks that run; default all.
        """
        depth = self.depth if depth is None else depth
        real, visual = _flags(embeddings, real, visual)
        plans: tuple[Plan, ...] = tuple({} for _ in range(len(embeddings)))
        state = State(embeddings, Tokens.following(None, real, visual), plans)
        cache = Cache(self.depth, plans)
        return Context(depth, cache, self._below(state, cache, depth))

    def extend(
        self,
        context: Context,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
    ) -> Context:
        """Run more tokens after those of a context, through the same blocks; the context is used up.

        Args:
            context: Of B rows.
            embeddings: [B, n, d], padded on the left.
            real: As in `start`.
            visual: As in `start`.
        """
        before = context.state
        real, visual = _flags(embeddings, real, visual)
        tokens = Tokens.following(before.tokens, real, visual)
        state = self._below(State(embeddings, tokens, before.plans), context.cache, context.depth)
        begun = before.begun and dataclasses.replace(before.begun, own=before.begun.own.joined(tokens))
        own, every = torch.cat([before.own, state.own], dim=1), before.tokens.joined(tokens)
        return Context(context.depth, context.cache, dataclasses.replace(state, own=own, tokens=every, begun=begun))

    def finish(
        self, context: Context, methods: Sequence[Method] = (), memory: ByteLru | None = None
    ) -> tuple[torch.Tensor, Cache]:
        """Run the blocks that are left, with the methods between them; the context is used up.

        Args:
            context: Where to go on.
            methods: None acts below the context's depth.
            memory: Where to look for what blocks make of shared beginnings, and to keep it, by their names.

        Returns:
            Logits [B, vocabulary] of the first token of the answer, and the cache for `step`.
        """
        state, cache = self.run(context, methods, memory)
        return self._logits(state.own), cache

    def run(
        self, context: Context, methods: Sequence[Method] = (), memory: ByteLru | None = None
    ) -> tuple[State, Cache]:
        """Do what `finish` does; return what the last block hands on for all tokens, and the cache for `follow`."""
        if context.depth > self.shared_depth(methods):
            raise UserError(f"a method acts before block {context.depth}, which has run", todo="start less deep")
        state, cache, passing = context.state, context.cache, _Pass(self, context.cache)
        sharing = _Sharing(self, ByteLru(0) if memory is None else memory)
        if not state.own.shape[1]:
            state = state.apart()
        cache.given = [state.tokens] * context.depth
        for index in range(context.depth, self.depth + 1):
            for method in methods:
                if index >= method.first:
                    state = method.before(index, state)
            if index < self.depth:
                cache.plans = state.plans
                cache.given.append(state.tokens)
                if state.gates:
                    state = state.apart()
                begun = state.begun and sharing.run(index, state.begun, cache)
                own = passing.run(index, state.own, state.begun.own if state.begun else state.tokens, state.gates)
                read = _AttentionRow(self, index, state, cache)
                state = dataclasses.replace(state, own=own, attention=read, begun=begun)
        return state, cache

    def prefill(
        self,
        embeddings: torch.Tensor,
        real: torch.Tensor | None = None,
        visual: torch.Tensor | None = None,
        methods: Sequence[Method] = (),
    ) -> tuple[torch.Tensor, Cache]:
        """Run whole prompts; arguments as in `start`, results as in `finish`."""
        real, visual = _flags(embeddings, real, visual)
        for extra in self.extras(methods, len(embeddings)):
            added, no = _flags(extra, None, None)
            embeddings = torch.cat([embeddings, extra.to(embeddings)], dim=1)
            real, visual = torch.cat([real, added], dim=1), torch.cat([visual, no], dim=1)
        return self.finish(self.start(embeddings, real, visual, depth=self.shared_depth(methods)), methods)

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
            What the last block hands on, [B, n, d].
        """
        hidden, passing = embeddings, _Pass(self, cache)
        for index in range(self.depth):
            hidden = passing.run(index, hidden, gates=gates)
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits [..., vocabulary] of the tokens that come after those with these hidden states [..., d].

        Args:
            hidden: What the last block hands on.
        """
        logits: torch.Tensor = self._head(self._norm(hidden))
        return logits

    def _below(self, state: State, cache: Cache, depth: int) -> State:
        passing = _Pass(self, cache)
        for index in range(depth):
            own = passing.run(index, state.own, state.tokens)
            read = _AttentionRow(self, index, state, cache)
            state = dataclasses.replace(state, own=own, attention=read)
        return state

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.logits(hidden[:, -1:])[:, 0]

    def turned(self, hidden: torch.Tensor, tokens: Tokens) -> Turned:
        """Return the rotary embedding of tokens."""
        return Turned(*self._rotary(hidden, position_ids=tokens.positions))

    def mask(self, new: Tokens, keys: Tokens, index: int, dtype: torch.dtype) -> torch.Tensor | None:
        """Return which keys the new tokens, the last of them, see: as the attention implementation wants it.

        ``None`` where its kernel knows: without padding, for a single token or a whole prompt.
        """
        window = self._windows[index]
        narrow = window is not None and keys.count >= window
        fused = self.blocks.attention == "sdpa"
        if fused and not narrow and not keys.padded and new.count in (1, keys.count):
            return None
        order = torch.ones(new.count, keys.count, dtype=torch.bool, device=keys.real.device)
        seen = order.tril(keys.count - new.count) & keys.real[:, None]
        if window is not None:
            seen = seen & (new.positions[:, :, None] - keys.positions[:, None] < window)
        seen = seen[:, None]
        if fused:
            return seen
        return torch.where(seen, torch.zeros((), dtype=dtype, device=seen.device), torch.finfo(dtype).min)

    def most(self, index: int, tokens: Tokens) -> int | None:
        """Tokens that a block has to keep for those to come: all, or those within its sliding window."""
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
    ) -> torch.Tensor:
        """Run a block on [B, n, d], each row by its plan; without ``tokens`` they are the next of each row."""
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
            running.append(Part(block, chosen, self._reach(index, block, given, chosen, tokens)))
        if tokens is None and any(part.block != WHOLE for part in running):
            return self._decoder.blocks.follow(index, running, hidden)
        for block, chosen, reach in running:
            out = self._decoder.blocks.run(index, block, hidden if chosen is None else hidden[chosen], reach, gate)
            hidden = out if chosen is None else hidden.index_copy(0, chosen, out)
        return hidden

    def _reach(
        self, index: int, block: Block, given: torch.Tensor, chosen: torch.Tensor | None, tokens: Tokens | None
    ) -> Reach | None:
        """What attention of a part of a block reaches; which tokens it keeps is noted, as it adds them."""
        if block.heads == ():
            return None
        decoder = self._decoder
        keys, before = self._cache.kept[index].get(block) or (Keys(), None)
        new = tokens
        if new is None:
            if before is None:
                raise UserError("there is no prompt to go on from", todo="prefill first")
            new = self._once(("next", before), Tokens.next, before, given.shape[1])
        elif chosen is not None:
            new = self._once(("part", new, chosen), Tokens.rows, new, chosen)
        seen = new if before is None else self._once(("joined", before, new), Tokens.joined, before, new)
        keys.most = decoder.most(index, seen)
        mask = self._once(("mask", new, seen, decoder.window(index)), decoder.mask, new, seen, index, given.dtype)
        turned = self._once(("turned", new), decoder.turned, given, new)
        if keys.most is not None and keys.most < seen.count:
            seen = self._once(("latest", seen, keys.most), Tokens.latest, seen, keys.most)
        self._cache.kept[index][block] = (keys, seen)
        return Reach(keys, mask, turned)

    def _once(self, key: tuple[Any, ...], make: Callable[..., Any], *arguments: Any) -> Any:
        if key not in self._made:
            self._made[key] = make(*arguments)
        return self._made[key]


class _Sharing:
    """Runs the beginnings of a batch: each once through a part of a block, for all rows whose plans agree so far."""

    def __init__(self, decoder: Decoder, memory: ByteLru) -> None:
        self._decoder, self._memory = decoder, memory
        self._stacks: dict[tuple[Tokens, ...], Tokens] = {}

    def run(self, index: int, begun: Begun, cache: Cache) -> Begun:
        """Run a block as the cache's plans say, and put keys and values of each row's beginning into the cache."""
        after = list(begun.rows)
        for block, rows in cache.parts(index):
            if block.skipped:
                continue
            own = dict.fromkeys(begun.rows[row] for row in rows)
            ran = {beginning: self._through(index, block, beginning) for beginning in own}
            for row in rows:
                after[row] = ran[begun.rows[row]][0]
            if block.heads != ():
                cache.kept[index][block] = stacked([ran[begun.rows[row]][1][block] for row in rows], self._stacks)
        return dataclasses.replace(begun, rows=tuple(after))

    def _through(self, index: int, block: Block, beginning: Beginning) -> tuple[Beginning, Kept]:
        """Return what a part of a block makes of a beginning, by itself, so that it depends on no batch."""
        name = (beginning.name, index, block)

        def make() -> tuple[Beginning, Kept]:
            cache = Cache(index + 1, [{index: block}])
            hidden = _Pass(self._decoder, cache).run(index, beginning.hidden, beginning.tokens)
            return Beginning(hidden, beginning.tokens, name), cache.kept[index]

        ran: tuple[Beginning, Kept] = self._memory.get(name, make, _bytes)
        return ran


def _bytes(ran: tuple[Beginning, Kept]) -> int:
    beginning, kept = ran
    return beginning.hidden.numel() * beginning.hidden.element_size() + sum(keys.bytes for keys, _ in kept.values())


class _AttentionRow:
    """Reads the last token's attention in a block that has run."""

    def __init__(self, decoder: Decoder, index: int, given: State, cache: Cache) -> None:
        self._decoder, self._index, self._cache = decoder, index, cache
        self._last, self._new = given.own[:, -1:], given.tokens.latest(1)

    def __call__(self) -> torch.Tensor:
        """Return probabilities, float32 [B, heads, n], over the tokens that the block kept."""
        decoder, index = self._decoder, self._index
        if [block for block, _ in self._cache.parts(index)] != [WHOLE]:
            raise UserError(
                f"block {index} did not run whole in every row, so there is no attention of it to be read",
                todo="let the method that reads attention act before the one that plans",
            )
        keys, tokens = self._cache.kept[index][WHOLE]
        if keys.most is not None and tokens.count >= keys.most:
            raise UserError(
                f"block {index} has forgotten tokens that left its sliding window",
                todo="choose a block without one, or a shorter prompt",
            )
        scores = decoder.blocks.last_row(index, self._last, keys, decoder.turned(self._last, self._new))
        return scores.float().masked_fill(~tokens.real[:, None], -torch.inf).softmax(dim=-1)


def _windows(config: Any, depth: int) -> list[int | None]:
    """Of each block, how far it looks back: in Mistral all alike, in Qwen2 as its kind says."""
    window = getattr(config, "sliding_window", None)
    if config.model_type == "qwen2":
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
