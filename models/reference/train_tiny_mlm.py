"""The training of ``tiny-mlm``: a BERT of 0.3 million parameters that reads the texts of a small world.

First, of the words of each text three in ten are masked as in BERT: of ten, eight become the mask and one another word.
Then only the word is masked that a text has in brackets, then the one in angles. Last come batches of all three in
turn, so that nothing is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from ...harness.progress import Lines
from ..finetuning.loop import Loop, fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SPECIAL = {
    "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"
}  # fmt: skip
_MASKED, _AS_MASK, _AS_OTHER = 0.3, 0.8, 0.9
_MARKS = {"": "", "[": "asked", "<": "prompted"}
"""What stands before the words that are masked -> the folder of that part of the training."""
_HELD_OUT = 31
"""Of as many texts the last is for validation: with the texts of the small world 2,000, and 60,000 are read."""
_VALIDATED = 32
"""Batches of a validation."""
_NEAR = 16
"""Batches' worth of texts of like length that a batch is drawn from, so that little is padding."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, the texts aside."""

    steps: int = 2400
    asked_steps: int = 1400
    """Of the second part."""
    prompted_steps: int = 1000
    """Of the third."""
    mixed_steps: int = 600
    """Of the last."""
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
        steps: How many batches.
    """

    def __init__(self, recipe: Recipe, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
        self._recipe, self._tokenizer, self._steps = recipe, tokenizer, steps
        self._rows = sorted((row[: recipe.tokens] for row in tokenizer(texts)["input_ids"]), key=len)

    def __len__(self) -> int:
        return self._steps

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
    """Batches of texts of which a marked word is masked; what a batch holds depends on its number alone.

    Args:
        recipe: Tells sizes and the seed.
        texts: What is read; those without the mark are left out.
        tokenizer: Of the model.
        mark: What stands before the word.
        steps: How many batches.
    """

    def __init__(
        self, recipe: Recipe, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, mark: str, steps: int
    ) -> None:
        self._recipe, self._tokenizer, self._steps = recipe, tokenizer, steps
        asked = [text for text in texts if mark in text]
        before = tokenizer([text.partition(mark)[0] for text in asked], add_special_tokens=False)["input_ids"]
        rows = tokenizer([plain(text) for text in asked])["input_ids"]
        self._rows = [
            (row, 1 + len(start)) for row, start in zip(rows, before, strict=True) if len(row) <= recipe.tokens
        ]

    def __len__(self) -> int:
        return self._steps

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


class InTurn:
    """The batches of several others in turn.

    Args:
        others: Which.
        steps: How many batches.
    """

    def __init__(self, others: Sequence[Texts | Asked], steps: int) -> None:
        self._others, self._steps = others, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return what `Texts` does."""
        return self._others[number % len(self._others)][number // len(self._others)]


def batches(
    recipe: Recipe, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, mark: str, steps: int
) -> Texts | Asked:
    """Return batches in which the words after a mark are masked, or any words if it is empty."""
    if mark:
        return Asked(recipe, texts, tokenizer, mark, steps)
    return Texts(recipe, [plain(text) for text in texts], tokenizer, steps)


def plain(text: str) -> str:
    """Return a text without its marks."""
    return text.translate(str.maketrans("", "", "[]<>"))


class Reader(torch.nn.Module):
    """The model with its loss, that of the masked words."""

    def __init__(self, network: BertForMaskedLM) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean loss and the share of the masked words that are right; the head runs at these alone."""
        states = self.network.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        masked = labels != -100
        logits, right = self.network.cls(states[masked]), labels[masked]
        return {"loss": cross_entropy(logits, right), "accuracy": (logits.argmax(dim=1) == right).float().mean()}


def validated(reader: Reader, found: Texts | Asked) -> tuple[float, float]:
    """Return the mean loss over some batches, and the share of masked words that are right."""
    reader.eval()
    with torch.no_grad():
        each = [reader(**found[number]) for number in range(len(found))]
    loss, right = (float(np.mean([one[name].item() for one in each])) for name in ("loss", "accuracy"))
    return loss, right


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
        texts: What to read, two or more.
        out: Folder of the checkpoints, of ``log.jsonl`` and of the model.
        save_every: Steps between two checkpoints.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer([plain(text) for text in texts])
    sizes: dict[str, Any] = {
        "hidden_size": recipe.width, "intermediate_size": 2 * recipe.width, "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads, "max_position_embeddings": recipe.tokens, "vocab_size": len(tokenizer),
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "tie_word_embeddings": False,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    reader = Reader(BertForMaskedLM(BertConfig(**sizes)))
    loop = Loop(
        steps=recipe.steps, rate=recipe.rate, optimizer="adamw", decay=0.01, schedule="cosine", warmup=0.05, clip=1.0,
        save_every=save_every, log_every=50, seed=recipe.seed,
    )  # fmt: skip
    cut = len(texts) - max(1, len(texts) // _HELD_OUT)
    marks = [mark for mark in _MARKS if any(mark in text for text in texts[cut:])]
    steps = {"": recipe.steps, "[": recipe.asked_steps, "<": recipe.prompted_steps}
    read = {mark: batches(recipe, texts[:cut], tokenizer, mark, steps[mark]) for mark in marks}
    half = replace(loop, rate=recipe.rate / 2)
    for mark in marks:
        fit(reader, read[mark], replace(half, steps=steps[mark]) if mark else loop, out / _MARKS[mark])
    mixed = replace(half, steps=recipe.mixed_steps)
    fit(reader, InTurn(list(read.values()), mixed.steps), mixed, out / "mixed")
    for mark in marks:
        loss, right = validated(reader, batches(recipe, texts[cut:], tokenizer, mark, _VALIDATED))
        Lines(0).note(f"masked words of texts not read ({mark or 'any'}): loss {loss:.3f}, {right:.1%} right")
    reader.network.half().save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
