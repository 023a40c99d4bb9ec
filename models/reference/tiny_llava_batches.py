"""Training data in LLaVA's format, and the batches that ``tiny-llava`` learns from.

A batch depends on the seed, the stage and the step alone, so that a resumed training sees the same ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .tiny_llava_parts import IMAGE, MEAN, PATCHES, STD, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

IGNORED = -100
"""Label of what is not to be said."""


@dataclass(frozen=True)
class Conversations:
    """A folder of images and conversations.

    Attributes:
        folder: Holds ``pretrain.json``, ``instruct.json``, ``classes.json`` and the images.
    """

    folder: Path

    @cached_property
    def captions(self) -> list[dict[str, Any]]:
        """The records of LLaVA's first stage."""
        return list(self._read("pretrain"))

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        """The records of LLaVA's second stage."""
        return list(self._read("instruct"))

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Attribute -> names of its classes, in the order of the numbers in a cell."""
        found: dict[str, list[str]] = self._read("classes")
        return found

    def texts(self) -> Iterator[str]:
        """Yield everything that is said."""
        for record in (*self.captions, *self.questions):
            for turn in record["conversations"]:
                yield turn["value"]

    def pixels(self, records: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Return the images of records, [n, 3, side, side], as the processor prepares them."""
        from PIL import Image

        loaded = [np.asarray(Image.open(self.folder / record["image"]).convert("RGB")) for record in records]
        scaled = torch.from_numpy(np.stack(loaded)).permute(0, 3, 1, 2).float() / 255
        return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    def _read(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def drawn(records: Sequence[Any], size: int, step: int, seed: Sequence[int]) -> tuple[list[Any], np.random.Generator]:
    """Return the records of a step, every one once an epoch, and the generator of whatever else the step draws."""
    per_epoch = len(records) // size
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([*seed, epoch]).permutation(len(records))[place * size :][:size]
    return [records[number] for number in order], np.random.default_rng([*seed, epoch, place])


class Speech:
    """Turns conversations into tensors.

    Args:
        tokenizer: Of the model.
        turns: Greatest number of turns taken from a conversation.
        shown: How an image is written into the first message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, turns: int, shown: str = f"{IMAGE * PATCHES}\n") -> None:
        self._tokenizer, self._turns = tokenizer, turns
        self._known: dict[str, list[int]] = {}
        self._prefix = self._ids(f"<s>{SYSTEM} USER: {shown}")

    def batch(
        self, records: Sequence[dict[str, Any]], rng: np.random.Generator, *, together: bool
    ) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``labels``, ``position_ids`` [n, length] and ``attention_mask`` [n, 1, length, length].

        Args:
            records: One conversation each.
            rng: Chooses the turns and their order.
            together: Whether a turn sees those before it. If not, it sees the image and itself, at the positions of
                the first turn: many questions share one image, and each is asked as if it were alone.
        """
        rows = [self._row(record["conversations"], rng, together) for record in records]
        length = max(len(ids) for ids, *_ in rows)
        shape = len(rows), length
        batch = {
            "input_ids": torch.full(shape, self._tokenizer.pad_token_id),
            "labels": torch.full(shape, IGNORED),
            "position_ids": torch.zeros(shape, dtype=torch.long),
        }
        turns = torch.full(shape, -1)
        for number, columns in enumerate(rows):
            for name, column in zip(("input_ids", "labels", "position_ids"), columns, strict=False):
                batch[name][number, : len(column)] = torch.tensor(column)
            turns[number, : len(columns[3])] = torch.tensor(columns[3])
        sees = (turns[:, :, None] == turns[:, None, :]) | (turns[:, None, :] == 0)
        batch["attention_mask"] = (sees & torch.ones(length, length, dtype=torch.bool).tril())[:, None]
        return batch

    def _row(self, said: list[dict[str, str]], rng: np.random.Generator, together: bool) -> tuple[list[int], ...]:
        """Ids, labels, positions and turns of one conversation; turn 0 is what all of it sees."""
        ids, labels = list(self._prefix), [IGNORED] * len(self._prefix)
        positions, turns = list(range(len(ids))), [0] * len(ids)
        pairs = list(zip(said[::2], said[1::2], strict=True))
        for number, chosen in enumerate(rng.permutation(len(pairs))[: self._turns], start=1):
            message, reply = (part["value"] for part in pairs[chosen])
            message = message.removeprefix(f"{IMAGE}\n")
            heard = self._ids(f"{'USER: ' if together and number > 1 else ''}{message} ASSISTANT:")
            answer = self._ids(f"{reply}</s>")
            start = len(ids) if together else len(self._prefix)
            length = len(heard) + len(answer)
            ids += heard + answer
            labels += [IGNORED] * len(heard) + answer
            positions += range(start, start + length)
            turns += [0 if together else number] * length
        return ids, labels, positions, turns

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._known[text]
