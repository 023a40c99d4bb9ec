"""What a causal language model can do without saying anything else: found by having it do it.

Some caches hold more than keys and values - states of convolutions and recurrences, averages of blocks of tokens - and
some models count padding as places. So a loaded model reads a few dozen tokens in each of the ways that save work, and
only those are used in which it says what it says of each row alone. What a few dozen tokens cannot show is asked of the
cache: rows that begin alike are shared only where it holds keys and values and nothing else.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from ..harness.batching import out_of_memory
from ..harness.errors import UserError
from . import installed, last_block, prefix_cache
from .causal_reading import Reading, left_padded, right_padded
from .placement import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .causal_reading import Reader, Row
    from .last_block import LastBlock
    from .prefix_cache import PrefixBatch

_LENGTHS = (16, 13, 9)
"""Tokens of the rows that are tried."""
_PREFIX = 8
"""Tokens that rows begin with alike."""
_EXACT, _CLOSE = 1e-3, 0.1
"""How far apart what is said of the same text may be, in parts of its size: in float32 at all tokens, else at most."""
_ROUNDING, _ROUNDED = 1e-4, 2e-2
"""Likewise where the same is computed but for rounding, in parts of the largest logit: in float32, else."""
_NEW = 3
"""Tokens that ``generate`` is asked for."""
_SPREAD = 1.25
"""How much longer than the shortest the longest of rows may be that run together: padding is work for nothing."""
_FAILURES = (
    AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What a model raises that cannot do something."""
_TODO = "name a causal language model"

Together: TypeAlias = Literal["any", "equal", "none"]
"""The lengths of rows that can go through a model together without changing what it says of each: ``any`` (there is
padding), ``equal`` lengths, or ``none``: each row goes alone."""


@dataclass(frozen=True)
class Abilities:
    """What of a model's work can be done together, so that each answer is that of its prompt alone.

    Attributes:
        reads: Rows that can be read together, padded where they end.
        answers: Rows that can be answered together, padded where they begin.
        steps: It goes on token by token from what it has read; if not, the library's own ``generate`` answers.
        drops: Rows that have ended can be taken out of what it has read.
        shares: What rows begin with alike can be read once, and rows of any length can go on together.
        max_tokens: Up to how many tokens, the answer included, this holds. Longer rows run with those of their own
            length, and the library's ``generate`` answers.
    """

    reads: Together
    answers: Together
    steps: bool
    drops: bool
    shares: bool
    max_tokens: float = math.inf

    def read_together(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the places of rows that are read together, and not gone on with."""
        return _together(lengths, [self._padded(self.reads, length) for length in lengths])

    def answered_together(self, lengths: Sequence[int], new: Sequence[int]) -> Iterator[list[int]]:
        """Yield the places of rows that are answered together.

        Args:
            lengths: Tokens of each row.
            new: Tokens of each answer, at most.
        """
        return _together(lengths, [self._padded(self.answers, sum(row)) for row in zip(lengths, new, strict=True)])

    def _padded(self, how: Together, length: int) -> Together:
        return "equal" if how == "any" and length > self.max_tokens else how

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of answers which the library would change with the batch."""
        if self.answers == "none":
            return ("prompts ran one by one: others in the batch change what this model says",)
        if self.answers == "equal":
            return ("prompts ran with those of their own length only: padding may change this model's output",)
        return ()


def _together(lengths: Sequence[int], how: Sequence[Together]) -> Iterator[list[int]]:
    """Places of rows, the shortest first."""
    batch: list[int] = []
    longest = {"any": _SPREAD, "equal": 1, "none": 0}
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] > longest[how[place]] * lengths[batch[0]]:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def abilities(reader: Reader, vocabulary: Sequence[int], where: str) -> Abilities:
    """Find out what a model can do.

    Args:
        reader: Of the model.
        vocabulary: Ids of ordinary tokens.
        where: Which checkpoint, for messages.

    Raises:
        UserError: It cannot read a text alone, or its output for a token depends on chance or on later tokens.
    """
    kind = reader.model.config.model_type
    with torch.inference_mode():
        try:
            trial = _Trial(reader, vocabulary)
        except _FAILURES as error:
            if out_of_memory(error):
                raise
            why = " ".join(str(error).split())[:200] or type(error).__name__
            what = f"a {kind} cannot read a text alone: {why}"
            raise UserError(what, where=where, todo="try it with transformers alone, or name another") from error
        if not trial.is_steady or _hashes(reader.model.config):
            raise UserError(f"a {kind} gives a different answer to the same text each time", where=where, todo=_TODO)
        if not trial.is_causal:
            what = f"the output of a {kind} for a token depends on later tokens"
            raise UserError(what, where=where, todo=_TODO)
        drops = trial.goes_on(drops=True)
        steps = drops or trial.goes_on(drops=False)
        answers: Together = "equal" if steps or trial.generates() else "none"
        if answers == "equal" and (trial.goes_on(drops=drops, pads=True) if steps else trial.generates(pads=True)):
            answers = "any"
        shares = drops and answers == "any" and (trial.shares_apart() or trial.shares())
        if steps:
            trial.shortens_last_block()
        return Abilities(trial.reads(), answers, steps, drops, shares, _max_tokens(reader.model.config))


class _Trial:
    """Rows of tokens, and the model's output for each alone.

    Attributes:
        is_steady: Whether it says the same of the same row each time.
        is_causal: Whether its output for the start of a row does not depend on the rest.
    """

    def __init__(self, reader: Reader, vocabulary: Sequence[int]) -> None:
        self._reader, self._device = reader, device_of(reader.model)
        ids = itertools.cycle(vocabulary[:: 1 + len(vocabulary) // sum(_LENGTHS)])
        self._rows = [list(itertools.islice(ids, length)) for length in _LENGTHS]
        self._said = [self._alone(row) for row in self._rows]
        self._shared_prefix = self._rows[0][:_PREFIX]
        self._equal = [row[: min(_LENGTHS)] for row in self._rows]
        self._has_keys = _can(lambda: installed.keeps_keys(self._past().cache))
        self._has_states = self._has_keys or _can(lambda: installed.keeps_states(self._past().cache))
        self.is_steady = self._same([(self._alone(self._rows[0]), self._said[0])])
        self.is_causal = self._is_causal()

    def reads(self) -> Together:
        """Which rows it reads together."""

        def reads(rows: Sequence[Row]) -> bool:
            logits, _ = self._reader.read(right_padded(rows, self._device))
            found = zip(logits, rows, self._said, strict=True)
            return self._same((row[: len(own)], said[: len(own)]) for row, own, said in found)

        if self._has_states and _can(lambda: reads(self._rows)):
            return "any"
        return "equal" if _can(lambda: reads(self._equal)) else "none"

    def goes_on(self, *, drops: bool, pads: bool = False) -> bool:
        """Whether it goes on from rows by a token, and by another one from two of them.

        Args:
            drops: The third row is then taken out.
            pads: The rows are of different lengths, and padded where they begin.
        """
        if pads and not self._may_pad:
            return False
        rows = self._rows if pads else self._equal
        said = [alone[: len(row)] for alone, row in zip(self._said, rows, strict=True)]
        last = torch.tensor([row[-2:] for row in rows], device=self._device)

        def goes_on() -> bool:
            logits, past = self._reader.read(left_padded([row[:-2] for row in rows], self._device), cached=True)
            found = [(row[len(row) + 2 - len(one) :], one[:-2]) for row, one in zip(logits, said, strict=True)]
            reading, kept = Reading(self._reader, past, drops=drops), [0, 2]
            found += [(row[None], one[-2:-1]) for row, one in zip(reading.step(last[:, 0]), said, strict=True)]
            reading.keep_rows(kept)
            step = reading.step(last[kept, 1])
            found += [(row[None], said[place][-1:]) for row, place in zip(step, kept, strict=True)]
            return self._same(found)

        return _can(goes_on)

    def generates(self, *, pads: bool = False) -> bool:
        """Whether the library's ``generate`` answers rows together as it answers each alone; ``pads`` as above."""
        if pads and not self._may_pad:
            return False
        rows = self._rows if pads else self._equal

        def generates() -> bool:
            return self._same(zip(self._generated(rows), [self._generated([row])[0] for row in rows], strict=True))

        return _can(generates)

    def shares_apart(self) -> bool:
        """Whether it does what `shares` says with an attention that reads the prefix once; then it keeps that."""
        model = self._reader.model
        stock = installed.attention_of(model.config)
        if stock != "sdpa" or not installed.attend_by(model, prefix_cache.ATTENTION):
            return False
        self._reader.apart = True
        if not self.shares():
            self._reader.apart = False
            installed.attend_by(model, stock)
        return self._reader.apart

    def shares(self) -> bool:
        """Whether it reads what rows begin with once, then the rest of each in batches, and goes on with all together.

        Padding stands among the tokens of the rows: between the rest and what comes after.
        """
        if not self._has_keys:
            return False
        batches = [[self._rows[1][:6], self._rows[2][:3]], [self._rows[1][3:12]]]
        last = torch.tensor([self._rows[0][-1]] * 3, device=self._device)

        def shares() -> bool:
            rows = [row for batch in batches for row in batch]
            said = [self._alone([*self._shared_prefix, *row, int(last[0])])[_PREFIX:] for row in rows]
            prefix = self._past()
            found, every = [], []
            for batch in batches:
                past = prefix_cache.forked(prefix, len(batch), apart=self._reader.apart)
                logits, past = self._reader.read(right_padded(batch, self._device), past, cached=True)
                every.append(past.behind(batch))
                found += [one[: len(row)] for one, row in zip(logits, batch, strict=True)]
            pairs = [(logits, one[:-1]) for logits, one in zip(found, said, strict=True)]
            reading = Reading(self._reader, prefix_cache.joined(every))
            pairs += [(logits[None], one[-1:]) for logits, one in zip(reading.step(last), said, strict=True)]
            return self._same(pairs)

        return _can(shares)

    def shortens_last_block(self) -> bool:
        """Whether its last block can run for some tokens alone; then it does.

        What it says of these must be the same, and so must what it keeps to go on from: whatever of the other tokens
        is looked back at would be missing there.
        """
        rows, keep = right_padded(self._rows, self._device), [[2, len(row) - 1] for row in self._rows]

        def read() -> list[torch.Tensor]:
            logits, past = self._reader.read(rows, keep=keep, cached=True)
            return [logits, *installed.states(past.cache)]

        def shortens() -> bool:
            wanted = read()

            def same(block: LastBlock) -> bool:
                self._reader.last_block = block
                return _can(lambda: all(map(self._rounded, read(), wanted)))

            self._reader.last_block = last_block.find(self._reader.model, read, rows.ids.shape, same)
            return True

        if not (self._has_states and _can(shortens)):
            self._reader.last_block = None
        return self._reader.last_block is not None

    def _is_causal(self) -> bool:
        """Whether it says the same of two rows, at once, before the last token, which alone differs."""
        row = self._rows[0]
        rows = right_padded([row, [*row[:-1], row[0]]], self._device)
        one, other = self._reader.read(rows)[0][:, :-1]
        return self._rounded(one, other)

    def _past(self) -> PrefixBatch:
        """The prefix, read."""
        return self._reader.read(right_padded([self._shared_prefix], self._device), cached=True)[1]

    def _alone(self, row: Row) -> torch.Tensor:
        """Its logits for each token of a row, [n, vocabulary]."""
        said: torch.Tensor = self._reader.read(right_padded([row], self._device))[0][0]
        return said

    def _generated(self, rows: Sequence[Row]) -> torch.Tensor:
        """What ``generate`` makes its first tokens of, [B, tokens, vocabulary]."""
        from transformers import GenerationConfig

        model, whole = self._reader.model, left_padded(rows, self._device)
        config = GenerationConfig(max_new_tokens=_NEW, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
        # What the given config does not say, the library takes from the model's own.
        own, model.generation_config = model.generation_config, config
        try:
            out = model.generate(whole.ids, attention_mask=whole.mask, generation_config=config)
        finally:
            model.generation_config = own
        return torch.stack(out.logits, dim=1)

    @property
    def _may_pad(self) -> bool:
        """Whether padding that a few tokens show to be harmless is so for long rows, too."""
        return self._has_keys or (self._exact and self._has_states)

    def _same(self, pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> bool:
        """Whether pairs of logits, [n, vocabulary] each, say the same of each token."""
        found, wanted = (torch.cat(rows).float() for rows in zip(*pairs, strict=True))
        found, wanted = (logits - logits.mean(dim=-1, keepdim=True) for logits in (found, wanted))
        apart, size = (found - wanted).norm(dim=-1), wanted.norm(dim=-1)
        return bool((apart <= _EXACT * size).all() if self._exact else (apart <= _CLOSE * size).float().mean() > 0.5)

    def _rounded(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors are the same but for rounding."""
        one, other = one.float(), other.float()
        return bool((one - other).abs().max() <= (_ROUNDING if self._exact else _ROUNDED) * one.abs().max())

    @property
    def _exact(self) -> bool:
        exact: bool = self._reader.model.dtype == torch.float32
        return exact


def _can(trial: Callable[[], bool]) -> bool:
    try:
        return trial()
    except _FAILURES as error:
        if out_of_memory(error):
            raise
        return False


def _hashes(config: Any) -> bool:
    """Whether tokens of long rows find each other by hashes of chance (Reformer)."""
    return "lsh" in getattr(config, "attn_layers", ()) and config.hash_seed is None


def _max_tokens(config: Any) -> float:
    """Tokens from which on rotary embeddings turn otherwise, for all rows as soon as one is so long (LongRoPE)."""
    config = config.get_text_config()
    ropes = getattr(config, "rope_parameters", None) or {}
    every = [ropes, *(rope for rope in ropes.values() if isinstance(rope, dict))]
    if not any("longrope" in (rope.get("rope_type"), rope.get("type")) for rope in every):
        return math.inf
    stated = [rope.get("original_max_position_embeddings") for rope in every]
    stated.append(getattr(config, "original_max_position_embeddings", None))
    return min((length for length in stated if isinstance(length, int)), default=config.max_position_embeddings)
