"""The work of answering one prompt: which architecture runs on how many tokens, and what of it is switched on.

Each method turns it into less (`harness.methods.Method.leaves`), so a method has a cost before it exists as a model.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UserError
from ..execution import Execution, PromptSize
from .closed_form import Operator, decode_step, prefill, projector, text_tower, vision
from .parallel import ONE, Cards
from .traced_work import TracedWork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..transformer import Architecture, Stack
    from .closed_form import Convention, Phase
    from .traced_work import Traced

_CACHED = ("k", "v")
"""Operators whose result is kept for the tokens to come."""


class Beside(NamedTuple):
    """FLOPs of what methods put beside the weights, such as a LoRA that is not merged.

    Attributes:
        vision: In the vision tower and the projector.
        language: In the language model and its head, up to the first answer token.
        following: For each further token.
    """

    vision: int = 0
    language: int = 0
    following: int = 0


_NOTHING = Beside()


class Memory(NamedTuple):
    """Bytes that a prefill of the language model needs on one card.

    Attributes:
        weights: Of all that some prompt may run.
        cached: Keys and values, within windows; latents; states.
        activations: What the largest block writes beside them.
    """

    weights: int = 0
    cached: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """All three."""
        return sum(self)


@dataclass(frozen=True, slots=True)
class Work:
    """One prompt's work.

    Attributes:
        model: The architecture.
        text_tokens: Tokens of the prompt that are not visual.
        visual_tokens: Visual tokens that enter the language model, of all images.
        tower: What runs of the vision tower for each image; ``None`` for an architecture or a prompt without one.
        execution: What runs of the language model; ``None`` for an architecture without one.
        always: How many of the language model's first blocks run whole, whatever the prompt; ``None`` for all.
        resident: How many of the language model's first blocks there are weights of; ``None`` for all.
        added: FLOPs of what methods compute themselves, such as a scheduler.
        projected: The share of the images' visual tokens that selectors leave to the projector.
        beside: FLOPs of what methods put beside the weights.
        traced: Where the operators of a model without a closed form come from; ``model`` is then an outline, which
            tells methods how many layers and heads there are.
        own_weights: Whether a method brings weights of its own for the language model.
        assumed: What was assumed where the work depends on the image or the prompt, one sentence each.
        images: Of the prompt, all of one size.
    """

    model: Architecture
    text_tokens: int
    visual_tokens: int
    tower: Execution | None
    execution: Execution | None
    always: int | None = None
    resident: int | None = None
    added: int = 0
    chosen: int = 0
    projected: Fraction = Fraction(1)
    beside: Beside = _NOTHING
    own_weights: bool = False
    assumed: tuple[str, ...] = ()
    traced: Traced | None = None
    images: int = 1

    @classmethod
    def whole(cls, model: Architecture, *, text_tokens: int, visual_tokens: int | None = None, images: int = 1) -> Work:
        """Everything runs.

        Args:
            model: The architecture.
            text_tokens: Tokens of the prompt that are not visual.
            visual_tokens: Visual tokens that the language model reads; default all that the images give.
            images: Of the prompt.

        Raises:
            UserError: A count is negative, there is nothing to run on, or more visual tokens than the images give.
        """
        most = model.visual_tokens * images
        given = most if visual_tokens is None else visual_tokens
        for name, count in (("text tokens", text_tokens), ("visual tokens", given), ("images", images)):
            if count < 0:
                raise UserError(f"{count} {name} are less than none", todo="give 0 or more")
        if given > most:
            seen = "an image" if images == 1 else f"{images} images"
            raise UserError(
                f"{given} visual tokens are more than the {most} of {seen} in a {model.model_type}",
                todo="give fewer, or leave them out",
            )
        tower = None
        if model.vision is not None and images:
            tower = Execution.full(model.vision.stack, model.vision.patches + model.vision.extra_tokens)
        assumed = () if model.quantisation is None else (str(model.quantisation),)
        if model.language is None:
            texts = text_tokens if model.text else 0
            return cls(model, texts, 0, tower, None, images=images, assumed=assumed)
        execution = Execution.full(model.language.stack, text_tokens + given)
        return cls(model, text_tokens, given, tower, execution, images=images, assumed=assumed)

    @property
    def size(self) -> PromptSize:
        """What the language model reads of the prompt."""
        return PromptSize(self.language[0], self.text_tokens, self.visual_tokens)

    @property
    def thinned(self) -> Execution | None:
        """What runs of the vision tower, if tokens of an image become fewer inside it."""
        return self.tower if self.tower and any(layer.passed is not None for layer in self.tower.layers) else None

    @property
    def tokens(self) -> int:
        """Tokens that enter the language model."""
        return self.text_tokens + self.visual_tokens

    @property
    def language(self) -> tuple[Stack, Execution]:
        """The language model's blocks and what of them runs; a `UserError` if there is none."""
        if self.model.language is None or self.execution is None:
            raise UserError(f"a {self.model.model_type} has no language model", todo="leave the method out")
        return self.model.language.stack, self.execution

    @property
    def image_tokens(self) -> int:
        """Visual tokens of each image."""
        return self.visual_tokens // max(1, self.images)

    def states(self, phase: str) -> list[int]:
        """Numbers that each block that runs hands on to the next one, in the prefill or for a further token."""
        if self.execution is None or phase not in ("prefill", "token"):
            return []
        hidden = self.language[0].hidden
        return [hidden * (layer.tokens if phase == "prefill" else 1) for layer in self.execution.layers]

    def with_visual_tokens(self, count: int) -> Work:
        """The same prompt with other visual tokens, before anything of the language model is switched off."""
        shorter = Work.whole(self.model, text_tokens=self.text_tokens, visual_tokens=count, images=self.images)
        vision, read = self.model.vision, self.visual_tokens
        if vision is not None and vision.views and self.projected == 1:  # padding is projected, newlines are not
            read = self.images * vision.tiles * vision.patches
        projected = self.projected * Fraction(count, read)
        return dataclasses.replace(self, visual_tokens=count, projected=projected, execution=shorter.execution)

    def with_one_more_token(self) -> Work:
        """The same prompt with one more token, which every layer that runs reads."""
        longer = self.execution and self.execution.drop_tokens(-1, before=0)
        return dataclasses.replace(self, text_tokens=self.text_tokens + 1, execution=longer)

    def with_execution(self, execution: Execution, *, always: int | None = None) -> Work:
        """The same prompt with something else of the language model switched on, the first blocks always."""
        return dataclasses.replace(self, execution=execution, always=self.always if always is None else always)

    def with_first_layers(self, count: int) -> Work:
        """The same prompt on a model whose language model has lost all but its first ``count`` blocks."""
        return dataclasses.replace(self, execution=self.language[1].keep_layers(count), resident=count)

    def with_tower(self, execution: Execution) -> Work:
        """The same prompt with something else of the vision tower switched on."""
        return dataclasses.replace(self, tower=execution)

    def adding(self, flops: int) -> Work:
        """The same prompt with further FLOPs of a method's own."""
        return dataclasses.replace(self, added=self.added + flops)

    def selecting(self, flops: int) -> Work:
        """The same prompt with the FLOPs that choosing visual tokens takes, between tower and projector."""
        return dataclasses.replace(self, chosen=self.chosen + flops)

    def with_beside(self, flops: Beside) -> Work:
        """The same prompt with layers beside those of the model."""
        return dataclasses.replace(self, beside=flops)

    def with_own_weights(self) -> Work:
        """The same prompt, answered by a language model with a method's own weights."""
        return dataclasses.replace(self, own_weights=True)

    def assuming(self, what: str) -> Work:
        """The same prompt with a sentence that says what was assumed about it."""
        return dataclasses.replace(self, assumed=(*self.assumed, what))

    def operators(self, convention: Convention) -> Iterator[Operator]:
        """All operators up to the first answer token: vision tower, projector, prefill, one position of the head."""
        yield from map(self._stored, self._operators(convention))

    def _operators(self, convention: Convention) -> Iterator[Operator]:
        own = self._from_modules(convention)
        if own is not None:
            yield from own.of_images()
            yield from self._between()
            yield from own.of_prompt()
            if self.execution is not None:
                yield from of_methods("prefill", "adapter", self.beside.language)
                yield from of_methods("prefill", "added", self.added)
            return
        if self.tower is not None:
            yield from (operator.times(self.images) for operator in vision(self.model, self.tower, convention))
            yield from self._between()
        yield from projector(self.model, self.visual_tokens if self.model.language else self.images, convention)
        if self.model.text is not None:
            yield from text_tower(self.model, self.text_tokens, convention)
        if self.execution is not None:
            yield from prefill(self.model, self.execution, convention)
            yield from of_methods("prefill", "adapter", self.beside.language)
            yield from of_methods("prefill", "added", self.added)

    def _between(self) -> Iterator[Operator]:
        """What methods compute of the images."""
        yield from of_methods("vision", "adapter", self.beside.vision)
        yield from of_methods("vision", "selector", self.chosen)

    def decode(self, convention: Convention) -> Iterator[Operator]:
        """The operators of the second answer token; of an encoder, which writes none, nothing."""
        if self.execution is not None and self._writes:
            own = self._from_modules(convention)
            following = own.of_token() if own else decode_step(self.model, self.execution, self.tokens + 1, convention)
            yield from map(self._stored, following)
            yield from of_methods("decode", "adapter", self.beside.following)

    def memory(self, convention: Convention, bytes_per_number: int, batch: int = 1, cards: Cards = ONE) -> Memory:
        """Bytes that the language model's prefill needs, of several cards on the fullest one.

        Weights are those of all blocks that some prompt may run, and, but for the analyser, of the head; the embedding
        table is left out, and what a kernel keeps for itself. The analyser knows the blocks of this prompt alone, and
        takes the last one's activations.
        """
        if self.execution is None:
            return Memory()
        own = self._from_modules(convention)
        if own is not None:
            return self._memory_of_modules(own, bytes_per_number, batch, cards)
        cards.check(self.language[0])
        kept = self.execution
        if convention.traffic == "open":
            kept = Execution.full(self.language[0], 1)
            kept = kept.keep_layers(self.resident or len(kept.layers))
        there, running = (self._by_stage(one, kept, convention, cards) for one in (kept, self.execution))
        found = (self._kept(*both, convention, bytes_per_number, batch) for both in zip(there, running, strict=True))
        return max(found, key=lambda memory: memory.total)

    def _by_stage(
        self, execution: Execution, kept: Execution, convention: Convention, cards: Cards
    ) -> list[list[Operator]]:
        """What one card of each stage runs in a prefill, where ``kept`` are the blocks that stages are made of."""
        starts = cards.boundaries(len(kept.layers))
        # What is in no block, such as the head, stands on the last stage.
        stage = {f"layers.{w.layer}": sum(n >= start for start in starts) for n, w in enumerate(kept.layers)}
        stages: list[list[Operator]] = [[] for _ in range(cards.pipeline)]
        for operator in prefill(self.model, execution, dataclasses.replace(convention, elementwise=True)):
            own = stages[stage.get(operator.module.rpartition(".")[0], -1)]
            own.append(cards.share(self._stored(operator), self.language[0]))
        return stages

    @property
    def _writes(self) -> bool:
        """Whether the language model goes on after the prompt."""
        return self.model.language is not None and self.model.language.causal

    def _from_modules(self, convention: Convention) -> TracedWork | None:
        """What of its modules' operators is left, for a model without a closed form."""
        if self.traced is None:
            return None
        stack = self.model.language.stack if self.model.language else None
        return TracedWork(
            self.traced, self.tower, self.execution, self.images, self.tokens, stack,
            skips=convention.windows == "skipped", projected=self.projected,
        )  # fmt: skip

    def _memory_of_modules(self, own: TracedWork, bytes_per_number: int, batch: int, cards: Cards) -> Memory:
        """Bytes of weights, of what a prompt leaves for the tokens to come, and of the largest layer's results."""
        stack, execution = self.language
        cards.check(stack)
        starts = cards.boundaries(stack.layers)
        kept, written = [0] * cards.pipeline, [0] * cards.pipeline
        for layer in execution.layers:
            stage = bisect(starts, layer.layer)
            kept[stage] += own.kept(layer, cards)
            written[stage] = max(written[stage], own.written(layer, cards))
        weights, size = self._weights_of_modules(own, bytes_per_number, cards), bytes_per_number * batch
        stages = zip(weights, kept, written, strict=True)
        return max((Memory(w, size * k, size * a) for w, k, a in stages), key=lambda memory: memory.total)

    def _weights_of_modules(self, own: TracedWork, bytes_per_number: int, cards: Cards) -> list[int]:
        """Bytes of weights on a card of each stage; what is in no layer but the head stands on the first one."""
        # All experts stay in memory, and all layers, whatever a prompt runs of them.
        whole = [*map(self._stored, own.of_whole_prompt())] if self.model.quantisation or cards.count > 1 else []
        if cards.tensor > 1 and not any(operator.shard == "row" for operator in whole):
            raise UserError(
                f"how the blocks of a {self.model.model_type} are shared is not known here",
                where="--tensor-parallel",
                todo="leave it out, or give --pipeline-parallel",
            )
        stack, _ = self.language
        starts, bytes_of, seen = cards.boundaries(stack.layers), [0] * cards.pipeline, 0
        for operator in whole:
            share = cards.share(operator, stack)
            every, place = share.most or share.weights, operator.place
            stage = -1 if operator.module == "head" else 0 if place is None else bisect(starts, place)
            seen += operator.most or operator.weights
            if share.stored is None:
                bytes_of[stage] += every * bytes_per_number
            else:
                bytes_of[stage] += share.stored * every // max(1, share.weights)
        table = own.traced.table
        bytes_of[0] += (own.traced.parameters - seen - table + math.ceil(table / cards.tensor)) * bytes_per_number
        return bytes_of

    def _kept(
        self,
        resident: list[Operator],
        running: list[Operator],
        convention: Convention,
        bytes_per_number: int,
        batch: int,
    ) -> Memory:
        """Bytes that one card keeps: weights of what is there, keys and values and activations of what runs."""
        analyser = convention.traffic == "analyser"
        weights = sum(o.weight_bytes(bytes_per_number) for o in resident if o.module != "head" or not analyser)
        tokens = {f"layers.{work.layer}": work for work in self.execution.layers} if self.execution else {}
        cached, blocks = 0, dict[str, int]()
        for operator in running:
            block = operator.module.rpartition(".")[0]
            own = 0
            if operator.name in _CACHED and self._writes:
                work, own = tokens[block], operator.written
                if convention.windows != "unknown":
                    own = own // work.tokens * self.language[0].seen(work.layer, work.tokens)
                cached += own
            if operator.module != "head":
                blocks[block] = blocks.get(block, 0) + operator.written - own
        sizes = [*blocks.values()] or [0]
        activations = sizes[-1] if analyser else max(sizes)
        size = bytes_per_number * batch
        return Memory(round(weights), size * cached, size * activations)

    def _stored(self, operator: Operator) -> Operator:
        """An operator with the bytes that its weights take, if they are quantised."""
        how = self.model.quantisation
        if how is None or operator.shape is None or not how.covers(operator.layer):
            return operator
        matrices = operator.weights // math.prod(operator.shape)
        return dataclasses.replace(operator, stored=matrices * how.bytes_of(*operator.shape))


def of_methods(phase: Phase, name: str, flops: int) -> Iterator[Operator]:
    """What methods compute in one phase, if anything."""
    if flops:
        yield Operator(phase, "methods", name, flops, 0, 0, 0)
