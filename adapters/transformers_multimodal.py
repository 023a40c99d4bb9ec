"""LLaVA-type models of the transformers library, by local path or hub id, through a decoder that can be steered.

What an answer costs is counted and timed on the same pass that makes it: vision tower, projector, decoder, head.
"""

from __future__ import annotations

import copy
import functools
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..harness.contracts import Answer
from ..harness.errors import UserError
from ..harness.execution import Execution, LayerWork, PromptSize
from ..harness.measure.work import Work
from ..harness.prefill_cost import LanguageFlops, PrefillCost
from . import live_adapters
from .images import squared
from .lru import ByteLru
from .multimodal_checkpoint import Checkpoint, fingerprint, load, with_parameters
from .multimodal_costs import added_flops, language_flops, opened_units, projector_flops, vision_flops
from .placement import device_of
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.contracts import Prompt
    from ..harness.figures import AttentionMaps
    from ..harness.transformer import Architecture, Stack
    from .decoder import Cache, Decoder, Method, PartialPrefill
    from .decoder_state import Row

    Selector = Callable[[Any, torch.Tensor], Sequence[torch.Tensor]]
    """(LLaVA model, pixels [images, 3, h, w]) -> for each image, features [n, width] that the projector is given."""


class HFMultimodal:
    """A LLaVA: CLIP or SigLIP tower, projector, and a Llama (Vicuna), Mistral, Phi or Qwen2 model.

    `decoding` says how its answers are decoded. Images are padded to a square with the processor's mean colour, as
    LLaVA does.

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
        memory: Bytes that shared work may take; in a sweep, as many again for what blocks make of prefixes.

    Attributes:
        module: The whole prefill as a torch module: takes what `prepare` returns, returns logits [n, vocabulary].
        decoder: Runs the language model.
        methods: What steers it.
        convention: How FLOPs are counted.
        notes: What a reader of its answers must know.

    Raises:
        UserError: The checkpoint cannot be found, is not a LLaVA or is not whole, or an argument is unknown.
    """

    blueprint = staticmethod(blueprint_of)

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
        self._loaded: Checkpoint = load(path, revision, device, options, llava=True)
        from .decoder import Decoder

        self.decoder: Decoder = Decoder(self._loaded.model)
        self.methods: tuple[Method, ...] = ()
        self.convention: Mapping[str, str] = {"phase": "prefill", "counter": "closed-form", "attention": attention}
        self.notes = self._loaded.notes
        self._changed_weights = False
        self._live: tuple[live_adapters.Target, ...] = ()
        self._selector: Selector | None = None
        self._share, self._swept, self._memory = share, False, ByteLru(memory if share else 0)
        self._grown = ByteLru(0)
        self._made: tuple[Hashable, HFMultimodal] | None = None
        self._vision_flops = functools.cache(functools.partial(vision_flops, self._loaded.model.config, path))
        self.module = _prefill_module(self)
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
    def network(self) -> Any:
        """The library's model."""
        return self._loaded.model

    def with_network(self, network: Any) -> HFMultimodal:
        """The same model around another network of the same kind, sharing no work; this one stays as it is."""
        from .decoder import Decoder

        memory, grown = ByteLru(self._memory.limit), ByteLru(self._grown.limit)
        loaded = self._loaded.with_model(network)
        live = live_adapters.targets(live_adapters.shapes(network))
        return self._changed(
            _loaded=loaded, decoder=Decoder(network), _changed_weights=True, _live=live, _memory=memory, _grown=grown
        )

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
        return self.with_network(with_parameters(self.network, tensors))

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

    def shares_weights(self, other: Any) -> bool:
        """Whether a model that was made of this one has its weights, or those that were made `once`."""
        own = [self] if self._made is None else [self, self._made[1]]
        return isinstance(other, HFMultimodal) and any(other._loaded.model is one._loaded.model for one in own)

    def _changed(self, **attributes: Any) -> HFMultimodal:
        other = copy.copy(self)
        other._made = None
        for name, value in attributes.items():
            setattr(other, name, value)
        other.module = _prefill_module(other)
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

    def token_counts(self, prompt: Prompt) -> tuple[int, int]:
        """Return the text and the visual tokens that the language model reads."""
        import torch

        ids, images = self._ids(prompt), len(prompt.images)
        if self._selector is None:
            return len(ids) - images, images * self.architecture.visual_tokens
        with torch.inference_mode():
            return len(ids) - images, sum(len(features) for features in self._features(prompt))

    def prepare(self, inputs: Sequence[Prompt]) -> Mapping[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` [n, tokens], padded on the left, and ``pixel_values``.

        An image is one token here; the module puts its features there. Pixels [images, 3, h, w] are of all prompts;
        without images there are none.
        """
        import torch

        encoded = [self._loaded.encode(prompt) for prompt in inputs]
        longest = max(map(len, encoded))
        ids = torch.tensor([(0,) * (longest - len(row)) + row for row in encoded], device=self._device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in encoded], device=self._device)
        images = [image for prompt in inputs for image in prompt.images]
        pixels = {"pixel_values": self._pixels(images)} if images else {}
        return {"input_ids": ids, "attention_mask": mask, **pixels}

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what runs the whole prefill of these prompts once, vision tower to head, sharing nothing."""
        import torch

        prepared = self.prepare(prompts)

        def run() -> object:
            with torch.inference_mode():
                return self.module(**prepared)

        return run

    def _wake(self) -> None:
        """Look at one image, so that transformers puts its hooks into the tower now: it cannot while it is traced."""
        import torch
        from PIL import Image as Pillow

        with torch.inference_mode():
            self._seen(Pillow.new("RGB", (32, 32)))

    @property
    def _device(self) -> torch.device:
        return device_of(self._loaded.model)

    @functools.cached_property
    def architecture(self) -> Architecture:
        """The shape of its parts, from its config."""
        from ..harness.measure.architecture import read_architecture

        return read_architecture(self._loaded.model.config.to_dict())

    def _costs(self, prompts: Sequence[Prompt], cache: Cache) -> list[PrefillCost]:
        """The costs of prefills, of which the cache holds one in each row, as they left it."""
        tokens = sum(extra.shape[1] for extra in self.decoder.extras(self.methods, 1))
        return [self._cost(prompt, cache, row, tokens) for row, prompt in enumerate(prompts)]

    def _cost(self, prompt: Prompt, cache: Cache, row: int, tokens: int) -> PrefillCost:
        """The cost of a prefill, to which methods added tokens after the prompt."""
        blocks, images = self.decoder.blocks, len(prompt.images)
        text, visual = self.token_counts(prompt)
        language = functools.partial(language_flops, self.architecture)
        ran = cache.work(row, heads=blocks.heads, channels=blocks.channels)
        full = cache.whole(row, heads=blocks.heads, added=tokens)
        given = text + images * self.architecture.visual_tokens
        base = Execution(tuple(LayerWork(layer, given, blocks.heads) for layer in range(len(blocks.layers))))
        seen = images * self._vision_flops() + projector_flops(self.architecture, visual)
        beside = functools.partial(
            live_adapters.beside, self._live, tower=self._tower, visual_tokens=visual, images=images
        )
        added = added_flops(self.methods, PromptSize(self._stack, text + tokens, visual))
        chosen = added_flops(self.methods, PromptSize(self._stack, text, visual), switches=False)
        spent = language(ran) + beside(blocks=ran).language + added
        shares = LanguageFlops(spent, language(full) + beside(blocks=full).language + chosen, language(base))
        units = opened_units(self.methods, cache.plans[row])
        total = seen + beside(blocks=ran).vision + spent
        return PrefillCost(text, visual, 0, total, shares, added, units, ran if self.methods else None)

    @functools.cached_property
    def _stack(self) -> Stack:
        """The language model's blocks."""
        return Work.whole(self.architecture, text_tokens=1).language[0]

    @functools.cached_property
    def _tower(self) -> Execution | None:
        """All of the vision tower, for one image."""
        return Work.whole(self.architecture, text_tokens=1).tower

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
        depth = self.decoder.shared_depth(self.methods)
        key = ("prompts", self._selector, depth, tuple((ids, prompt.digests) for ids, prompt in asked))
        partial: PartialPrefill = self._memory.get(key, make, lambda made: made.bytes)
        return partial.copy()

    def _apart(self, asked: Sequence[tuple[tuple[int, ...], Prompt]], _: Sequence[int]) -> PartialPrefill:
        from .decoder_state import padded

        rows = [self._embedded(ids, self._features(prompt)) for ids, prompt in asked]
        return self.decoder.start(*padded(rows), depth=self.decoder.shared_depth(self.methods))

    def _together(self, asked: Sequence[tuple[tuple[int, ...], Prompt]], shared: Sequence[int]) -> PartialPrefill:
        from .decoder_state import PartialPrefill, padded

        heads = [(ids[:count], prompt.digests) for (ids, prompt), count in zip(asked, shared, strict=True)]
        first = dict(zip(reversed(heads), (prompt for _, prompt in reversed(asked)), strict=True))
        known = {head: self._prefix(head[0], prompt) for head, prompt in first.items()}  # each once, if not kept too
        ends = [self._embedded(ids[count:], []) for (ids, _), count in zip(asked, shared, strict=True)]
        names = [self._name(*head) for head in heads]
        return self.decoder.extend(PartialPrefill.batch([known[head] for head in heads], names), *padded(ends))

    def _ids(self, prompt: Prompt) -> tuple[int, ...]:
        key = ("ids", prompt.text, len(prompt.images))
        ids: tuple[int, ...] = self._memory.get(key, lambda: self._loaded.encode(prompt), lambda made: 8 * len(made))
        return ids

    def _read(self, prompt: Prompt) -> list[int]:
        """A prompt's ids with as many placeholders as its images have tokens, whatever a method keeps of them."""
        image, fills = self._loaded.model.config.image_token_id, self.architecture.visual_tokens
        return [token for token in self._ids(prompt) for _ in range(fills if token == image else 1)]

    def _shared_tokens(self, ids: tuple[int, ...], prompt: Prompt) -> int:
        """Tokens up to the last image, if that is known and something follows; else 0."""
        if not (self._share and prompt.images and prompt.digests):
            return 0
        count = len(ids) - ids[::-1].index(self._loaded.model.config.image_token_id)
        return count if count < len(ids) else 0

    def _prefix(self, ids: tuple[int, ...], prompt: Prompt) -> PartialPrefill:
        """The partial prefill of a prefix, run alone so that it does not depend on the batch."""
        from .decoder_state import padded

        depth = self.decoder.shared_depth(self.methods)

        def make() -> PartialPrefill:
            rows = [self._embedded(ids, self._features(prompt))]
            return self.decoder.start(*padded(rows), depth=depth)

        partial: PartialPrefill = self._memory.get(self._name(ids, prompt.digests), make, lambda made: made.bytes)
        return partial

    def _name(self, ids: tuple[int, ...], digests: Sequence[str]) -> Hashable:
        """The key of a prefix: all that it depends on."""
        return "prefix", self._selector, self.decoder.shared_depth(self.methods), ids, tuple(digests)

    def _features(self, prompt: Prompt) -> list[torch.Tensor]:
        """The projected features [n, d] of each image of a prompt, image by image."""
        if not (self._share and prompt.digests):
            return [self._seen(image) for image in prompt.images]
        return [
            self._memory.get(("image", self._selector, digest), functools.partial(self._seen, image), _bytes)
            for image, digest in zip(prompt.images, prompt.digests, strict=True)
        ]

    def _seen(self, image: Image) -> torch.Tensor:
        return self.project(self._pixels([image]))[0]

    def project(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return what the language model is given of images [images, 3, h, w]: features [n, d] of each."""
        model = self._loaded.model
        if self._selector is None:
            return list(model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output)
        selected = self._selector(model, pixels)
        return [model.model.multi_modal_projector(features[None])[0] for features in selected]

    def _pixels(self, images: Sequence[Image]) -> torch.Tensor:
        processor = self._loaded.processor.image_processor
        squares = [squared(image.convert("RGB"), processor.image_mean) for image in images]
        pixels = processor(images=squares, return_tensors="pt")["pixel_values"]
        moved: torch.Tensor = pixels.to(self._device, self._loaded.model.dtype)
        return moved

    def _embedded(self, ids: Sequence[int], features: Sequence[torch.Tensor]) -> Row:
        """Embed token ids, with the features of images where their placeholders stand."""
        import torch

        from .decoder_state import Row

        token, images = self._loaded.model.config.image_token_id, iter(features)
        pieces, visual = [], []
        for is_image, group in groupby(ids, key=lambda one: one == token):
            if is_image:
                new = [next(images) for _ in group]
            else:
                new = [self.decoder.embed(torch.tensor(list(group), device=self._device))]
            flags = torch.ones if is_image else torch.zeros
            visual += [flags(len(piece), dtype=torch.bool, device=self._device) for piece in new]
            pieces += new
        return Row(torch.cat(pieces), torch.cat(visual))


def _prefill_module(owner: HFMultimodal) -> Any:
    """Wrap a model so that its forward pass is the whole prefill."""
    import torch

    from .decoder_state import padded

    class Prefill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = owner._loaded.model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, pixel_values: torch.Tensor | None = None
        ) -> torch.Tensor:
            features = iter([] if pixel_values is None else owner.project(pixel_values))
            rows = []
            for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
                own = ids[len(mask) - sum(mask) :]
                count = own.count(self.model.config.image_token_id)
                rows.append(owner._embedded(own, [next(features) for _ in range(count)]))
            return owner.decoder.prefill(*padded(rows), owner.methods)[0]

    return Prefill().eval()


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
