"""How rows of tokens run through a causal language model: nothing is computed twice, or without being read.

1. What rows begin with in common runs once; what the rows before them began with does not run again.
2. Rows of about equal length run together, padded where they end: causal attention never sees that padding, and needs
   no mask. Logits are computed only where they are asked for, and so is most of the last block.
3. All rows decode together, however long they are, and those that have ended leave.

All of this takes a model that shares (`Abilities`). Others run in batches that do not change what they say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from . import prefix_cache
from .causal_reading import Reading, left_padded, right_padded
from .placement import device_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .causal_abilities import Abilities
    from .causal_reading import Reader, Row
    from .prefix_cache import PrefixBatch

_WORTH_SHARING = 16
"""Tokens that rows must begin with in common before their prefix is run apart."""
_KEPT = 2**30
"""Bytes that the prefix of the last rows may take."""
_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""What configs call the number of tokens that a layer looks back."""


class Opened(NamedTuple):
    """Rows that have been read and will be answered.

    Attributes:
        places: Which rows.
        logits: Of the first tokens of their answers, [n, vocabulary].
        reading: What to go on with; ``None`` if only the library's own ``generate`` can answer: it reads them itself.
    """

    places: list[int]
    logits: torch.Tensor
    reading: Reading | None


class Batches:
    """Runs rows in batches.

    Args:
        reader: Of the model.
        able: What it can do.
        share: Whether rows may share what they begin with.
    """

    def __init__(self, reader: Reader, able: Abilities, *, share: bool) -> None:
        self._reader, self._able, self._share = reader, able, share
        config = reader.model.config.get_text_config()
        sizes = [getattr(config, name, None) for name in _WINDOWS]
        window = min((size for size in sizes if isinstance(size, int)), default=math.inf)
        # Padding may stand among the tokens of a row, which no window counts: none may end there.
        self._max_tokens = min(window - 1, able.max_tokens) if able.shares else 0
        self._kept: tuple[Row, PrefixBatch | None] = ([], None)

    def opened(self, rows: Sequence[Row], new: Sequence[int]) -> Iterator[Opened]:
        """Read rows that will be answered.

        Args:
            rows: Token ids of each.
            new: Tokens of each answer, at most.
        """
        lengths = [len(row) for row in rows]
        if rows and max(lengths) + max(new) <= self._max_tokens:
            yield self._opened_together(rows)
            return
        for places in self._able.answered_together(lengths, new):
            if not self._able.steps or max(lengths[place] + new[place] for place in places) > self._able.max_tokens:
                yield Opened(places, torch.empty(0), None)
                continue
            padded = left_padded([rows[place] for place in places], device_of(self._reader.model))
            last = padded.ids.shape[1] - 1
            logits, past = self._reader.read(padded, keep=[[last]] * len(places), cached=True)
            yield Opened(places, logits[:, -1], Reading(self._reader, past, drops=self._able.drops))

    def logits(self, rows: Sequence[Row], wanted: Sequence[int], *, whole: bool = False) -> list[torch.Tensor]:
        """Return the logits [wanted, vocabulary] that follow the last tokens of each row.

        Args:
            rows: Token ids of each.
            wanted: How many tokens, row by row.
            whole: Compute everything, as FLOPs are counted: also what rows share, and what is not read.
        """
        found: list[Any] = [None] * len(rows)
        fits = not whole and max(map(len, rows), default=0) <= self._max_tokens
        count, prefix = self._shared_prefix(rows, wanted) if fits else (0, None)
        for places in self._able.read_together([len(row) - count for row in rows]):
            own, some = [rows[place][count:] for place in places], [wanted[place] for place in places]
            for place, logits in zip(places, self._read(own, some, prefix, whole=whole)[0], strict=True):
                found[place] = logits
        return found

    def _opened_together(self, rows: Sequence[Row]) -> Opened:
        """Read rows in batches that go on as one."""
        order: list[int] = []
        logits: list[torch.Tensor] = []
        past: list[PrefixBatch] = []
        count, prefix = self._shared_prefix(rows, [1] * len(rows))
        for places in self._able.read_together([len(row) - count for row in rows]):
            said, cached = self._read([rows[place][count:] for place in places], [1] * len(places), prefix)
            order += places
            logits += said
            past.append(cached)
        if self._share and len(rows) == 1 and prefix is None:
            self._keep(rows[0], past[0])
        return Opened(order, torch.cat(logits), Reading(self._reader, prefix_cache.joined(past)))

    def _read(
        self, rows: Sequence[Row], wanted: Sequence[int], prefix: PrefixBatch | None, *, whole: bool = False
    ) -> tuple[list[torch.Tensor], PrefixBatch]:
        """Read rows that continue a prefix; return the logits that are wanted of each, and what to go on from."""
        padded = right_padded(rows, device_of(self._reader.model))
        most = max(wanted)
        last = [[max(0, len(row) - count) for count in range(most, 0, -1)] for row in rows]
        past = prefix and prefix_cache.forked(prefix, len(rows), apart=self._reader.apart)
        logits, past = self._reader.read(padded, past, last, cached=True, whole=whole)
        found = [said[most - count :] for said, count in zip(logits, wanted, strict=True)]
        return found, past.behind(rows)

    def _shared_prefix(self, rows: Sequence[Row], wanted: Sequence[int]) -> tuple[int, PrefixBatch | None]:
        """How many tokens all rows begin with - a single row: it and the one before - and what is read of these."""
        if not self._share or not rows:
            return 0, None
        kept, past = self._kept
        most = min(len(row) - count for row, count in zip(rows, wanted, strict=True))
        count = _common([*rows, kept] if len(rows) == 1 else rows, most)
        if count < _WORTH_SHARING:
            return 0, None
        known = _common([rows[0], kept], count)
        past = prefix_cache.cropped(past, known) if past and known else None
        if known < count or past is None:
            new = right_padded([rows[0][known:count]], device_of(self._reader.model))
            _, past = self._reader.read(new, past, [[count - known - 1]], cached=True)
        self._keep(rows[0][:count], past)
        return count, past

    def _keep(self, row: Row, past: PrefixBatch) -> None:
        self._kept = (row, past) if prefix_cache.size(past) <= _KEPT else ([], None)


def _common(rows: Sequence[Row], most: int) -> int:
    """Return the length of the prefix that all rows share, at most ``most``."""
    first, last = min(rows), max(rows)  # what these two have in common, all between them have
    most = min(most, len(first), len(last))
    return next((place for place in range(most) if first[place] != last[place]), most)
