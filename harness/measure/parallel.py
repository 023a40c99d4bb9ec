"""A language model split over several accelerators: what each of them runs, keeps and sends.

Tensor parallel, as Megatron-LM splits a block: every card has a share of the heads and of the MLP's channels, and of
the vocabulary; norms and residual additions run whole on each. What attention and MLP write are sums over the cards,
so each of the two is an all-reduce, of which a ring sends 2 (n - 1) / n of the bytes from every card.

Pipeline parallel: every card has as many of the blocks that run as another, the first ones one more where that does not
come out even; the states of all tokens go from each to the next. One batch passes through one stage after the other, so
that a prefill takes no less time; stages save memory.

A vision tower, a projector and what methods add run whole on one card.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..transformer import Stack
    from .closed_form import Operator

_SUMMED = ("out", "down")
"""Operators whose results are sums over the cards."""
_WHOLE = ("norm_1", "norm_2", "add_1", "add_2", "project_in", "project_out")
_MOST = 1024


@dataclass(frozen=True, slots=True)
class Cards:
    """How many accelerators a model is split over.

    Attributes:
        tensor: Cards that share every block.
        pipeline: Stages of blocks.
    """

    tensor: int = 1
    pipeline: int = 1

    def __post_init__(self) -> None:
        for name, count in (("tensor", self.tensor), ("pipeline", self.pipeline)):
            if not 1 <= count <= _MOST:
                raise UserError(
                    f"cannot split over {count} cards", where=f"--{name}-parallel", todo=f"give 1 to {_MOST}"
                )

    @property
    def count(self) -> int:
        """All of them."""
        return self.tensor * self.pipeline

    def check(self, stack: Stack) -> None:
        """Refuse to split a stack that does not come out even."""
        if stack.heads % self.tensor:
            raise UserError(
                f"{stack.heads} heads cannot be split evenly over {self.tensor} cards",
                where="--tensor-parallel",
                todo="give a divisor",
            )
        if self.pipeline > stack.layers:
            raise UserError(
                f"{stack.layers} blocks cannot make {self.pipeline} stages",
                where="--pipeline-parallel",
                todo="give fewer",
            )

    def share(self, operator: Operator, stack: Stack) -> Operator:
        """What one card of a stage runs of an operator of the language model."""
        if operator.phase not in ("prefill", "decode") or operator.module == "methods" or operator.name in _WHOLE:
            return operator
        part = Fraction(1, self.tensor)
        if operator.name in ("k", "v"):  # cards that outnumber the heads of keys have one each
            part = Fraction(-(-stack.kv_heads // self.tensor), stack.kv_heads)
        linear = operator.shape is not None
        read = Fraction(1) if linear and operator.name not in _SUMMED else part
        written = Fraction(1) if operator.name in _SUMMED else part
        return replace(
            operator,
            flops=_of(operator.flops, part),
            weights=_of(operator.weights, part),
            read=_of(operator.read, read),
            written=_of(operator.written, written),
            stored=None if operator.stored is None else _of(operator.stored, part),
        )

    def sent(self, operators: Iterable[Operator]) -> Fraction:
        """Numbers that a card sends for the operators of one input: all-reduces, and states from stage to stage."""
        summed = [o for o in operators if o.name in _SUMMED and o.phase in ("prefill", "decode")]
        reduced = Fraction(2 * (self.tensor - 1), self.tensor) * sum(o.written for o in summed)
        ends = [o for o in summed if o.name == "down"]
        return reduced + sum(ends[place - 1].written for place in self.boundaries(len(ends)) if ends)

    def boundaries(self, layers: int) -> Sequence[int]:
        """How many of the blocks that run come before each stage but the first."""
        each, more = divmod(layers, self.pipeline)
        return [stage * each + min(stage, more) for stage in range(1, self.pipeline)]


ONE = Cards()


def _of(count: int, part: Fraction) -> int:
    """A share of a count, rounded up."""
    return -(-count * part.numerator // part.denominator)
