"""FLOPs of a forward pass, as a type that remembers how they were counted.

One multiply-accumulate is two FLOPs, and only contractions count (`harness.measure.operators` says which). fvcore is the
counter of record: it analyses the trace of the real forward pass. torch's `FlopCounterMode` watches a second, untraced
pass, and has to agree. A trace forgets whatever nobody reads, such as a router whose output only steers Python or the last
layer of LLaVA's vision tower; what runs is paid for, so the traced function here returns every tensor that came into being.
"""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from ..results import FlopCount
from .operators import FUSED, OUTSIDE, WEIGHTED, CountError, handles, torch_formulas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from torch import nn

Counts = dict[str, dict[str, int]]
"""FLOPs by module and operator; the whole is the module ``""``."""

TOLERANCE = 0.01
"""Share by which the two counters may differ in a module."""

COUNTER = "fvcore"


class ConventionError(UserError):
    """Two FLOP counts were counted differently, so that they have no sum and no order."""


@dataclass(frozen=True, slots=True)
class Flops:
    """A number of operations and its convention.

    Attributes:
        value: How many.
        unit: What one of them is; a MAC is two FLOPs.
        phase: Which work: ``vision`` (an encoder's pass), ``prefill`` or ``decode``.
        counter: Who counted.
        attention: How attention ran: ``sdpa`` (one fused operator), ``eager`` (several), both, or ``none``.
        waived: Operators that ran and that nobody counted, each waived by name.
    """

    value: int
    unit: Literal["FLOP", "MAC"] = "FLOP"
    phase: str = "vision"
    counter: str = COUNTER
    attention: str = "none"
    waived: tuple[str, ...] = ()

    def convention(self) -> tuple[str, str, str]:
        """What must be equal for two counts to be added or compared. Attention is the same sum whichever way it ran."""
        return (self.unit, self.phase, self.counter)

    def __add__(self, other: Flops) -> Flops:
        """Add two counts of one convention.

        Raises:
            ConventionError: The conventions differ.
        """
        self._check(other)
        kinds = {kind for flops in (self, other) for kind in flops.attention.split("+")} - {"none"}
        return replace(
            self,
            value=self.value + other.value,
            attention="+".join(sorted(kinds)) or "none",
            waived=tuple(sorted({*self.waived, *other.waived})),
        )

    def __lt__(self, other: Flops) -> bool:
        """Order two counts of one convention.

        Raises:
            ConventionError: The conventions differ.
        """
        self._check(other)
        return self.value < other.value

    def in_flops(self) -> Flops:
        """Return the same work in FLOPs."""
        return replace(self, value=2 * self.value, unit="FLOP") if self.unit == "MAC" else self

    def stored(self) -> FlopCount:
        """Return the form that is written into a result."""
        flops = self.in_flops()
        return FlopCount(
            value=flops.value,
            phase=flops.phase,
            counter=flops.counter,
            attention=flops.attention,
            waived=flops.waived,
        )

    def _check(self, other: Flops) -> None:
        if self.convention() != other.convention():
            mine, others = (" ".join(flops.convention()) for flops in (self, other))
            raise ConventionError(
                f"FLOPs counted as {mine!r} and as {others!r} do not compare", todo="count both in the same way"
            )


def count_flops(
    module: Callable[..., Any], kwargs: Mapping[str, Any], *, phase: str = "vision", waive: Collection[str] = ()
) -> Flops:
    """Count the FLOPs of ``module(**kwargs)``, in evaluation mode and without gradients.

    The module, its mode and torch's random state are afterwards as before. Modules and inputs on the ``meta`` device cost
    neither memory nor time; of the convolutions only the plain ones (no transposed, no named padding) are traceable there.

    Args:
        module: A ``torch.nn.Module``, or a function of tensors.
        kwargs: Its arguments, for a batch of one; tensors may sit in lists and dicts.
        phase: Which work this is (see `Flops`).
        waive: Operators such as ``aten::lstm`` that may stay uncounted. Those that ran are listed in the result.

    Raises:
        CountError: An operator is neither counted nor outside the convention, the two counters disagree, or the pass
            cannot be traced.
        UserError: fvcore or torch is missing.
    """
    try:
        from ._tracing import Whole, at_rest, by_torch, by_trace
    except ModuleNotFoundError as error:
        raise UserError(
            f"counting FLOPs needs {error.name}", todo="install it with: pip install 'adaptbench[torch]'"
        ) from error
    whole = Whole(module, kwargs)
    with at_rest(whole), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracers warn of what concerns traces that are run again
        macs, uncounted = by_trace(whole)
        torch_counts = by_torch(whole)
    ...
