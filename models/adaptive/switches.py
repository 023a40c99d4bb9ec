"""From a latency budget to a number of switches, in exact arithmetic (dissertation, sections 5.2.3 and 5.2.5).

The budget counts *units*: blocks (AdaLLaVA-L), or groups of heads with as large a share of the MLP's channels
(AdaLLaVA-H). Those of the prefix always run; the scheduler chooses among the others.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from ...adapters.loading import checkpoint
from ...harness.budgets import Budget, exact
from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANK, CODE = 8, 256
Rule: TypeAlias = Literal["probabilistic", "deterministic", "deterministic-topk", "random"]
"""How a scheduler is trained, and decides.

``probabilistic``: k draws without replacement; then the k best. Never beyond the budget.
``deterministic``: each switch by the sign of its logit, with `latency_penalty` in training; the budget is not ensured.
``deterministic-topk``: the k best, in training too.
``random``: k draws that ignore the logits, in training too.
"""
CONFIG = "scheduler.json"
"""Beside the weights of a scheduler that `scheduler.save` wrote; a public checkpoint has none."""
FILES = (CONFIG, "*config.json", "*.safetensors", "*.safetensors.index.json")
"""What is wanted of a checkpoint on the hub."""


def default_rank(heads: int) -> int:
    """Default number of heads that one switch of AdaLLaVA-H turns on: 8 where they make several groups, else 1."""
    return _RANK if heads > _RANK and heads % _RANK == 0 else 1


class Switches(BaseModel):
    """What of a decoder is switched.

    Attributes:
        switch: ``layers``: whole blocks (AdaLLaVA-L). ``heads``: heads and MLP channels (AdaLLaVA-H).
        layers: Blocks of the decoder.
        heads: Query heads of a block; its MLP channels fall into as many groups.
        prefix: Blocks that always run whole.
        rank: Heads, and groups of channels, that a unit of AdaLLaVA-H turns on.

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
        """Return how many units a budget turns on: floor(U b) - U0, the most that do not exceed it.

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
        """Return the latency encoder's input for k active units: k / (S + 1)."""
        return k / (self.switched + 1)

    def share(self, k: int) -> Fraction:
        """Return the share of all units that runs: (U0 + k) / U. A sample is within budget if this is."""
        return Fraction(self.always + k, self.total)

    def utilisation(self, k: int, budget: Budget) -> Fraction:
        """Return how much of the budget is used (Table 5.5): 27/32 of the blocks at 0.85 are 99.3 % of it."""
        return self.share(k) / exact(budget)


class SchedulerConfig(Switches):
    """What a scheduler was made for.

    Attributes:
        hidden: Hidden size of the decoder.
        rule: How it is trained, and decides.
    """

    hidden: int
    rule: Rule = "probabilistic"

    @property
    def logits(self) -> tuple[int, ...]:
        """Shape of a prompt's logits: [S], or [S, 2, H]."""
        blocks = self.layers - self.prefix
        return (blocks,) if self.switch == "layers" else (blocks, 2, self.heads)

    @property
    def encoder_flops(self) -> int:
        """FLOPs of one latency token's encoder."""
        return 2 * (CODE * self.hidden + self.hidden * self.hidden)

    @property
    def head_flops(self) -> int:
        """FLOPs of the scheduler's head for one prompt."""
        return 2 * self.hidden * math.prod(self.logits)


def read_config(path: str) -> SchedulerConfig:
    """Read what a scheduler was made for; arguments and errors as in `scheduler.load`."""
    folder = checkpoint(path, None, FILES)
    own, public = folder / CONFIG, folder / "config.json"
    file = own if own.is_file() else public
    try:
        fields: Any = json.loads(file.read_text())
        return SchedulerConfig.model_validate(fields if file is own else _public(fields))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"no config of a scheduler can be read from {file.name}: {type(error).__name__}: {' '.join(lines[:3])}",
            where=f"checkpoint {path}",
            todo=f"name a folder with {CONFIG}, or a public AdaLLaVA checkpoint",
        ) from error


def has_weights(path: str) -> bool:
    """Whether a checkpoint brings weights of the language model, beside those of its scheduler."""
    folder = checkpoint(path, None, FILES)
    return (folder / "model.safetensors").is_file() or not (folder / CONFIG).is_file()


def _public(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the config of a public checkpoint says of its scheduler; a rank of 8 is what the release has built in."""
    switched = fields["scheduler_type"]
    return {
        "switch": {"L": "layers", "H": "heads"}[switched],
        "layers": fields["num_hidden_layers"],
        "heads": fields["num_attention_heads"],
        "prefix": fields["num_prefix_layers"],
        "rank": fields.get("scheduler_rank", 8) if switched == "H" else 1,
        "hidden": fields["hidden_size"],
    }


def channel_groups(channels: int, groups: int) -> list[range]:
    """Cut MLP channels into neighbouring groups of equal size; where they do not divide, the first have one more."""
    size, more = divmod(channels, groups)
    starts = [group * size + min(group, more) for group in range(groups + 1)]
    return [range(start, stop) for start, stop in pairwise(starts)]
