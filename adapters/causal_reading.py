"""Rows of tokens that go through a causal language model together, at once or one more token at a time."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from . import installed
from .prefix_cache import PrefixBatch, growable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .last_block import LastBlock

    Row = list[int]


class Rows(NamedTuple):
    """Rows of tokens of equal length, with padding among them.

    Attributes:
        ids: int64 [B, n]; padding is 0.
        mask: int64 [B, n]: 1 where a token is read, 0 where there is padding.
    """

    ids: torch.Tensor
    mask: torch.Tensor


def left_padded(rows: Sequence[Row], device: Any) -> Rows:
    """Pad rows where they begin, so that they end together and go on together."""
    longest = max(map(len, rows))
    ids = [[0] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return Rows(torch.tensor(ids, device=device), torch.tensor(mask, device=device))


def right_padded(rows: Sequence[Row], device: Any) -> Rows:
    """Pad rows at the end. Padding is read like tokens: causal models do not let it change the output before it."""
    longest = max(map(len, rows))
    ids = torch.tensor([list(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return Rows(ids, torch.ones_like(ids))


class Reader:
    """The forward pass of a causal language model.

    Args:
        model: The library's.

    Attributes:
        model: The same.
        apart: Whether its attention reads a prefix that rows share once (`prefix_cache`).
        last_block: What of it runs only for the tokens that are asked for; ``None`` if it is not known to be able to.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.apart = model, False
        self.last_block: LastBlock | None = None
        self._cache = ""

    @functools.cached_property
    def _heeds(self) -> frozenset[str]:
        return installed.heeded(self.model)

    def read(
        self,
        rows: Rows,
        past: PrefixBatch | None = None,
        keep: Sequence[Sequence[int]] | None = None,
        *,
        cached: bool = False,
        whole: bool = False,
    ) -> tuple[torch.Tensor, PrefixBatch]:
        """Return the logits [B, k, vocabulary] after some tokens, and what to go on from.

        Args:
            rows: What is read.
            past: What was read before it; used up.
            keep: Places of the k tokens in each row; default all.
            cached: Whether more is to be read after it; without, there is nothing to go on from.
            whole: Run all of its blocks for all tokens, as FLOPs are counted.
        """
        mask = rows.mask if past is None else torch.cat([past.mask, rows.mask], dim=1)
        given: dict[str, Any] = {
            "input_ids": rows.ids,
            "attention_mask": mask,
            "use_cache": cached or past is not None,
        }
        if "position_ids" in self._heeds:
            given["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -rows.ids.shape[1] :]
        if past is not None:
            given[self._cache] = past.cache
        if keep is None:
            out = self.model(**given)
            logits: torch.Tensor = out.logits
        else:
            out, logits = self._asked(given, keep, whole=whole)
        name, cache = installed.cached(out)
        self._cache = name or self._cache
        return logits, PrefixBatch(cache, mask)

    def _asked(self, given: dict[str, Any], keep: Sequence[Sequence[int]], *, whole: bool) -> tuple[Any, torch.Tensor]:
        """Run the model; return what it returns, and the logits after some tokens alone, [B, k, vocabulary]."""
        width, places = given["input_ids"].shape[1], torch.tensor(keep, device=given["input_ids"].device)
        if self.last_block is not None and not whole and places.shape[1] < width:
            with self.last_block.only_for(places, width):
                out = self.model(**given)
            return out, out.logits
        every = sorted(set().union(*keep))
        if "logits_to_keep" in self._heeds and len(every) < width:
            given["logits_to_keep"] = torch.tensor(every, device=places.device)
            places = torch.searchsorted(given["logits_to_keep"], places)
        out = self.model(**given)
        return out, out.logits.gather(1, places[..., None].expand(-1, -1, out.logits.shape[-1]))


class Reading:
    """Prompts that a model has read, and their answers so far.

    Args:
        reader: Of the model.
        past: The prompts.
        drops: Whether rows can be taken out of the cache. If not, they keep running, and their output is ignored.
    """

    def __init__(self, reader: Reader, past: PrefixBatch, *, drops: bool = True) -> None:
        self._reader, self._past, self._drops = reader, PrefixBatch(growable(past.cache), past.mask), drops
        self._wanted: torch.Tensor | None = None

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Read one more token of each row, int64 [B]; return the logits [B, vocabulary] of the one after it."""
        mask = self._past.mask
        if self._wanted is not None:
            ids = mask.new_zeros(len(mask)).index_copy(0, self._wanted, ids)
        logits, self._past = self._reader.read(Rows(ids[:, None], mask.new_ones(len(ids), 1)), self._past)
        last: torch.Tensor = logits[:, -1]
        return last if self._wanted is None else last[self._wanted]

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        chosen = torch.tensor(rows, device=self._past.mask.device)
        if self._drops:
            installed.keep_rows(self._past.cache, chosen)
            self._past = PrefixBatch(self._past.cache, self._past.mask[chosen])
        else:
            self._wanted = chosen if self._wanted is None else self._wanted[chosen]
