"""Any chat model of images and text of the transformers library, run by the library's own ``generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import conversations
from .multimodal_checkpoint import fingerprint, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from ..harness.contracts import Prompt


class HFImageTextToText:
    """A model that ``AutoModelForImageTextToText`` loads: Idefics, SmolVLM, Qwen-VL, InternVL, LLaVA and many more.

    `decoding` says how its answers are decoded. Nothing is shared between prompts, images are handled as the model's
    own processor does, and the cost is not counted.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id.
        revision: Branch, tag or commit of a hub id.
        conversation: ``chat-template`` (also ``auto``, but for LLaVA: see `conversations.choose`), ``plain`` or
            ``vicuna_v1``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.
        attention: ``sdpa`` or ``eager``.
        decoding: ``checkpoint``: greedy as its generation_config asks; ``bare``: by the logits as they are.

    Attributes:
        module: The library's model; takes what `prepare` returns.
        notes: What a reader of its answers must know.

    Raises:
        UserError: The checkpoint cannot be found, is not of such a model or is not whole, or an argument is unknown.
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
        decoding: str = "checkpoint",
    ) -> None:
        options = {"conversation": conversation, "dtype": dtype, "attention": attention, "decoding": decoding}
        self._loaded = load(path, revision, device, options, llava=False)
        self.module = self._loaded.model
        self.notes = self._loaded.decoding.notes

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint(path, revision)

    def prepare(self, inputs: Sequence[Prompt]) -> Mapping[str, torch.Tensor]:
        """Return what the processor makes of prompts, padded on the left, on the device."""
        processor = self._loaded.processor
        texts = [conversations.render(self._loaded.conversation, prompt, processor) for prompt in inputs]
        first = processor.tokenizer.bos_token
        images = [list(prompt.images) for prompt in inputs]
        prepared = processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            add_special_tokens=not (first and texts[0].startswith(first)),
        )
        moved: Mapping[str, torch.Tensor] = prepared.to(self.module.device, self.module.dtype)
        return moved

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer a prompt: without special tokens and stop texts, blanks at its ends removed."""
        answers = [""] * len(prompts)
        for seeing in (False, True):
            places = [place for place, prompt in enumerate(prompts) if bool(prompt.images) == seeing]
            if places:
                texts = self._together([prompts[place] for place in places])
                for place, text in zip(places, texts, strict=True):
                    answers[place] = text
        return answers

    def _together(self, prompts: Sequence[Prompt]) -> list[str]:
        """Answer prompts of which all or none have images."""
        import torch

        with torch.inference_mode():
            every = self._loaded.decoding.generate(self.prepare(prompts), prompts)
        said = zip(every, prompts, strict=True)
        return [self._loaded.decoding.text(ids, prompt).strip() for ids, prompt in said]
