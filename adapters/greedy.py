"""Greedy decoding of a batch whose answers end at different times."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..harness.contracts import Prompt
    from .decoder import Cache, Decoder
    from .decoding import Decoding, Ids


class Reading(Protocol):
    """Prompts that a model has read, and their answers so far: what the next tokens are read after."""

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Read one more token of each row, int64 [B]; return the logits [B, vocabulary] of the one after it."""
        ...

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        ...


class InDecoder(NamedTuple):
    """The `Reading` of a decoder that can be steered."""

    decoder: Decoder
    cache: Cache

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Read one more token of each row, int64 [B]; return the logits [B, vocabulary] of the one after it."""
        return self.decoder.step(ids, self.cache)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        self.cache.keep_rows(rows)


def greedy(
    reading: Reading, logits: torch.Tensor, read: Iterable[Ids], prompts: Sequence[Prompt], decoding: Decoding
) -> list[list[int]]:
    """Return the token ids of the answers; what has ended is computed no more.

    Args:
        reading: Of the prompts; used up.
        logits: Of the first tokens, [B, vocabulary].
        read: Token ids of each prompt; see `Decoding.change`.
        prompts: How long the answers may be, and where they stop.
        decoding: The rule.
    """
    change = decoding.change(read, (prompt.max_new_tokens for prompt in prompts))
    answers: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    while True:
        scores = logits if change is None else change(logits, alive, answers)
        tokens = scores.argmax(dim=-1).tolist()
        going = []
        for place, (row, token) in enumerate(zip(alive, tokens, strict=True)):
            if token not in decoding.eos:
                answers[row].append(token)
                if not decoding.ended(answers[row], prompts[row]):
                    going.append(place)
        if not going:
            return answers
        if len(going) < len(alive):
            reading.keep_rows(going)
            alive = [alive[place] for place in going]
        logits = reading.step(torch.tensor([tokens[place] for place in going], device=logits.device))
