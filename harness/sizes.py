"""A size: how many visual tokens a model is to read, or what share of the base model's FLOPs it is to take."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from .budgets import is_budget
from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

Measure: TypeAlias = Literal["tokens", "average_tokens", "end_tokens", "flops"]
"""``tokens`` enter the language model (T_in), ``average_tokens`` are their mean over its blocks (T_avg), ``end_tokens``
are read by its last block (T_end); ``flops`` are those of a prefill, tower and methods included."""
MEASURES: tuple[Measure, ...] = get_args(Measure)

TEXT_TOKENS = 64
"""Tokens of text of a prompt whose FLOPs are meant, unless it is said."""

_READ = {
    "tokens": "visual tokens entering the language model",
    "average_tokens": "visual tokens on average over blocks",
    "end_tokens": "visual tokens in the last block",
    "flops": "of the base's FLOPs, tower included",
}
_WHOLE: tuple[Measure, ...] = ("tokens", "end_tokens")
_CLOSE = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked of every model that has one method whose size can be set.

    Attributes:
        measure: What is counted.
        amount: Tokens of a prompt of one image, or a share in (0, 1] of the base model's FLOPs of it.
        text_tokens: Of that prompt; tokens do not depend on it.
        visual_tokens: Of that image, for models whose images have any number of them; ``None`` for what all have.
    """

    measure: Measure
    amount: float
    text_tokens: int = TEXT_TOKENS
    visual_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UserError(f"there is no measure {self.measure!r}", where="size", todo=f"take {', '.join(MEASURES)}")
        if self.is_flops and not is_budget(self.amount):
            todo = "give a share of the base's FLOPs"
            raise UserError(f"{self.amount:g} is not in (0, 1]", where=self.name, todo=todo)
        if not 0 <= self.amount < inf:
            raise UserError(f"{self.amount:g} is not a number of tokens", where=self.name, todo="give 0 or more")
        if self.measure in _WHOLE and self.amount != int(self.amount):
            raise UserError(f"{self.amount:g} is not a whole number", where=self.name, todo="give whole tokens")

    @property
    def name(self) -> str:
        """The measure as options write it."""
        return self.measure.replace("_", "-")

    @property
    def is_flops(self) -> bool:
        """Whether FLOPs are counted, of which there may be fewer but not more."""
        return self.measure == "flops"

    def told(self, amount: float) -> str:
        """Say an amount of what is counted."""
        read = _READ[self.measure]
        return f"{amount:.4g} {read.replace('tokens', 'token') if amount == 1 else read}"

    def held_against(self, met: float) -> str:
        """Say what was met beside what was asked."""
        of = f", of an image and {self.text_tokens} tokens of text" if self.is_flops else ""
        off = abs(met - self.amount) / self.amount if self.amount else 0
        return f"{self.told(met)} ({self.amount:g} asked{of}{f'; {off:.0%} off' if off > _CLOSE else ''})"


def sizes(
    *amounts: Sequence[float] | None, text_tokens: int = TEXT_TOKENS, visual_tokens: int | None = None
) -> tuple[Size, ...]:
    """Return one size for each amount that is asked: of ``MEASURES``, in their order."""
    by_measure = zip(MEASURES, amounts, strict=True)
    return tuple(Size(measure, one, text_tokens, visual_tokens) for measure, own in by_measure for one in own or ())
