"""The question-only baseline: the same model, shown a grey picture of the same size instead of each picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.contracts import Answer, Prompt

_GREY = (128, 128, 128)


def blind(model: Any) -> Blind:
    """Make a model that sees nothing of another one; what the other counts and times, this one does too."""
    return BlindPrefilling(model) if hasattr(model, "prefill") else Blind(model)


class Blind:
    """Generates without the pictures."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """Return one text a prompt."""
        texts: Sequence[str] = self._model.generate(_unseen(prompts))
        return texts


class BlindPrefilling(Blind):
    """The same of a model that says what its prefill costs."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.convention: Mapping[str, str] = model.convention
        self.module = model.module

    def answer(self, prompts: Sequence[Prompt]) -> Sequence[Answer]:
        """Return one answer a prompt with its cost."""
        answers: Sequence[Answer] = self._model.answer(_unseen(prompts))
        return answers

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what does the whole prefill once."""
        run: Callable[[], object] = self._model.prefill(_unseen(prompts))
        return run


def _unseen(prompts: Sequence[Prompt]) -> list[Prompt]:
    from PIL import Image

    return [
        replace(
            prompt,
            images=tuple(Image.new("RGB", image.size, _GREY) for image in prompt.images),
            digests=tuple(f"grey {image.width}x{image.height}" for image in prompt.images),
        )
        for prompt in prompts
    ]
