"""Greedy decoding of a batch whose answers end at different times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from .decoder import Cache, Decoder


def greedy(
    decoder: Decoder,
    first: tuple[torch.Tensor, Cache],
    limits: Sequence[int],
    eos: Collection[int],
    ended: Callable[[int, list[int]], bool],
) -> list[list[int]]:
    """Return the most probable token after the other, for each prompt; what has ended is computed no more.

    Args:
        decoder: Which made ``first``.
        first: Logits [B, vocabulary] of the first tokens, and the cache of the prompts; used up.
        limits: Tokens of each answer, at most.
        eos: Tokens that end an answer; they are no part of it.
        ended: Tells for a row and its tokens whether the answer is over.
    """
    logits, cache = first
    answers: list[list[int]] = [[] for _ in limits]
    alive = list(range(len(limits)))
    while alive:
        tokens = logits.argmax(dim=-1).tolist()
        going = []
        for place, (row, token) in enumerate(zip(alive, tokens, strict=True)):
            if token in eos or len(answers[row]) >= limits[row]:
                continue
            answers[row].append(token)
            if len(answers[row]) < limits[row] and not ended(row, answers[row]):
                going.append(place)
        if going and len(going) < len(alive):
            cache.keep_rows(going)
        alive = [alive[place] for place in going]
        if alive:
            logits = decoder.step(torch.tensor([tokens[place] for place in going], device=logits.device), cache)
    return answers
