"""What methods may read of a decoder's blocks: attention, row by row, and keys.

All of it is computed when it is asked for, from the input of the block or from the keys that it kept: fused kernels
return no probabilities, and methods need few rows of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from ..harness.errors import UserError
from .decoder_blocks import WHOLE, rotate
from .decoder_state import Tokens, picked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .decoder_blocks import Blocks
    from .decoder_state import Cache, State
    from .kv_cache import RotaryEmbedding


class ReadDecoder(Protocol):
    """What reading needs of a decoder, whose own docstrings say what these are."""

    blocks: Blocks

    def rotary(self, hidden: torch.Tensor, tokens: Tokens) -> RotaryEmbedding: ...  # noqa: D102
    def normed(self, hidden: torch.Tensor) -> torch.Tensor: ...  # noqa: D102
    def window(self, index: int) -> int | None: ...  # noqa: D102


class BlockReading:
    """What can be read of a block that has run; as `decoder_state.Reading` says.

    Args:
        decoder: Whose block it is.
        index: Which block.
        given: What it was given.
        cache: Of the prompts; it holds the block's keys.
    """

    def __init__(self, decoder: ReadDecoder, index: int, given: State, cache: Cache) -> None:
        self._decoder, self._index, self._cache = decoder, index, cache
        self._given = given.unread()

    def __call__(self) -> torch.Tensor:
        """Return the last token's attention."""
        keys, tokens = self._kept()
        return self._last_row(self._index, self._given.own[:, -1:], keys, tokens)

    def ahead(self, state: State) -> torch.Tensor:
        """Return the last token's attention in the block that runs next."""
        decoder, index, tokens = self._decoder, self._index + 1, state.tokens
        window = decoder.window(index)
        if window is not None and tokens.count >= window:
            raise _windowed(index)
        keys = decoder.blocks.rotated(index, "k", state.hidden, decoder.rotary(state.hidden, tokens))
        return self._last_row(index, state.own[:, -1:], keys, tokens)

    def by_head(self, places: torch.Tensor, *, by_distance: bool = False) -> Iterator[torch.Tensor]:
        """Yield the attention of some tokens, head by head."""
        keys, tokens = self._kept()
        given = self._given.hidden
        if given.shape[1] < tokens.count:
            what = f"block {self._index} ran before the method begins, and what it was given is no longer known"
            raise UserError(what, todo=f"let the method begin at block {self._index} or below")
        positions, asking = picked(tokens.positions, places), picked(given, places)
        queries = self._queries(self._index, asking, Tokens(places >= 0, positions, places < 0))
        order = torch.arange(tokens.count, device=places.device)
        hidden = (order > places[..., None]) | ~tokens.real[:, None]
        ones = self._ones(tokens, places, keys.shape[-1]) if by_distance else None
        for head in range(queries.shape[1]):
            of = head * keys.shape[1] // queries.shape[1]
            own = self._decoder.blocks.scores(self._index, queries[:, head, None], keys[:, of, None])[:, 0]
            # Not -inf, which would make NaN of a row of padding, which sees nothing.
            scores = own.to(hidden.device).float().masked_fill(hidden, torch.finfo(torch.float32).min)
            attention = scores.softmax(dim=-1)
            yield attention if ones is None else attention / ones

    def keys(self) -> torch.Tensor:
        """Return the keys that the block kept."""
        return self._kept()[0].to(self._given.own.device)

    def normed(self, state: State) -> torch.Tensor:
        """Return a state's tokens after the decoder's last norm."""
        return self._decoder.normed(state.hidden)

    def _ones(self, tokens: Tokens, places: torch.Tensor, width: int) -> torch.Tensor:
        """Logits of some tokens with each, where all queries and keys are ones: float32 [B, q, n]."""
        ones = torch.ones(*tokens.positions.shape[:2], width, device=places.device)
        turned = rotate(ones[:, None], self._decoder.rotary(ones, tokens))[:, 0]
        found: torch.Tensor = picked(turned, places) @ turned.transpose(1, 2) * width**-0.5
        return found

    def _last_row(self, index: int, last: torch.Tensor, keys: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        query = self._queries(index, last, tokens.latest(1))
        scores = self._decoder.blocks.scores(index, query, keys).squeeze(2).to(last.device)
        return scores.float().masked_fill(~tokens.real[:, None], -torch.inf).softmax(dim=-1)

    def _queries(self, index: int, given: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        return self._decoder.blocks.rotated(index, "q", given, self._decoder.rotary(given, tokens))

    def _kept(self) -> tuple[torch.Tensor, Tokens]:
        """Keys of the block, all of them, and which tokens they belong to."""
        index = self._index
        if [block for block, _ in self._cache.parts(index)] != [WHOLE]:
            raise UserError(
                f"block {index} did not run whole in every row, so there is no attention of it to be read",
                todo="let the method that reads attention act before the one that plans",
            )
        kept, tokens = self._cache.kept[index][WHOLE]
        if kept.most is not None and tokens.count >= kept.most:
            raise _windowed(index)
        if kept.pair is None:
            raise UserError(f"block {index} kept no keys", todo="read the attention of a block that ran")
        return kept.pair[0], tokens


def _windowed(index: int) -> UserError:
    what = f"block {index} has forgotten tokens that left its sliding window"
    return UserError(what, todo="choose a block without one, or a shorter prompt")


def places_of(flags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places [B, m] of true flags [B, n] in order, m the most of a row, and which of them are true.

    Rows with fewer end in places of false flags.
    """
    most = int(flags.sum(dim=1).max())
    places = flags.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return places, flags.gather(1, places)
