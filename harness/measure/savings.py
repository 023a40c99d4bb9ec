"""Is a saving real? Work that is skipped is not executed; work that is masked is, and saves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .flops import count_flops

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_SLACK = 0.03
"""How much more than planned may run: schedulers and latency tokens cost something too."""


@dataclass(frozen=True, slots=True)
class Saving:
    """What a modified model saves.

    Attributes:
        planned: Share of the base's FLOPs that the method says it spends.
        counted: Share that its forward pass really spends.
    """

    planned: float
    counted: float

    @property
    def real(self) -> bool:
        """True: what the plan saves is not executed. False: it is executed and masked, or the plan is wrong."""
        return self.counted <= self.planned + _SLACK

    @property
    def reason(self) -> str:
        """The verdict in words."""
        verdict = "the saving is real" if self.real else "work is masked, not skipped"
        return f"{self.counted:.1%} of the FLOPs run where {self.planned:.1%} are planned: {verdict}"


def judge_saving(
    base: torch.nn.Module, modified: torch.nn.Module, inputs: Mapping[str, Any], *, planned: float
) -> Saving:
    """Count both modules on the same inputs and hold the method to its plan.

    Args:
        base: The model with every switch on.
        modified: The model with the method.
        inputs: Keyword arguments of both forward passes.
        planned: Share of the base's FLOPs that the plan leaves.
    """
    whole, rest = (count_flops(module, inputs).value for module in (base, modified))
    return Saving(planned, rest / whole)
