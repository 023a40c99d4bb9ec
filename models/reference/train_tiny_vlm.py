"""The recipe of ``tiny-qwen-vl`` and ``tiny-internvl``: pupils of ``tiny-llava``.

    adaptbench train tiny-qwen-vl --out runs/tiny-qwen-vl
    adaptbench train tiny-internvl --out runs/tiny-internvl

1. ``tower``: tower and projector, untrained, learn to give the language model what those of ``tiny-llava`` give it of
   the same image (the mean squared error, over the variance of what is wanted).
2. ``questions``: projector and language model, which is that of ``tiny-llava``, learn its questions and answers where
   tokens have the positions and the neighbours that they have in this family.

So their answers are not independent of those of ``tiny-llava``. A stopped training goes on with the same command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from ..finetuning.loop import Loop, fit
from .tiny_llava import WEIGHTS
from .tiny_llava_batches import IGNORED, Conversations, Speech, drawn
from .tiny_vlm_parts import PARTS, Parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the data aside."""

    tower_steps: int = 1500
    tower_batch: int = 16
    tower_rate: float = 1e-3
    question_steps: int = 400
    question_batch: int = 8
    """Images per step."""
    question_rate: float = 5e-4
    turns: int = 12
    """Questions per image, each asked as if it were alone."""
    decay: float = 0.01
    seed: int = 0

    def loop(self, steps: int, rate: float) -> Loop:
        """How a stage is trained."""
        return Loop(
            steps=steps, rate=rate, optimizer="adamw", decay=self.decay, schedule="cosine", warmup=0.05, clip=1.0,
            save_every=50, log_every=10, seed=self.seed,
        )  # fmt: skip


class Seen:
    """Images, and what ``tiny-llava`` sees in them; what a batch holds depends on its number alone."""

    def __init__(self, recipe: Recipe, data: Conversations) -> None:
        from transformers import LlavaForConditionalGeneration

        self._recipe, self._data = recipe, data
        self._teacher = LlavaForConditionalGeneration.from_pretrained(WEIGHTS).eval()

    def __len__(self) -> int:
        return self._recipe.tower_steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return ``pixels`` [n, 3, side, side] and ``wanted`` [n, 64, width]."""
        records, _ = drawn(self._data.questions, self._recipe.tower_batch, number, [self._recipe.seed, 0])
        pixels = self._data.pixels(records)
        with torch.no_grad():
            seen = self._teacher.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        return {"pixels": pixels, "wanted": torch.stack(list(seen))}


class Asked:
    """Questions on images; what a batch holds depends on its number alone."""

    def __init__(self, recipe: Recipe, data: Conversations, parts: Parts, tokenizer: PreTrainedTokenizerFast) -> None:
        self._recipe, self._data, self._parts = recipe, data, parts
        self._speech = Speech(tokenizer, recipe.turns, parts.shown)
        self._image = tokenizer.convert_tokens_to_ids(parts.image)

    def __len__(self) -> int:
        return self._recipe.question_steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return ``pixels`` and what `Speech.batch` returns, at the family's positions."""
        records, dice = drawn(self._data.questions, self._recipe.question_batch, number, [self._recipe.seed, 1])
        batch = self._speech.batch(records, dice, together=False)
        start = batch["input_ids"][0].tolist().index(self._image)
        places = self._parts.place(batch["position_ids"], start)
        return {**batch, "position_ids": places, "pixels": self._data.pixels(records)}


class Pupil(torch.nn.Module):
    """The model, with the losses of both stages."""

    def __init__(self, model: PreTrainedModel, parts: Parts, image: int) -> None:
        super().__init__()
        self.model, self._parts, self._image = model, parts, image

    def train_only(self, *names: str) -> None:
        """Let the weights whose names begin so learn, and no others."""
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(name.startswith(names))

    def forward(self, pixels: torch.Tensor, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss: of what is seen, if it is told what is wanted, or of what is said."""
        seen = self._parts.see(self.model, pixels)
        if "wanted" in batch:
            wanted = batch["wanted"]
            return {"loss": (seen - wanted).square().mean() / wanted.var()}
        ids, labels = batch["input_ids"], batch["labels"]
        inner: Any = self.model.model.language_model
        embedded = inner.embed_tokens(ids).masked_scatter((ids == self._image)[..., None], seen)
        states = inner(
            inputs_embeds=embedded, attention_mask=batch["attention_mask"], position_ids=batch["position_ids"],
            use_cache=False,
        ).last_hidden_state[:, :-1]  # fmt: skip
        wanted = labels[:, 1:]
        said, right = self.model.lm_head(states[wanted != IGNORED]), wanted[wanted != IGNORED]
        return {"loss": cross_entropy(said, right), "accuracy": (said.argmax(-1) == right).float().mean()}


def train(name: str, recipe: Recipe, data: Conversations, out: Path) -> None:
    """Train, or go on training; write the model to ``out/model``.

    Args:
        name: Of the model.
        recipe: What to do.
        data: What to learn from.
        out: Folder of the checkpoints, of the logs and of the model.
    """
    torch.manual_seed(recipe.seed)
    parts = PARTS[name]
    tokenizer = parts.tokenizer()
    pupil = Pupil(parts.make_model(tokenizer), parts, tokenizer.convert_tokens_to_ids(parts.image))
    pupil.train_only(*parts.learns)
    fit(pupil, Seen(recipe, data), recipe.loop(recipe.tower_steps, recipe.tower_rate), out / "tower")
    pupil.train_only(*parts.projects, "model.language_model.", "lm_head.")
    asked, loop = Asked(recipe, data, parts, tokenizer), recipe.loop(recipe.question_steps, recipe.question_rate)
    fit(pupil, asked, loop, out / "questions")
    pupil.model.save_pretrained(out / "model")
    parts.make_processor(tokenizer).save_pretrained(out / "model")
