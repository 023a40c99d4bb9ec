"""The recipe of the text half of ``tiny-llava``: a CLIP's text tower beside the frozen tower of that model.

    adaptbench train tiny-text --out runs/tiny-text

Descriptions of one thing and the patches of its cell, questions and the scenes that they are asked of: a text is to be
closer to these than to the image's other patches, or than to the patches of a batch's other scenes. Closer is less
similar: of CLIP, which was trained on whole images, it is reported that the patches that a text speaks of have the
lowest products with it, and TRIM is made for that. A stopped training goes on with the same command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ...adapters.text_half import TextHalf, untrained
from ..finetuning.loop import Loop, fit
from .tiny_llava import WEIGHTS
from .tiny_llava_batches import Conversations, drawn
from .tiny_llava_parts import IMAGE, PATCH, PATCHES, SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

_END = "<|endoftext|>"
_PLACE = re.compile(r"row (\d), column (\d)$")
_NOTHING = ("no", "none", "0", "empty")
"""Answers about what is not there."""
_WIDTH, _POSITIONS = 64, 40


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the data aside."""

    steps: int = 800
    batch: int = 32
    """Images per step."""
    texts: int = 4
    """Of each kind, per image."""
    rate: float = 2e-3
    decay: float = 0.01
    seed: int = 0

    @property
    def loop(self) -> Loop:
        """How it is trained."""
        return Loop(
            steps=self.steps, rate=self.rate, optimizer="adamw", decay=self.decay, schedule="cosine", warmup=0.05,
            clip=1.0, save_every=200, log_every=25, seed=self.seed,
        )  # fmt: skip


class Pairs:
    """Texts and the patches that they speak of; what a batch holds depends on its number alone."""

    def __init__(self, recipe: Recipe, data: Conversations, half: TextHalf) -> None:
        from transformers import LlavaForConditionalGeneration

        self._recipe, self._data, self._half = recipe, data, half
        self._asked = {record["id"]: record["conversations"] for record in data.questions}
        self._end: int = half.module.config.eos_token_id
        self._llava = LlavaForConditionalGeneration.from_pretrained(WEIGHTS).eval()

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return ``features`` [n, patches, width], ``ids`` [texts, positions], and bool [texts, n, patches].

        The latter are ``near``, what a text speaks of, and ``among``, what it is told from.
        """
        from ...adapters.tower_features import patch_features

        records, dice = drawn(self._data.captions, self._recipe.batch, number, [self._recipe.seed, 0])
        texts, near, among = [], [], []
        for image, record in enumerate(records):
            described = [(text, place) for text, said in _turns(record["conversations"]) if (place := _patches(said))]
            asked = [text for text, said in _turns(self._asked[record["id"]]) if said not in _NOTHING]
            for chosen in dice.permutation(len(described))[: self._recipe.texts]:
                text, place = described[chosen]
                own = torch.zeros(len(records), PATCHES, dtype=torch.bool)
                own[image, place] = True
                texts.append(text)
                near.append(own)
                among.append(own.any(dim=1, keepdim=True).expand_as(own))
            for chosen in dice.permutation(len(asked))[: self._recipe.texts]:
                own = torch.zeros(len(records), PATCHES, dtype=torch.bool)
                own[image] = True
                texts.append(asked[chosen])
                near.append(own)
                among.append(torch.ones_like(own))
        with torch.no_grad():
            features = patch_features(self._llava, self._data.pixels(records))
        ids = self._half.tokens(texts)
        longest = int((ids == self._end).int().argmax(dim=1).max()) + 1
        return {
            "features": features, "ids": ids[:, :longest], "near": torch.stack(near), "among": torch.stack(among),
        }  # fmt: skip


def _turns(said: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Messages and answers."""
    values = [turn["value"].removeprefix(f"{IMAGE}\n") for turn in said]
    return list(zip(values[::2], values[1::2], strict=True))


def _patches(said: str) -> list[int]:
    """The patches of the cell that an answer names; none if it names no cell."""
    found = _PLACE.search(said)
    if not found or said.count("row") > 1:
        return []
    side = SIDE // PATCH
    times = side // 4
    row, column = (times * (int(one) - 1) for one in found.groups())
    return [(row + down) * side + column + right for down in range(times) for right in range(times)]


class Pupil(torch.nn.Module):
    """The text half, with its loss."""

    def __init__(self, half: TextHalf) -> None:
        super().__init__()
        self.module, self._half = half.module, half

    def forward(
        self, features: torch.Tensor, ids: torch.Tensor, near: torch.Tensor, among: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss."""
        told = self.module(ids).text_embeds
        closeness = -torch.einsum("td,npd->tnp", told, self._half.patches(features))
        right, all_ = (closeness.masked_fill(~mask, -torch.inf).flatten(1).logsumexp(1) for mask in (near, among))
        return {"loss": (all_ - right).mean()}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of ``tiny-llava``, whose texts end as CLIP's do."""
    from tokenizers import AddedToken, processors
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    known = AutoTokenizer.from_pretrained(WEIGHTS)
    inner = known.backend_tokenizer
    inner.add_special_tokens([AddedToken(_END, special=True, normalized=False)])
    ends = [(one, inner.token_to_id(one)) for one in (known.bos_token, _END)]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{known.bos_token} $A {_END}", pair=f"{known.bos_token} $A $B {_END}", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=known.bos_token, eos_token=_END, pad_token=known.pad_token,
        unk_token=known.unk_token, padding_side="right", clean_up_tokenization_spaces=False,
        model_max_length=_POSITIONS, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_config(tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return the config of a CLIP whose vision tower is that of ``tiny-llava``."""
    from transformers import AutoConfig, CLIPConfig

    text = {
        "vocab_size": len(tokenizer), "hidden_size": _WIDTH, "intermediate_size": 2 * _WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": _POSITIONS, "projection_dim": _WIDTH,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {**AutoConfig.from_pretrained(WEIGHTS).vision_config.to_dict(), "projection_dim": _WIDTH}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=_WIDTH)


def train(recipe: Recipe, data: Conversations, out: Path) -> None:
    """Train, or go on training; write the text half to ``out/model``, as a CLIP without its vision tower.

    Args:
        recipe: What to do.
        data: What to learn from.
        out: Folder of the checkpoints, of the logs and of the model.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer()
    config = make_config(tokenizer)
    half = TextHalf(untrained(config), tokenizer, _POSITIONS)
    pupil = Pupil(half)
    fit(pupil, Pairs(recipe, data, half), recipe.loop, out)
    half.module.save_pretrained(out / "model")
    config.save_pretrained(out / "model")  # over that of the text tower alone
    tokenizer.save_pretrained(out / "model")
