"""A language model split over several accelerators: what each of them runs, keeps and sends.

Tensor parallel, as Megatron-LM splits a block (`sharding`): every card has a share of the heads and of the MLP's
channels, and of the vocabulary; norms and residual additions run whole on each. What attention and MLP write are sums
over the cards, so each of the two is an all-reduce, of which a ring sends 2 (n - 1) / n of the bytes from every card.

Pipeline parallel: every card has as many of the blocks that run as another, the first ones one more where that does not
come out even; the states of all tokens go from each to the next. One batch passes through one stage after the other, so
that a prefill takes no less time; stages save memory.

A vision tower, a projector and what methods add run whole on one card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..transformer import Stack
    from .closed_form import Operator

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
        if stack.heads > 1 and stack.heads % self.tensor:  # a model without attention has one, of all its channels
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
        if operator.shard == "whole":
            return operator
        part = self.of_keys(stack) if operator.shard == "keys" else Fraction(1, self.tensor)
        read = 1 if operator.shard in ("column", "keys") else part
        return replace(
            operator,
            flops=_of(operator.flops, part),
            weights=_of(operator.weights, part),
            most=None if operator.most is None else _of(operator.most, part),
            read=_of(operator.read, read),
            written=_of(operator.written, 1 if operator.shard == "row" else part),
            stored=None if operator.stored is None else _of(operator.stored, part),
        )

    def of_keys(self, stack: Stack) -> Fraction:
        """A card's share of the heads of keys: cards that outnumber them have one each."""
        if stack.kv_heads == stack.heads:
            return Fraction(1, self.tensor)
        return Fraction(-(-stack.kv_heads // self.tensor), stack.kv_heads)

    def sent(self, operators: Iterable[Operator], states: Sequence[int]) -> Fraction:
        """Numbers that a card sends for one input: all-reduces, and states from stage to stage.

        Args:
            operators: What runs.
            states: Numbers that each block that runs hands on to the next.
        """
        reduced = Fraction(2 * (self.tensor - 1), self.tensor) * sum(operator.summed for operator in operators)
        return reduced + sum(states[place - 1] for place in self.boundaries(len(states)) if states)

    def boundaries(self, layers: int) -> Sequence[int]:
        """How many of the blocks that run come before each stage but the first."""
        each, more = divmod(layers, self.pipeline)
        return [stage * each + min(stage, more) for stage in range(1, self.pipeline)]


ONE = Cards()


def _of(count: int, part: Fraction | int) -> int:
    """A share of a count, rounded up."""
    return math.ceil(count * part)
