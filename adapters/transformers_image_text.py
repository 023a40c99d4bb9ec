"""Any chat model of images and text of the transformers library, run by the library's own ``generate``."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, Self

from ..harness.batching import out_of_memory
from ..harness.contracts import Answer
from ..harness.errors import BadSample
from ..harness.prefill_cost import PrefillCost
from .family import REFUSALS, unread
from .multimodal_checkpoint import fingerprint, image_token, load
from .placement import device_of, is_split
from .prefill_flops import PrefillFlops
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..harness.contracts import Prompt
    from .multimodal_checkpoint import Checkpoint

_NOT_READ = frozenset({"labels"})
"""What a processor makes for training."""


class HFImageTextToText:
    """A model that ``AutoModelForImageTextToText`` loads: Idefics, SmolVLM, Qwen-VL, InternVL, LLaVA and many more.

    `decoding` says how its answers are decoded. Nothing is shared between prompts, and images are handled as the
    model's own processor does. What a prefill costs is counted on the prompt's own forward pass, unpadded, once for all
    prompts of its size.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id.
        revision: Branch, tag or commit of a hub id.
        conversation: ``chat-template`` (also ``auto``, but for LLaVA and PaliGemma: see `conversations.choose`),
            ``plain``, ``prefix`` or ``vicuna_v1``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs, unless it is split.
        device_map: Split the model over devices by accelerate: ``auto``, ``balanced``, ``balanced_low_0``,
            ``sequential``, or a JSON file: module -> number of a GPU, ``cpu`` or ``disk``.
        offload_folder: Where weights go that are on the disk.
        attention: ``sdpa`` or ``eager``.
        decoding: ``checkpoint``: greedy as its generation_config asks; ``bare``: by the logits as they are.
        system: A system prompt; empty for the conversation's own.
        flops: Count what prefills cost: one more pass for each size of image and length of text.
        waive: Names of operators that may stay uncounted.

    Attributes:
        module: The library's model; takes what `prepare` returns.
        network: That too.
        notes: What a reader of its answers must know.
        convention: How ``flops`` are counted.

    Raises:
        UserError: The checkpoint cannot be found, is not of such a model or is not whole, an argument is unknown, or
            its processor cannot read an image.
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
        flops: bool = True,
        waive: Sequence[str] = (),
    ) -> None:
        options = {"conversation": conversation, "dtype": dtype, "attention": attention}
        options |= {"decoding": decoding, "system": system}
        options |= {"device_map": device_map, "offload_folder": offload_folder}
        self._waive, self._counts = waive, flops
        self._take(load(path, revision, device, options))
        self.notes = self._loaded.notes
        self.convention: Mapping[str, Any] = {
            "phase": "prefill", "counter": "fvcore", "attention": attention, "waived": tuple(waive)
        }  # fmt: skip
        self._image_token: Any = image_token(self.module.config)
        self._try_out(path)

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint(path, revision)

    def with_network(self, network: Any) -> Self:
        """The same model around another network of the same kind; this one stays as it is."""
        other = copy.copy(self)
        other._take(self._loaded.with_model(network))
        return other

    def _take(self, loaded: Checkpoint) -> None:
        """Become a model that runs a checkpoint."""
        self._loaded, self.module, self.network = loaded, loaded.model, loaded.model
        self._prefill = _prefill_module(loaded.model)
        counts = self._counts and not is_split(loaded.model)
        self._flops = PrefillFlops(self._prefill, self._waive) if counts else None

    @property
    def uncounted(self) -> str:
        """Why answers come without FLOPs; empty if they have them."""
        if self._flops is None:
            return f"not counted: {'a pass through several devices is not traced' if self._counts else 'flops=false'}"
        return self._flops.refused

    def prepare(self, inputs: Sequence[Prompt]) -> Mapping[str, torch.Tensor]:
        """Return what the processor makes of prompts, of which all or none have images, padded on the left.

        Raises:
            BadSample: The processor refuses one of the prompts.
        """
        try:
            return self._processed(inputs)
        except REFUSALS as error:
            if out_of_memory(error):
                raise
            raise BadSample(f"the model's processor refuses it: {error}", todo="leave it out") from error

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer per prompt: without special tokens and stop texts, blanks at its ends removed.

        Raises:
            BadSample: The processor refuses one of the prompts; none is answered.
        """
        answers = [""] * len(prompts)
        for places, inputs in self._prepared(prompts):
            texts = self._answers([prompts[place] for place in places], inputs)
            for place, text in zip(places, texts, strict=True):
                answers[place] = text
        return answers

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return what `generate` does, with the FLOPs and the tokens of each prefill.

        There are no FLOPs if the counters cannot agree on them, or were not asked: see `uncounted`.
        """
        answers = [Answer("")] * len(prompts)
        for places, inputs in self._prepared(prompts):
            asked = [prompts[place] for place in places]
            texts = self._answers(asked, inputs)
            for place, text, cost in zip(places, texts, self._costs(asked, inputs), strict=True):
                answers[place] = Answer(text, cost)
        return answers

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what runs the prefill of these prompts once: all that reads images, language model, head."""
        import torch

        prepared = [inputs for _, inputs in self._prepared(prompts)]

        def run() -> object:
            with torch.inference_mode():
                return [self._prefill(**inputs) for inputs in prepared]

        return run

    def _processed(self, prompts: Sequence[Prompt]) -> Mapping[str, torch.Tensor]:
        processor = self._loaded.processor
        texts = [self._loaded.render(prompt) for prompt in prompts]
        first = processor.tokenizer.bos_token
        images = [list(prompt.images) for prompt in prompts]
        prepared = processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            add_special_tokens=not (first and texts[0].startswith(first)),
        ).to(device_of(self.module), self.module.dtype)
        return {name: value for name, value in prepared.items() if name not in _NOT_READ}

    def _prepared(self, prompts: Sequence[Prompt]) -> list[tuple[list[int], Mapping[str, torch.Tensor]]]:
        """Prompts without images and those with images, by place: processors take either together, not both."""
        groups = [[n for n, prompt in enumerate(prompts) if bool(prompt.images) == seeing] for seeing in (False, True)]
        return [(places, self.prepare([prompts[place] for place in places])) for places in groups if places]

    def _answers(self, prompts: Sequence[Prompt], inputs: Mapping[str, torch.Tensor]) -> list[str]:
        import torch

        with torch.inference_mode():
            every = self._loaded.decoding.generate(inputs, prompts)
        said = zip(every, prompts, strict=True)
        return [self._loaded.decoding.text(ids, prompt).strip() for ids, prompt in said]

    def _costs(self, prompts: Sequence[Prompt], inputs: Mapping[str, torch.Tensor]) -> list[PrefillCost]:
        """The cost of each prompt's own prefill, without padding."""
        tokens = inputs["attention_mask"].sum(dim=1).tolist()
        visual = inputs["input_ids"].eq(self._image_token).sum(dim=1).tolist()
        costs = []
        for prompt, length, seen in zip(prompts, tokens, visual, strict=True):
            size = (length, *(image.size for image in prompt.images))
            prepare = functools.partial(self.prepare, [prompt])
            flops = None if self._flops is None else self._flops.of(size, len(prompt.images), prepare)
            costs.append(PrefillCost(length - seen, seen, flops=flops))
        return costs

    def _try_out(self, path: str) -> None:
        """Show the processor an ordinary image: what it refuses later is the sample's fault."""
        from PIL import Image

        from ..harness.contracts import Prompt

        try:
            self._processed([Prompt("?", (Image.new("RGB", (64, 64)),))])
        except (TypeError, *REFUSALS) as error:
            raise unread(error, f"hf:{path}") from error


def _prefill_module(model: Any) -> Any:
    """Wrap a model so that its forward pass is the prefill that ``generate`` runs: the head looks at one position."""
    import torch

    class Prefill(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**inputs, logits_to_keep=1).logits
            return logits

    Prefill.__name__ = type(model).__name__  # as messages call it
    return Prefill().eval()
