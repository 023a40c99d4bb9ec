"""The training of ``tiny-mlm``: a BERT of 0.3 million parameters that reads the texts of a small world.

First, of the words of each text three in ten are masked as in BERT: of ten, eight become the mask and one another word.
Then only the word is masked that a text has in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from ..finetuning.loop import Loop, fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SPECIAL = {
    "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"
}  # fmt: skip
_MASKED, _AS_MASK, _AS_OTHER = 0.3, 0.8, 0.9
_NEAR = 16
"""Batches' worth of texts of like length that a batch is drawn from, so that little is padding."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the texts aside."""

    steps: int = 2400
    asked_steps: int = 1400
    """Of the second part."""
    batch: int = 64
    rate: float = 2e-3
    layers: int = 3
    width: int = 96
    heads: int = 4
    tokens: int = 64
    """Places of the model."""
    seed: int = 0


class Texts:
    """Masked batches of texts; what a batch holds depends on its number alone.

    Args:
        recipe: Tells sizes and the seed.
        texts: What is read.
        tokenizer: Of the model.
    """

    def __init__(self, recipe: Recipe, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer
        self._rows = sorted((row[: recipe.tokens] for row in tokenizer(texts)["input_ids"]), key=len)

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels`` [batch, length]; -100 where nothing is masked."""
        dice, size = np.random.default_rng((self._recipe.seed, number)), self._recipe.batch
        start = int(dice.integers(max(1, len(self._rows) - _NEAR * size)))
        near = self._rows[start : start + _NEAR * size]
        rows = [near[place] for place in dice.integers(len(near), size=size)]
        ids = np.full((size, max(map(len, rows))), self._tokenizer.pad_token_id)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        read = ids != self._tokenizer.pad_token_id
        hidden = (dice.random(ids.shape) < _MASKED) & (ids >= len(SPECIAL))
        labels = np.where(hidden, ids, -100)
        how = dice.random(ids.shape)
        ids[hidden & (how < _AS_MASK)] = self._tokenizer.mask_token_id
        others = dice.integers(len(SPECIAL), len(self._tokenizer), size=ids.shape)
        ids = np.where(hidden & (how >= _AS_MASK) & (how < _AS_OTHER), others, ids)
        arrays = {"input_ids": ids, "attention_mask": read.astype(np.int64), "labels": labels}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Asked:
    """Batches of texts of which the word in brackets is masked; what a batch holds depends on its number alone.

    Args:
        recipe: Tells sizes and the seed.
        texts: What is read; those without a word in brackets are left out.
        tokenizer: Of the model.
    """

    def __init__(self, recipe: Recipe, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer
        asked = [text for text in texts if "[" in text]
        before = tokenizer([text.partition("[")[0] for text in asked], add_special_tokens=False)["input_ids"]
        rows = tokenizer([plain(text) for text in asked])["input_ids"]
        self._rows = [
            (row, 1 + len(start)) for row, start in zip(rows, before, strict=True) if len(row) <= recipe.tokens
        ]

    def __len__(self) -> int:
        return self._recipe.asked_steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return what `Texts` does."""
        dice, size = np.random.default_rng((self._recipe.seed, 1, number)), self._recipe.batch
        chosen = [self._rows[place] for place in dice.integers(len(self._rows), size=size)]
        ids = np.full((size, max(len(row) for row, _ in chosen)), self._tokenizer.pad_token_id)
        labels = np.full(ids.shape, -100)
        for place, (row, asked) in enumerate(chosen):
            ids[place, : len(row)] = row
            ids[place, asked], labels[place, asked] = self._tokenizer.mask_token_id, row[asked]
        read = (ids != self._tokenizer.pad_token_id).astype(np.int64)
        arrays = {"input_ids": ids, "attention_mask": read, "labels": labels}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def plain(text: str) -> str:
    """Return a text without its brackets."""
    return text.replace("[", "").replace("]", "")


class Reader(torch.nn.Module):
    """The model with its loss, that of the masked words."""

    def __init__(self, network: BertForMaskedLM) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean loss; the head runs at the masked words alone."""
        states = self.network.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        masked = labels != -100
        return {"loss": cross_entropy(self.network.cls(states[masked]), labels[masked])}


def make_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are the words of the texts, in small letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({}, unk_token=SPECIAL["unk_token"]))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in made.pre_tokenizer.pre_tokenize_str(text.lower())}
    vocabulary = {word: place for place, word in enumerate([*SPECIAL.values(), *sorted(words)])}
    made.model = models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"])
    begin, end = SPECIAL["cls_token"], SPECIAL["sep_token"]
    made.post_processor = processors.BertProcessing((end, vocabulary[end]), (begin, vocabulary[begin]))
    return PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL)


def train(recipe: Recipe, texts: Sequence[str], out: Path, *, save_every: int = 200) -> None:
    """Train, or go on training; write the model to ``out/model`` as float16.

    Args:
        recipe: What to do.
        texts: What to read.
        out: Folder of the checkpoints, of ``log.jsonl`` and of the model.
        save_every: Steps between two checkpoints.
    """
    torch.manual_seed(recipe.seed)
    read = [plain(text) for text in texts]
    tokenizer = make_tokenizer(read)
    sizes: dict[str, Any] = {
        "hidden_size": recipe.width, "intermediate_size": 2 * recipe.width, "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads, "max_position_embeddings": recipe.tokens, "vocab_size": len(tokenizer),
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    network = BertForMaskedLM(BertConfig(**sizes))
    loop = Loop(
        steps=recipe.steps, rate=recipe.rate, optimizer="adamw", decay=0.01, schedule="cosine", warmup=0.05, clip=1.0,
        save_every=save_every, log_every=50, seed=recipe.seed,
    )  # fmt: skip
    reader = Reader(network)
    fit(reader, Texts(recipe, read, tokenizer), loop, out)
    asked = replace(loop, steps=recipe.asked_steps, rate=recipe.rate / 2)
    fit(reader, Asked(recipe, texts, tokenizer), asked, out / "asked")
    network.half().save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
