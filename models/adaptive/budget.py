"""From a latency budget to a number of switches, in exact arithmetic (dissertation, sections 5.2.3 and 5.2.5).

The budget counts *units*: blocks (AdaLLaVA-L), or groups of heads with as large a share of the MLP's channels
(AdaLLaVA-H). Those of the prefix always run; the scheduler chooses among the others.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from ...harness.errors import UserError

Budget: TypeAlias = "float | Fraction"
_RANK = 8


def exact(budget: Budget) -> Fraction:
    """Return a budget as the decimal that it is written as, so that 0.7 of 40 is 28 in every precision.

    Args:
        budget: In (0, 1]; a fraction, or a float of Python or NumPy.

    Raises:
        UserError: It is outside.
    """
    if not 0 < budget <= 1:
        raise UserError(f"budget {budget} is not in (0, 1]", todo="give the share of the full cost to spend")
    return budget if isinstance(budget, Fraction) else Fraction(str(budget))


def default_rank(heads: int) -> int:
    """Heads that one switch of AdaLLaVA-H opens if nothing is said: 8 where they make several groups, else 1."""
    return _RANK if heads > _RANK and heads % _RANK == 0 else 1


class Switches(BaseModel):
    """What of a decoder is switched.

    Attributes:
        switch: ``layers``: whole blocks (AdaLLaVA-L). ``heads``: heads and MLP channels (AdaLLaVA-H).
        layers: Blocks of the decoder.
        heads: Query heads of a block; its MLP channels fall into as many groups.
        prefix: Blocks that always run whole.
        rank: Heads, and groups of channels, that a unit of AdaLLaVA-H opens.

    Raises:
        UserError: The prefix leaves nothing to switch, or the heads do not fall into groups of ``rank``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    switch: Literal["layers", "heads"]
    layers: int
    heads: int
    prefix: int
    rank: int = 1

    @model_validator(mode="after")
    def _divides(self) -> Switches:
        if not 1 <= self.prefix < self.layers:
            raise UserError(
                f"a prefix of {self.prefix} of {self.layers} blocks leaves nothing to switch, or nothing to decide on",
                todo=f"give 1 to {self.layers - 1}",
            )
        if self.rank < 1 or self.heads % self.rank:
            raise UserError(
                f"{self.heads} heads do not fall into groups of {self.rank}", todo="choose a rank that divides them"
            )
        return self

    @property
    def per_block(self) -> int:
        """Units of a block."""
        return 1 if self.switch == "layers" else self.heads // self.rank

    @property
    def total(self) -> int:
        """Units of the decoder, U."""
        return self.layers * self.per_block

    @property
    def always(self) -> int:
        """Units that always run, U0."""
        return self.prefix * self.per_block

    @property
    def switched(self) -> int:
        """Units that the scheduler chooses among, S = U - U0."""
        return self.total - self.always

    @property
    def floor(self) -> Fraction:
        """The smallest budget that can be met: nothing but the prefix runs."""
        return Fraction(self.always, self.total)

    @property
    def grid(self) -> list[Fraction]:
        """The budgets that training draws from: one for each k, from the floor to 1."""
        return [Fraction(units, self.total) for units in range(self.always, self.total + 1)]

    def k(self, budget: Budget) -> int:
        """Return how many units a budget opens: floor(U b) - U0, the most that do not exceed it.

        Raises:
            UserError: The budget is not in (0, 1], or below the floor.
        """
        units = int(exact(budget) * self.total) - self.always
        if units < 0:
            least = math.ceil(self.floor * 10_000) / 10_000
            raise UserError(
                f"budget {budget} is below {float(self.floor):.4g}, which the first {self.prefix} of {self.layers} "
                "blocks take",
                todo=f"give {least:g} to 1, or a smaller prefix",
            )
        return units

    def code(self, k: int) -> float:
        """Return what the latency encoder is told for k open units: k / (S + 1)."""
        return k / (self.switched + 1)

    def share(self, k: int) -> Fraction:
        """Return the share of all units that runs: (U0 + k) / U. A sample is within budget if this is."""
        return Fraction(self.always + k, self.total)

    def utilisation(self, k: int, budget: Budget) -> Fraction:
        """Return how much of the budget is used (Table 5.5): 27/32 of the blocks at 0.85 are 99.3 % of it."""
        return self.share(k) / exact(budget)


def channel_groups(channels: int, groups: int) -> list[range]:
    """Cut MLP channels into neighbouring groups of equal size; where they do not divide, the first have one more."""
    size, more = divmod(channels, groups)
    starts = [group * size + min(group, more) for group in range(groups + 1)]
    return [range(start, stop) for start, stop in pairwise(starts)]
