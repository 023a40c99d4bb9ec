"""What a steered model sees of prompts' images: the tower's part and the selector's, remembered image by image."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.contracts import Prompt
    from .family import Family, Seen
    from .lru import ByteLru
    from .tower_memory import TowerMemory

_QUESTIONS = "questions"


@dataclass(frozen=True)
class Sight:
    """Shows images to a tower and lets a selector choose among their tokens.

    A selector that ``asks`` is told the question, which is the prompt's text: the user's whole message, with what a
    task says of the form of the answer, without system prompt and chat template. A prompt is one turn.

    Attributes:
        family: How the model sees.
        selector: Of visual tokens; ``None`` for all.
        memory: Of images that were seen.
        towers: Of what the tower made of them, whatever selector reads it.
    """

    family: Family
    selector: Any
    memory: ByteLru
    towers: TowerMemory

    @property
    def asks(self) -> bool:
        """Whether what is seen of an image depends on the question."""
        return bool(getattr(self.selector, "asks", False))  # any function may be a selector

    def key(self, prompt: Prompt) -> Hashable:
        """All that the tokens of a prompt's images depend on, if it tells digests."""
        return self.selector, prompt.digests, self._question(prompt)

    def inputs(self, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
        """Return what `see` is given of all prompts' images, nothing if there are none.

        That is what the tower is given and, for a selector that asks, ``questions``: UTF-8, uint8 [images, longest].
        """
        images = [image for prompt in prompts for image in prompt.images]
        if not images:
            return {}
        told = {_QUESTIONS: _packed([prompt.text for prompt in prompts for _ in prompt.images])} if self.asks else {}
        return {**self.family.inputs(images), **told}

    def see(self, inputs: Mapping[str, torch.Tensor]) -> list[Seen]:
        """Return what the language model is given of each image.

        Raises:
            UserError: The selector asks for questions, and there are none.
        """
        if self.asks and _QUESTIONS not in inputs:
            what = f"{type(self.selector).__name__} chooses by the question, which is not told here"
            raise UserError(what, todo="leave it out")
        shown = {name: value for name, value in inputs.items() if name != _QUESTIONS}
        return self.family.see(shown, self.selector, _unpacked(inputs[_QUESTIONS]) if self.asks else ())

    def of(self, prompt: Prompt) -> list[Seen]:
        """Return the same of each image of a prompt, seen once for all prompts where digests tell it."""
        if not prompt.digests:
            return [self._look(prompt, image) for image in prompt.images]
        question = self._question(prompt)
        return [
            self.memory.get(
                ("image", self.selector, digest, question),
                functools.partial(self._look, prompt, image, digest),
                lambda made: made.bytes,
            )
            for image, digest in zip(prompt.images, prompt.digests, strict=True)
        ]

    def left(self, prompt: Prompt) -> list[int]:
        """The visual tokens that the language model reads of each image of a prompt."""
        if self.selector is None:
            return [self.family.size(image).tokens for image in prompt.images]
        return [len(seen.features) for seen in self.of(prompt)]

    def _question(self, prompt: Prompt) -> str:
        return prompt.text if self.asks else ""

    def _look(self, prompt: Prompt, image: Image, digest: str = "") -> Seen:
        questions = (prompt.text,) if self.asks else ()
        return self.family.look(image, self.selector, questions, self.towers.of(digest) if digest else None)


def _packed(texts: Sequence[str]) -> torch.Tensor:
    """Texts as one tensor, as a module takes nothing else."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence([torch.tensor(list(text.encode()), dtype=torch.uint8) for text in texts], batch_first=True)


def _unpacked(packed: torch.Tensor) -> list[str]:
    return [bytes(row).rstrip(b"\0").decode() for row in packed.tolist()]
