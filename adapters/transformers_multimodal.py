"""LLaVA-type models of the transformers library, by local path or hub id, through a decoder that can be steered.

What an answer costs is counted and timed on the same pass that makes it: vision tower, projector, decoder, head.
"""

from __future__ import annotations

import copy
import functools
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.contracts import Answer
from ..harness.errors import UserError
from . import conversations
from .lru import ByteLru
from .multimodal_checkpoint import Checkpoint, fingerprint, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.contracts import Prompt
    from ..harness.measure.architecture import Architecture
    from ..harness.measure.execution import Execution
    from .decoder import Cache, Context, Decoder, Method

    Selector = Callable[[Any, torch.Tensor], Sequence[torch.Tensor]]
    """(LLaVA model, pixels [images, 3, h, w]) -> for each image, features [n, width] that the projector is given."""


class _Row(NamedTuple):
    """A piece of a prompt, embedded: [n, d], and which of its tokens are visual, bool [n]."""

    embeddings: torch.Tensor
    visual: torch.Tensor


class HFMultimodal:
    """A LLaVA: CLIP or SigLIP tower, projector, and a Llama (Vicuna), Mistral, Phi or Qwen2 model.

    Decoding is greedy. Images are padded to a square with the processor's mean colour, as LLaVA does.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``llava-hf/llava-1.5-7b-hf``.
        revision: Branch, tag or commit of a hub id.
        conversation: ``vicuna_v1`` (LLaVA-1.5's, with its system sentence), ``plain``, ``chat-template`` or ``auto``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.
        attention: ``sdpa`` or ``eager``.
        share: Compute an image's features once, and what the decoder makes of the text before it and of the image
            itself, where the prompts' digests tell that it is the same image. Answers are the same without it.
        memory: Bytes that shared work may take.

    Attributes:
        module: The whole prefill as a torch module: takes what `prepare` returns, returns logits [n, vocabulary].
        decoder: Runs the language model.
        methods: What steers it.
        convention: How `flops` are counted.

    Raises:
        UserError: The checkpoint cannot be found, is no LLaVA or is not whole, or an argument is unknown.
    """

    def __init__(  # noqa: PLR0913 - one parameter is one option
        self,
        path: str,
        *,
        revision: str | None = None,
        conversation: str = "auto",
        dtype: str = "float32",
        device: str = "cpu",
        attention: str = "sdpa",
        share: bool = True,
        memory: int = 2**30,
    ) -> None:
        options = {"conversation": conversation, "dtype": dtype, "attention": attention}
        self._loaded: Checkpoint = load(path, revision, device, options, llava=True)
        from .decoder import Decoder

        self.decoder: Decoder = Decoder(self._loaded.model)
        self.methods: tuple[Method, ...] = ()
        self.convention: Mapping[str, str] = {"phase": "prefill", "counter": "closed-form", "attention": attention}
        self._selector: Selector | None = None
        self._share, self._memory = share, ByteLru(memory if share else 0)
        self._vision_flops = functools.cache(functools.partial(_vision_flops, self._loaded.model.config, path))
        self.module = _prefill_module(self)
        self._wake()

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

    def with_weights(self, tensors: Mapping[str, torch.Tensor]) -> HFMultimodal:
        """The same model with other weights of its language model, its head or its projector; the rest is shared.

        Args:
            tensors: Those that differ, by the names of the loaded model's parameters.

        Raises:
            UserError: A name or a shape is none of the model's, or belongs to its tower.
        """
        from .decoder import Decoder

        loaded = self._loaded._replace(model=_with_parameters(self._loaded.model, tensors))
        memory = ByteLru(self._memory.limit)
        return self._changed(_loaded=loaded, decoder=Decoder(loaded.model), _memory=memory)

    def _changed(self, **attributes: Any) -> HFMultimodal:
        other = copy.copy(self)
        for name, value in attributes.items():
            setattr(other, name, value)
        other.module = _prefill_module(other)
        return other

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer a prompt: without special tokens and stop texts, blanks at its ends removed."""
        return [answer.text for answer in self._answers(prompts, costs=False)]

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return what `generate` does, with the FLOPs of each prefill and its text and visual tokens."""
        return self._answers(prompts, costs=True)

    def token_counts(self, prompt: Prompt) -> tuple[int, int]:
        """Return the text and the visual tokens that the language model reads."""
        import torch

        ids, images = self._loaded.encode(prompt), len(prompt.images)
        if self._selector is None:
            return len(ids) - images, images * self._architecture.visual_tokens
        with torch.inference_mode():
            return len(ids) - images, sum(len(features) for features in self._features(prompt))

    def flops(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return the FLOPs of each prompt's own prefill: tower, projector, blocks as they run, the head's one position.

        With methods, the prefill is run to see what they leave.
        """
        import torch

        works: dict[int, Execution] = {}
        if self.methods:
            with torch.inference_mode():
                for places, _, cache in self._opened(prompts):
                    works |= self._works(places, cache)
        return [self._cost(prompt, works.get(place))["flops"] for place, prompt in enumerate(prompts)]

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
        device: torch.device = self._loaded.model.device
        return device

    @functools.cached_property
    def _architecture(self) -> Architecture:
        from ..harness.measure.architecture import read_architecture

        return read_architecture(self._loaded.model.config.to_dict())

    def _cost(self, prompt: Prompt, execution: Execution | None) -> dict[str, int]:
        """FLOPs and tokens of a prompt; without an execution all of the language model runs."""
        from ..harness.measure.closed_form import COUNTED, prefill, projector
        from ..harness.measure.execution import Execution

        text, visual = self.token_counts(prompt)
        model = self._architecture
        if execution is None and model.language is not None:
            execution = Execution.full(model.language.stack, text + visual)
        operators = [*projector(model, visual, COUNTED), *prefill(model, execution or Execution(()), COUNTED)]
        flops = len(prompt.images) * self._vision_flops() + sum(operator.flops for operator in operators)
        flops += sum(getattr(method, "flops", 0) for method in self.methods)
        return {"flops": flops, "text_tokens": text, "visual_tokens": visual}

    def _works(self, places: Sequence[int], cache: Cache) -> dict[int, Execution]:
        """What has run for each prompt."""
        blocks = self.decoder.blocks
        return {
            place: cache.work(row, heads=blocks.heads, channels=blocks.channels) for row, place in enumerate(places)
        }

    def _answers(self, prompts: Sequence[Prompt], *, costs: bool) -> list[Answer]:
        import torch

        from .greedy import greedy

        tokenizer, answers = self._loaded.processor.tokenizer, [Answer("")] * len(prompts)
        with torch.inference_mode():
            for places, logits, cache in self._opened(prompts):
                asked = [prompts[place] for place in places]
                works = self._works(places, cache) if costs and self.methods else {}

                def ended(row: int, ids: list[int], asked: list[Prompt] = asked) -> bool:
                    stops = asked[row].stop
                    return bool(stops) and any(stop in conversations.spoken(ids, tokenizer) for stop in stops)

                limits = [prompt.max_new_tokens for prompt in asked]
                every = greedy(self.decoder, (logits, cache), limits, self._loaded.eos, ended)
                for place, ids in zip(places, every, strict=True):
                    cost = self._cost(prompts[place], works.get(place)) if costs else {}
                    answers[place] = Answer(conversations.finished(ids, prompts[place], tokenizer), cost)
        return answers

    def _opened(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], torch.Tensor, Cache]]:
        """Prefill prompts, those that share a beginning apart from the others.

        Yields:
            Places of the prompts, the logits of their first tokens, and their cache; once or twice.
        """
        from .decoder import Context

        encoded = [self._loaded.encode(prompt) for prompt in prompts]
        split = [self._shared_tokens(ids, prompt) for ids, prompt in zip(encoded, prompts, strict=True)]
        for sharing in (False, True):
            places = [place for place, count in enumerate(split) if (count > 0) == sharing]
            if not places:
                continue
            if sharing:
                ends = [self._embedded(encoded[place][split[place] :], []) for place in places]
                heads = [(encoded[place][: split[place]], prompts[place].digests) for place in places]
                first = dict(zip(reversed(heads), reversed(places), strict=True))
                known = {
                    head: self._beginning(head[0], prompts[place]) for head, place in first.items()
                }  # each once, also if not kept
                context = self.decoder.extend(Context.batch([known[head] for head in heads]), *_padded(ends))
            else:
                rows = [self._embedded(encoded[place], self._features(prompts[place])) for place in places]
                context = self.decoder.start(*_padded(rows), depth=self.decoder.shared_depth(self.methods))
            for extra in self.decoder.extras(self.methods, len(places)):
                context = self.decoder.extend(context, extra.to(context.state.hidden))
            yield places, *self.decoder.finish(context, self.methods)

    def _shared_tokens(self, ids: tuple[int, ...], prompt: Prompt) -> int:
        """Tokens up to the last image, if that is known and something follows; else 0."""
        if not (self._share and prompt.images and prompt.digests):
            return 0
        count = len(ids) - ids[::-1].index(self._loaded.model.config.image_token_id)
        return count if count < len(ids) else 0

    def _beginning(self, ids: tuple[int, ...], prompt: Prompt) -> Context:
        """What the decoder makes of a beginning, by itself, so that it does not depend on the batch."""
        depth = self.decoder.shared_depth(self.methods)

        def make() -> Context:
            rows = [self._embedded(ids, self._features(prompt))]
            return self.decoder.start(*_padded(rows), depth=depth)

        key = ("beginning", self._selector, depth, ids, prompt.digests)
        context: Context = self._memory.get(key, make, lambda made: made.bytes)
        return context

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
        squares = [_square(image.convert("RGB"), processor.image_mean) for image in images]
        pixels = processor(images=squares, return_tensors="pt")["pixel_values"]
        moved: torch.Tensor = pixels.to(self._device, self._loaded.model.dtype)
        return moved

    def _embedded(self, ids: Sequence[int], features: Sequence[torch.Tensor]) -> _Row:
        """Embed token ids, with the features of images where their placeholders stand."""
        import torch

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
        return _Row(torch.cat(pieces), torch.cat(visual))


def _vision_flops(config: Any, source: str) -> int:
    """FLOPs of the tower for one image."""
    from ..harness.measure.counting import Counter
    from .transformers_meta import Blueprint

    blueprint: Any = Blueprint(config.to_dict(), source)
    return Counter(blueprint).count("vision", 1).value


def _with_parameters(model: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Copy a LLaVA's structure, its tower and all parameters that are not given aside: those are shared."""
    import torch

    tower = model.model.vision_tower
    known = dict(model.named_parameters(remove_duplicate=False))
    seen = {id(parameter) for parameter in tower.parameters()}
    memo: dict[int, Any] = {id(tower): tower} | {id(parameter): parameter for parameter in known.values()}
    for name, tensor in tensors.items():
        old = known.get(name)
        if old is None or id(old) in seen:
            raise UserError(f"its language model and projector have no {name}", todo="give weights of this model")
        if old.shape != tensor.shape:
            raise UserError(
                f"its {name} is {tuple(old.shape)}, and {tuple(tensor.shape)} is given",
                todo="give weights of this model",
            )
        memo[id(old)] = torch.nn.Parameter(tensor.to(old), requires_grad=old.requires_grad)
    return copy.deepcopy(model, memo)


def _prefill_module(owner: HFMultimodal) -> Any:
    """Wrap a model so that its forward pass is the whole prefill."""
    import torch

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
            return owner.decoder.prefill(*_padded(rows), owner.methods)[0]

    return Prefill().eval()


def _padded(rows: Sequence[_Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return embeddings [B, n, d], which tokens are real and which are visual, bool [B, n]; padded on the left."""
    import torch

    from .decoder_state import pad

    count = max(len(row.visual) for row in rows)
    embeddings = torch.stack([pad(row.embeddings, count, 0) for row in rows])
    real = torch.stack([pad(torch.ones_like(row.visual), count, 0) for row in rows])
    return embeddings, real, torch.stack([pad(row.visual, count, 0) for row in rows])


def _square(image: Image, mean: Sequence[float]) -> Image:
    """Put an image into the middle of a square of the mean colour, truncated (LLaVA, ``mm_utils.expand2square``)."""
    from PIL import Image as Pillow

    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Pillow.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
