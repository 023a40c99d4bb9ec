"""Questions in LLaVA's format, as a scheduler learns from them: each is a row of its own, with a budget of its own.

What a step learns from depends on the seed and the step alone, so that a resumed training sees the same.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ...adapters import conversations
from ...adapters.images import squared
from ...harness.contracts import Prompt
from ...harness.errors import UserError
from ...harness.reading import within

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ...adapters.multimodal_checkpoint import Checkpoint

Turn = tuple[str, str]
"""A message and its answer."""
_LENGTH = 2048
_PLACEHOLDER = "<image>"
_BLANK = Image.new("RGB", (1, 1))


class Said(NamedTuple):
    """A question as token ids: the prompt with a placeholder for its image, and the answer with its end."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


class Item(NamedTuple):
    """Some questions about one image, or without any.

    Attributes:
        pixels: [1, 3, h, w]; ``None`` without an image.
        questions: At least one.
        k: Units that may be on in each.
        seed: Of the plans that are drawn.
    """

    pixels: torch.Tensor | None
    questions: list[Said]
    k: list[int]
    seed: int


@dataclass(frozen=True)
class Source:
    """Conversations and images on disk.

    Attributes:
        file: A JSON list of records ``{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}]}``,
            with ``"image"``, a path, where there is one.
        images: The folder that those paths start from.
    """

    file: Path
    images: Path

    def records(self) -> list[dict[str, Any]]:
        """Read the records that hold a message and its answer.

        Raises:
            UserError: The file cannot be read, or there is none.
        """
        try:
            read = json.loads(self.file.read_text(encoding="utf-8"))
            records = [record for record in read if turns(record)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            message = f"no conversations can be read from it: {type(error).__name__}: {error}"
            raise UserError(message, where=str(self.file), todo="give LLaVA's format") from error
        if not records:
            raise UserError("it holds no conversation", where=str(self.file), todo="give LLaVA's format")
        return records

    def image(self, record: dict[str, Any]) -> Image.Image | None:
        """Read a record's image.

        Raises:
            UserError: It is not there, or broken.
        """
        if not record.get("image"):
            return None
        path = within(self.images, str(record["image"]))
        try:
            with Image.open(path) as opened:
                return opened.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(
                f"an image cannot be read: {error}", where=str(path), todo="fix it, or take its record out"
            ) from error


def turns(record: dict[str, Any]) -> list[Turn]:
    """Return the messages of a record with their answers, without placeholders."""
    said = record["conversations"]
    return [
        (one["value"].replace(_PLACEHOLDER, "").strip("\n"), two["value"])
        for one, two in pairwise(said)
        if (one["from"], two["from"]) == ("human", "gpt")
    ]


class Questions(torch.utils.data.Dataset[Item]):
    """Items without end; number ``i`` is always the same.

    Args:
        source: What is asked.
        loaded: The model that is asked.
        k: Fewest and most units that a plan turns on; budgets are drawn uniformly between them.
        length: Items.
        questions: Of an item, at most; drawn from its record.
        history: Whether a question follows the earlier ones of its record, or is asked alone.
        seed: Of all that is drawn.
    """

    def __init__(  # noqa: PLR0913 - one parameter is one option
        self,
        source: Source,
        loaded: Checkpoint,
        k: tuple[int, int],
        *,
        length: int,
        questions: int = 8,
        history: bool = False,
        seed: int = 0,
    ) -> None:
        self._source, self._loaded, self._k = source, loaded, k
        self._length, self._questions, self._history, self._seed = length, questions, history, seed
        self._records = source.records()
        self._ids = functools.lru_cache(2**16)(functools.partial(said, loaded))
        self._order = functools.lru_cache(1)(
            lambda epoch: np.random.default_rng([seed, epoch]).permutation(len(self._records))
        )

    def __len__(self) -> int:
        """Number of items that are asked for."""
        return self._length

    def __getitem__(self, number: int) -> Item:
        """Return an item.

        Raises:
            UserError: Its image cannot be read, or a message is so long that no answer fits.
        """
        epoch, place = divmod(number, len(self._records))
        chance = np.random.default_rng([self._seed, epoch, place])
        record = self._records[self._order(epoch)[place]]
        image, pairs = self._source.image(record), turns(record)
        chosen = chance.permutation(len(pairs))[: self._questions]
        asked = [self._ids(tuple(pairs[0 if self._history else turn : turn + 1]), image is not None) for turn in chosen]
        fitting = [one for one in asked if one.answer]
        if not fitting:
            todo = f"take out what has more than {_LENGTH} tokens"
            raise UserError("a message is too long", where=str(record.get("id", number)), todo=todo)
        k = chance.integers(*self._k, len(fitting), endpoint=True).tolist()
        return Item(self._pixels(image), fitting, k, int(chance.integers(2**31)))

    def _pixels(self, image: Image.Image | None) -> torch.Tensor | None:
        if image is None:
            return None
        processor = self._loaded.processor.image_processor
        square = squared(image, processor.image_mean)
        pixels: torch.Tensor = processor(images=[square], return_tensors="pt")["pixel_values"]
        return pixels


def said(loaded: Checkpoint, pairs: Sequence[Turn], with_image: bool) -> Said:
    """Return the last message, after those before it, and its answer as ids; cut where it grows too long.

    Args:
        loaded: The model that is asked.
        pairs: Messages and their answers.
        with_image: Whether there is an image; it comes before the first message.
    """
    tokenizer = loaded.processor.tokenizer
    first, answer = pairs[0][0], pairs[-1][1]
    prompt = Prompt(first, (_BLANK,) * with_image)
    text = loaded.render(prompt)
    heard = loaded.encode(prompt)
    if len(pairs) > 1:
        text = _continued(loaded, text, pairs)
        heard = tuple(conversations.tokenize(text, tokenizer))
    gap = "" if loaded.conversation == conversations.TEMPLATE else " "
    both = tuple(conversations.tokenize(text + gap + answer, tokenizer))
    if both[: len(heard)] == heard:
        spoken = both[len(heard) :]
    else:
        spoken = tuple(tokenizer(answer, add_special_tokens=False).input_ids)
    end = tokenizer.eos_token_id if tokenizer.eos_token_id in loaded.decoding.eos else min(loaded.decoding.eos)
    return Said(heard, (*spoken, end)[: max(0, _LENGTH - len(heard))])


def collate(items: Sequence[Item]) -> dict[str, Any]:
    """Return the arguments of `train_adallava.LlavaTrainee`'s forward pass.

    What the questions of an image begin with alike, the image included, stands once.
    """
    starts, ends, answers, start_of, k, pixels = [], [], [], [], [], []
    for item in items:
        shared = _alike([one.prompt for one in item.questions]) if item.pixels is not None else None
        for place, one in enumerate(item.questions):
            if place == 0 or shared is None:
                starts.append(torch.tensor(one.prompt[:shared]))
            start_of.append(len(starts) - 1)
            ends.append(torch.tensor(one.prompt[shared:] if shared is not None else (), dtype=torch.long))
            answers.append(torch.tensor(one.answer))
        k += item.k
        if item.pixels is not None:
            pixels.append(item.pixels)
    return {
        "pixels": torch.cat(pixels) if pixels else None,
        "starts": starts,
        "ends": ends,
        "answers": answers,
        "start_of": start_of,
        "k": k,
        "seed": items[0].seed,
    }


def _alike(rows: Sequence[Sequence[int]]) -> int:
    """How many of their first ids some rows have in common."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))))


def _continued(loaded: Checkpoint, text: str, pairs: Sequence[Turn]) -> str:
    """A conversation up to its last message; ``text`` is its first message, as it is asked alone."""
    if loaded.conversation == conversations.TEMPLATE:
        with_image = loaded.processor.image_token in text
        messages: list[dict[str, Any]] = []
        for question, answer in pairs:
            content = [{"type": "text", "text": question}]
            first = [{"type": "image"}] if with_image and not messages else []
            messages.append({"role": "user", "content": [*first, *content]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        return conversations.in_template(messages[:-1], loaded.processor)
    around, end = conversations.CONVERSATIONS[loaded.conversation], loaded.processor.tokenizer.eos_token
    for (_, answer), (question, _) in pairwise(pairs):
        text += f" {answer}{end}{around.before.lstrip()}{question}{around.after}"
    return text
