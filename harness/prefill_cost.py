"""What the prefill of one prompt cost, and what of the language model ran in it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .execution import Execution, LayerWork

if TYPE_CHECKING:
    from collections.abc import Mapping


class LanguageFlops(NamedTuple):
    """FLOPs of the language model's prefill, and of the two prefills that it is given as a share of.

    Attributes:
        spent: As it ran, with the tokens that methods put after the prompt and with what methods compute themselves.
        full: Of the same model with every switch on: all blocks, heads and channels on the tokens that a selection
            leaves, with what the selection computes and without anything that a scheduler adds.
        base: Of the base model, without any method: all blocks, heads and channels on all tokens.
    """

    spent: int
    full: int
    base: int


class Units(NamedTuple):
    """Switches that were on, blocks or groups of heads and MLP channels, of all there are."""

    on: int
    all: int


@dataclass(frozen=True, slots=True)
class PrefillCost:
    """What the prefill of one prompt cost. Never a time.

    Attributes:
        text_tokens: Tokens of the prompt that are not visual.
        visual_tokens: Visual tokens that the language model reads.
        cut_tokens: Tokens that the prompt lost because it was longer than the model can read.
        flops: Of everything: vision tower, projector, language model, methods; ``None`` if they are not known.
        language: Of the language model alone; ``None`` if they are not known.
        units: Of the methods that have switches; ``None`` if none has.
        ran: What ran of the language model; ``None`` if all of it did, or it is not known.
        methods: Of ``flops``, those of what methods compute themselves.
    """

    text_tokens: int = 0
    visual_tokens: int = 0
    cut_tokens: int = 0
    flops: int | None = None
    language: LanguageFlops | None = None
    units: Units | None = None
    ran: Execution | None = None
    methods: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that the language model reads of the prompt."""
        return self.text_tokens + self.visual_tokens

    def to_json(self) -> dict[str, Any]:
        """Return it as records hold it: what is zero or not known is left out, and a layer is five whole numbers."""
        stated = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        if self.ran is not None:
            stated["ran"] = [[w.layer, w.tokens, w.heads, *w.mlp.as_integer_ratio()] for w in self.ran.layers]
        return stated

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return what `to_json` was given.

        Raises:
            ValueError, TypeError: It holds something else.
        """
        typed: dict[str, Any] = dict(stated)
        if "language" in typed:
            typed["language"] = LanguageFlops(*typed["language"])
        if "units" in typed:
            typed["units"] = Units(*typed["units"])
        if "ran" in typed:
            typed["ran"] = Execution(tuple(_layer(*numbers) for numbers in typed["ran"]))
        return cls(**typed)


@functools.lru_cache(4096)
def _layer(layer: int, tokens: int, heads: int, channels: int, of: int) -> LayerWork:
    """Answers have many equal layers, of which each is made once."""
    return LayerWork(layer, tokens, heads, Fraction(channels, of))
