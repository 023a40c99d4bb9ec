"""Small models of every kind run for real, and what is said of them from their configs alone is held against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .coverage import AUTO, REFUSED, TEXT_ONLY, Coverage, shortened
from .errors import UserError
from .measure.counting import Blueprint, Counter
from .measure.flops import count_again, count_both

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from .registry import Registry

EQUAL, IN_PARTS, DIFFERS, NOT_RUN = "equal", "equal, image and text apart", "differs", "does not run"
STATES = (EQUAL, IN_PARTS, TEXT_ONLY, DIFFERS, REFUSED, NOT_RUN)
TOKENS = 37
"""Of a prompt."""


@dataclass(frozen=True, slots=True)
class RealPass:
    """A pass with weights.

    Attributes:
        module: What is passed.
        inputs: Keyword arguments of its forward pass.
        phases: Phase of the architecture that it has -> tokens.
    """

    module: torch.nn.Module
    inputs: Mapping[str, Any]
    phases: Mapping[str, int]

    def run(self) -> None:
        """Run it.

        Raises:
            Exception: Whatever it is.
        """
        import torch

        with torch.no_grad():
            self.module.eval()(**self.inputs)


class Tiny(Blueprint, Protocol):
    """A small model."""

    missing: str
    """Why its images are not priced; empty if they are."""
    apart: str
    """Why an image and a text are not passed together; empty if they are."""

    def passes(self, tokens: int) -> Sequence[RealPass]:
        """Its passes with weights, which together have all of its phases."""
        ...


class Library(Protocol):
    """What makes small models of model types."""

    def __call__(self, model_type: str, auto: str) -> Tiny:
        """A small model of a type, as an Auto class builds it."""
        ...


def compare(registry: Registry, kind: str, model_type: str) -> Coverage:
    """Count the passes of a small model with weights by both counters, and hold them against what its config says."""

    def found(state: str, reason: str = "", flops: Mapping[str, int] | None = None) -> Coverage:
        return Coverage(kind, model_type, state, shortened(reason), flops or {})

    try:
        library: Library = registry.find("architecture", "tiny").factory()
        tiny = library(model_type, auto=AUTO[kind])
    except UserError as error:
        return found(NOT_RUN, str(error))
    try:
        counter, passes = Counter(tiny), tiny.passes(TOKENS)
    except UserError as error:
        return found(REFUSED, str(error))
    flops: dict[str, int] = {}
    try:
        for one in passes:
            counted = {phase: counter.count(phase, tokens).value for phase, tokens in one.phases.items()}
            flops |= counted
            real = _counted(one)
            if real != {sum(counted.values())}:
                seen = " and ".join(f"{value:,}" for value in sorted(real))
                return found(DIFFERS, f"{sum(counted.values()):,} in {', '.join(counted)}; the pass has {seen}", flops)
    except UserError as error:
        return found(REFUSED, str(error), flops)
    if tiny.missing:
        return found(TEXT_ONLY, tiny.missing, flops)
    return found(IN_PARTS if tiny.apart else EQUAL, tiny.apart, flops)


def _counted(one: RealPass) -> set[int]:
    """What the counters say of a pass: one number if they agree."""
    counted = count_both(one.module, one.inputs)
    value = counted.flops.value
    return {value} if counted.agreed else {value, count_again(one.module, one.inputs)}
