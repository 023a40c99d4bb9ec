"""LLaVA, Qwen-VL and InternVL of the transformers library, by path or hub id, through a decoder that can be steered.

What an answer costs is counted and timed on the same pass that makes it: vision tower, projector, decoder, head.
"""

from __future__ import annotations

import copy
import functools
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from ..harness.abilities import HasModule
from ..harness.contracts import Answer, Prompt
from ..harness.errors import UserError
from . import live_adapters
from .families import family_of
from .family import Seen
from .lru import ByteLru
from .multimodal_checkpoint import Checkpoint, fingerprint, load, with_parameters
from .network_state import state_of
from .placement import device_of
from .prefill_module import prefill_module
from .prefill_stages import staged
from .sight import Sight
from .tower_memory import TowerMemory
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    import torch

    from ..harness.abilities import Mark
    from ..harness.figures import AttentionMaps, KeptTokens
    from ..harness.prefill_cost import PrefillCost
    from ..harness.transformer import Architecture
    from .decoder import Cache, Decoder, Method, PartialPrefill
    from .family import Family
    from .prompt_rows import Row

    Selector = Callable[..., Sequence[torch.Tensor]]
    """(LLaVA model, pixels [images, 3, h, w]) -> for each image, features [n, width] that the projector is given.
    One that ``asks`` is given the questions besides, [images]."""


class HFMultimodal:
    """A LLaVA: CLIP or SigLIP tower, projector, and a Llama (Vicuna), Mistral, Phi or Qwen model.

    `decoding` says how its answers are decoded. What images become is the family's: see `family_llava` and its
    neighbours.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``llava-hf/llava-1.5-7b-hf``.
        revision: Branch, tag or commit of a hub id.
        conversation: ``vicuna_v1`` (LLaVA-1.5's, with its system sentence), ``plain``, ``chat-template`` or ``auto``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs, unless it is split.
        device_map: Split the model over devices by accelerate: ``auto``, ``balanced``, ``balanced_low_0``,
            ``sequential``, or a JSON file: module -> number of a GPU, ``cpu`` or ``disk``.
        offload_folder: Where weights go that are on the disk.
        attention: ``sdpa`` or ``eager``.
        decoding: ``checkpoint``: greedy as its generation_config asks; ``bare``: by the logits as they are.
        system: A system prompt; empty for the conversation's own.
        share: Compute an image's features once, and what the decoder makes of the text before it and of the image
            itself, where the prompts' digests tell that it is the same image, and in blocks that are planned, where the
            plans agree so far. Answers are the same without it.
        memory: Bytes that shared work may take; as many again, in the processor's memory, for what the tower made of
            images, and in a sweep over budgets for what blocks make of prefixes.

    Attributes:
        module: The whole prefill as a torch module: takes what `prepare` returns, returns logits [n, vocabulary].
        decoder: Runs the language model.
        methods: What steers it.
        convention: How FLOPs are counted.
        notes: What a reader of its answers must know.

    Raises:
        UserError: The checkpoint cannot be found, is of another kind or is not whole, or an argument is unknown.
    """

    blueprint = staticmethod(blueprint_of)
    kinds: ClassVar[tuple[str, ...]] = ("llava",)
    """Model types that it takes."""

    def __init__(  # noqa: PLR0913 - one parameter is one option
        self,
        path: str,
        *,
        revision: str | None = None,
        conversation: str = "auto",
        dtype: str = "float32",
        device: str = "cpu",
        device_map: str = "",
        offload_folder: str = "",
        attention: str = "sdpa",
        decoding: str = "checkpoint",
        system: str = "",
        share: bool = True,
        memory: int = 2**30,
    ) -> None:
        options = {"conversation": conversation, "dtype": dtype, "attention": attention}
        options |= {"decoding": decoding, "system": system}
        options |= {"device_map": device_map, "offload_folder": offload_folder}
        self._loaded: Checkpoint = load(path, revision, device, options, kinds=self.kinds)
        from .decoder import Decoder

        self.decoder: Decoder = Decoder(self._loaded.model)
        self.methods: tuple[Method, ...] = ()
        self.convention: Mapping[str, str] = {"phase": "prefill", "counter": "closed-form", "attention": attention}
        self.notes = self._loaded.notes
        self._changed_weights = False
        self._live: tuple[live_adapters.Target, ...] = ()
        self._selector: Selector | None = None
        self._share, self._swept, self._memory = share, False, ByteLru(memory if share else 0)
        self._grown, self._towers = ByteLru(0), TowerMemory(self._memory.limit)
        self._made: tuple[Hashable, HFMultimodal] | None = None
        self._state = ""
        self._path = path
        self.family: Family = family_of(self._loaded, self._path)
        self.module = prefill_module(self)
        self._wake()

    @property
    def loaded(self) -> Checkpoint:
        """What was loaded: the library's model, its processor, its conversation, the tokens that end an answer."""
        return self._loaded

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint(path, revision)

    def with_method(self, method: Method) -> HFMultimodal:
        """The same model, weights and shared work included, with one more method in its decoder."""
        return self._changed(methods=(*self.methods, method))

    def with_selector(self, selector: Selector) -> HFMultimodal:
        """The same model with a selector of visual tokens between its tower and its projector."""
        return self._changed(_selector=selector)

    @property
    def selector(self) -> Selector | None:
        """What chooses among visual tokens between tower and projector."""
        return self._selector

    @property
    def network(self) -> Any:
        """The library's model."""
        return self._loaded.model

    def with_network(self, network: Any) -> HFMultimodal:
        """The same model around another network of the same kind, sharing no work; this one stays as it is."""
        from .decoder import Decoder

        limit = self._memory.limit
        other = self._changed(
            _loaded=self._loaded.with_model(network), decoder=Decoder(network), _changed_weights=True,
            _live=live_adapters.targets(live_adapters.shapes(network)),
            _memory=ByteLru(limit), _grown=ByteLru(self._grown.limit), _towers=TowerMemory(limit),
        )  # fmt: skip
        other.family = family_of(other._loaded, self._path)
        return other

    def with_weights(self, tensors: Mapping[str, torch.Tensor]) -> HFMultimodal:
        """The same model with other weights of its language model, its head or its projector; the rest is shared.

        Args:
            tensors: Those that differ, by the names of the loaded model's parameters.

        Raises:
            UserError: A name or a shape is not the model's, or belongs to its tower; or its weights were changed.
        """
        if self._changed_weights:
            what = "another method has changed its weights, which those that are given here would replace"
            raise UserError(what, todo="leave one of the two methods out")
        return self.with_network(with_parameters(self.network, self.family.tower, tensors))

    def once(self, key: Hashable, make: Callable[[], HFMultimodal]) -> HFMultimodal:
        """Return what is made of this model, made again only if the key is another than the last time.

        So the budgets of a sweep share the weights of a checkpoint, and what is remembered of prompts.
        """
        if self._made is None or self._made[0] != key:
            self._made = (key, make())
        return self._made[1]

    def for_sweep(self) -> HFMultimodal:
        """The same model; with methods it remembers what can be shared by the budgets that are asked in turn.

        That is a whole batch of prompts, as far as no method has acted on it, and beyond that what blocks make of the
        prompts' shared prefixes, plan by plan.
        """
        return self._changed(_swept=True, _grown=ByteLru(self._memory.limit))

    def as_loaded(self) -> HFMultimodal | None:
        """The same model, to put methods on; ``None`` if its network has changed since this was first asked."""
        state = state_of(self.network)
        self._state = self._state or state
        return self._changed() if state == self._state else None

    def shares_weights(self, other: Any) -> bool:
        """Whether a model that was made of this one has its weights, or those that were made `once`."""
        own = [self] if self._made is None else [self, self._made[1]]
        network = getattr(other.module, "model", None) if isinstance(other, HasModule) else None
        return any(one.network is network for one in own)

    def _changed(self, **attributes: Any) -> HFMultimodal:
        other = copy.copy(self)
        other._made = None
        for name, value in attributes.items():
            setattr(other, name, value)
        other.module = prefill_module(other)
        return other

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer per prompt: without special tokens and stop texts, blanks at its ends removed."""
        return [answer.text for answer in self._answers(prompts, costs=False)]

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return what `generate` does, with what each prefill cost; with methods, also what of the decoder ran.

        Units are those of methods that have ``units(plan) -> (on, all)``.
        """
        return self._answers(prompts, costs=True)

    def attention(self, prompt: Prompt) -> AttentionMaps:
        """Return what the last token of a prompt attends to in its image, block by block."""
        from .attention_maps import attention_maps

        return attention_maps(self, prompt)

    def kept(self, prompt: Prompt) -> KeptTokens:
        """Return which tokens of a prompt's image are left, stage by stage."""
        from .kept_tokens import kept_tokens

        return kept_tokens(self, prompt)

    def token_counts(self, prompt: Prompt) -> tuple[int, int]:
        """Return the text and the visual tokens that the language model reads."""
        import torch

        with torch.inference_mode():
            return len(self._ids(prompt)) - len(prompt.images), sum(self.sight.left(prompt))

    @property
    def sight(self) -> Sight:
        """How it sees images, its selector included."""
        return Sight(self.family, self._selector, self._memory, self._towers)

    def see(self, inputs: Mapping[str, torch.Tensor]) -> list[Seen]:
        """Return what the language model is given of each image, of what the tower is given of them (`prepare`)."""
        return self.sight.see(inputs)

    def prepare(self, inputs: Sequence[Prompt]) -> Mapping[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` [n, tokens], padded on the left, and what `see` is given.

        An image is one token here; the module puts its features there. What `see` is given is of all prompts' images,
        as ``pixel_values``; without images there is nothing.
        """
        import torch

        encoded = [self._encode(prompt) for prompt in inputs]
        longest = max(map(len, encoded))
        ids = torch.tensor([(0,) * (longest - len(row)) + row for row in encoded], device=self._device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in encoded], device=self._device)
        return {"input_ids": ids, "attention_mask": mask, **self.sight.inputs(inputs)}

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what runs the whole prefill of these prompts once, vision tower to head, sharing nothing."""
        import torch

        prepared = self.prepare(prompts)

        def run() -> object:
            with torch.inference_mode():
                return self.module(**prepared)

        return run

    def stages(self, prompts: Sequence[Prompt]) -> Callable[[Mark], object]:
        """Return what does the same and reads one more token, and marks its stages."""
        return staged(self, self.prepare(prompts))

    def _wake(self) -> None:
        """Look at one image, so that transformers puts its hooks into the tower now: it cannot while it is traced."""
        import torch
        from PIL import Image as Pillow

        with torch.inference_mode():
            self.sight.of(Prompt("", (Pillow.new("RGB", (32, 32)),)))

    @property
    def _device(self) -> torch.device:
        return device_of(self._loaded.model)

    @property
    def architecture(self) -> Architecture:
        """The shape of its parts, from its config."""
        return self.family.architecture

    def _costs(self, prompts: Sequence[Prompt], cache: Cache) -> list[PrefillCost]:
        """The costs of prefills, of which the cache holds one in each row, as they left it."""
        from .multimodal_costs import PrefillCosts

        tokens = sum(extra.shape[1] for extra in self.decoder.extras(self.methods, 1))
        costs = PrefillCosts(self.family, self.decoder.blocks, self.methods, self._live, tokens, self._selector)
        text = [len(self._ids(prompt)) - len(prompt.images) for prompt in prompts]
        return [
            costs.of(prompt.images, text[row], self.sight.left(prompt), cache, row)
            for row, prompt in enumerate(prompts)
        ]

    def _answers(self, prompts: Sequence[Prompt], *, costs: bool) -> list[Answer]:
        import torch

        from .greedy import InDecoder, greedy

        decoding, answers = self._loaded.decoding, [Answer("")] * len(prompts)
        with torch.inference_mode():
            for places, logits, cache in self._opened(prompts):
                asked = [prompts[place] for place in places]
                told = self._costs(asked, cache) if costs else [None] * len(asked)
                read = (self._read(prompt) for prompt in asked)
                every = greedy(InDecoder(self.decoder, cache), logits, read, asked, decoding)
                for place, ids, cost in zip(places, every, told, strict=True):
                    answers[place] = Answer(decoding.text(ids, prompts[place]).strip(), cost)
        return answers

    def _opened(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], torch.Tensor, Cache]]:
        """Prefill prompts; those that share a prefix run separately from the others.

        Yields:
            Places of the prompts, the logits of their first tokens, and their cache; once or twice.
        """
        encoded = [self._ids(prompt) for prompt in prompts]
        split = [self._shared_tokens(ids, prompt) for ids, prompt in zip(encoded, prompts, strict=True)]
        for sharing in (False, True):
            places = [place for place, count in enumerate(split) if (count > 0) == sharing]
            if not places:
                continue
            asked = [(encoded[place], prompts[place]) for place in places]
            partial = self._unsteered(asked, [split[place] for place in places])
            for extra in self.decoder.extras(self.methods, len(places)):
                partial = self.decoder.extend(partial, extra.to(partial.state.hidden))
            yield places, *self.decoder.finish(partial, self.methods, self._grown)

    def _unsteered(self, asked: Sequence[tuple[tuple[int, ...], Prompt]], shared: Sequence[int]) -> PartialPrefill:
        """What the decoder makes of prompts before a method acts; in a sweep, the next budget asks for the same batch.

        Args:
            asked: Token ids and prompts.
            shared: Tokens of each that are shared with others: of all, or of none.
        """
        make = functools.partial(self._together if any(shared) else self._apart, asked, shared)
        if not (self._swept and self._share and all(prompt.digests or not prompt.images for _, prompt in asked)):
            return make()
        steered, depth = bool(self.methods), self.decoder.shared_depth(self.methods)
        key = ("prompts", steered, depth, tuple((ids, self.sight.key(prompt)) for ids, prompt in asked))
        partial: PartialPrefill = self._memory.get(key, make, lambda made: made.bytes)
        return partial.copy()

    def _apart(self, asked: Sequence[tuple[tuple[int, ...], Prompt]], _: Sequence[int]) -> PartialPrefill:
        from .prompt_rows import padded

        rows = [self._embedded(ids, self.sight.of(prompt)) for ids, prompt in asked]
        return self.decoder.start(*padded(rows), depth=self.decoder.shared_depth(self.methods))

    def _together(self, asked: Sequence[tuple[tuple[int, ...], Prompt]], shared: Sequence[int]) -> PartialPrefill:
        from .decoder_state import PartialPrefill
        from .prompt_rows import padded

        heads = [(ids[:count], self.sight.key(prompt)) for (ids, prompt), count in zip(asked, shared, strict=True)]
        first = dict(zip(reversed(heads), (prompt for _, prompt in reversed(asked)), strict=True))
        known = {head: self._prefix(head[0], prompt) for head, prompt in first.items()}  # each once, if not kept too
        ends = [
            self._embedded(ids[count:], [], self._span(ids[:count], prompt))
            for (ids, prompt), count in zip(asked, shared, strict=True)
        ]
        names = [self._name(*head) for head in heads]
        batch = PartialPrefill.batch([known[head] for head in heads], names)
        return self.decoder.extend(batch, *padded(ends), only_last=not self.methods)

    def _ids(self, prompt: Prompt) -> tuple[int, ...]:
        key = ("ids", prompt.text, len(prompt.images))
        ids: tuple[int, ...] = self._memory.get(key, lambda: self._encode(prompt), lambda made: 8 * len(made))
        return ids

    def _encode(self, prompt: Prompt) -> tuple[int, ...]:
        """A prompt's ids, with one placeholder for each image, and what the family puts around it."""
        image, (before, after) = self._loaded.model.config.image_token_id, self.family.around
        ids = self._loaded.encode(prompt)
        if not before and not after:
            return ids
        return tuple(one for token in ids for one in ((*before, token, *after) if token == image else (token,)))

    def _span(self, ids: Sequence[int], prompt: Prompt) -> int:
        """How far the token after some of a prompt's is from its first one, where tokens have places."""
        if self.decoder.axes == 1:
            return 0
        spans = [self.family.size(image).span for image in prompt.images]
        image = self._loaded.model.config.image_token_id
        return len(ids) - ids.count(image) + sum(spans[: ids.count(image)])

    def _read(self, prompt: Prompt) -> list[int]:
        """A prompt's ids with as many placeholders as its images have tokens, whatever a method keeps of them."""
        image, read = self._loaded.model.config.image_token_id, []
        images = iter(prompt.images)
        for token in self._ids(prompt):
            read += [token] * (self.family.size(next(images)).tokens if token == image else 1)
        return read

    def _shared_tokens(self, ids: tuple[int, ...], prompt: Prompt) -> int:
        """Tokens up to the last image, if that is known, whatever is asked of it, and something follows; else 0."""
        if not (self._share and prompt.images and prompt.digests) or self.sight.asks:
            return 0
        count = len(ids) - ids[::-1].index(self._loaded.model.config.image_token_id)
        return count if count < len(ids) else 0

    def _prefix(self, ids: tuple[int, ...], prompt: Prompt) -> PartialPrefill:
        """The partial prefill of a prefix, run alone so that it does not depend on the batch."""
        from .prompt_rows import padded

        def make() -> PartialPrefill:
            rows, depth = [self._embedded(ids, self.sight.of(prompt))], self.decoder.shared_depth(self.methods)
            return self.decoder.start(*padded(rows), depth=depth, only_last=not self.methods)

        name = self._name(ids, self.sight.key(prompt))
        partial: PartialPrefill = self._memory.get(name, make, lambda made: made.bytes)
        return partial

    def _name(self, ids: tuple[int, ...], seen: Hashable) -> Hashable:
        """The key of a prefix: all that it depends on.

        Args:
            ids: Of its tokens.
            seen: What those of its images depend on.
        """
        return "prefix", bool(self.methods), self.decoder.shared_depth(self.methods), ids, seen

    def _embedded(self, ids: Sequence[int], images: Sequence[Seen], start: int = 0) -> Row:
        """Embed token ids, with the features of images where their placeholders stand.

        Args:
            ids: Of a prompt, or of its end.
            images: One for each placeholder.
            start: Where the first token is, where tokens have places.
        """
        import torch

        from .prompt_rows import Row, joined

        token, left = self._loaded.model.config.image_token_id, iter(images)
        pieces, visual, places, deep = [], [], [], []
        for is_image, group in groupby(ids, key=lambda one: one == token):
            if is_image:
                new = [next(left) for _ in group]
            else:
                new = [Seen(self.decoder.embed(torch.tensor(list(group), device=self._device)))]
            flags = torch.ones if is_image else torch.zeros
            for piece in new:
                count = len(piece.features)
                visual.append(flags(count, dtype=torch.bool, device=self._device))
                pieces.append(piece.features)
                deep.append((piece.deep, count))
                if self.decoder.axes > 1:
                    line = torch.arange(count, device=self._device)[:, None].expand(-1, self.decoder.axes)
                    places.append(start + (line if piece.places is None else piece.places))
                    start += piece.span or count
        return Row(torch.cat(pieces), torch.cat(visual), torch.cat(places) if places else None, joined(deep, 0))


class HFQwenVL(HFMultimodal):
    """A Qwen2-VL, Qwen2.5-VL or Qwen3-VL: images of any size, whose tokens have places; options as `HFMultimodal`."""

    kinds: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


class HFLlavaNext(HFMultimodal):
    """A LLaVA-NeXT: images as a whole and cut into tiles; options as `HFMultimodal` has."""

    kinds: ClassVar[tuple[str, ...]] = ("llava_next",)


class HFInternVL(HFMultimodal):
    """An InternVL in transformers' format: images cut into tiles; options as `HFMultimodal` has."""

    kinds: ClassVar[tuple[str, ...]] = ("internvl",)
