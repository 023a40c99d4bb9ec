"""FLOPs of an architecture at any number of tokens, from a few traces of a few layers.

Equal layers cost the same, so one and two of them tell what all cost; and at a fixed shape the contractions of a
transformer are a polynomial of degree two in the number of tokens, so three lengths tell all. Both are checked on a
further trace, exactly: the counts are integers.

Because so few integers tell everything, an architecture can bring them along as its *record*: then nothing is built or
traced at all, and neither torch nor transformers is imported.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UserError
from .flops import Flops, count_flops, count_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..results import Timing

_LENGTHS = (3, 5, 8)
_CHECK = 13
"""Another length, at which the polynomial must be right."""


@dataclass(frozen=True, slots=True)
class PhaseCount:
    """What the traces of a phase told.

    Attributes:
        one: FLOPs by power of the number of tokens, with one layer; of the vision tower, for its one size of image.
        two: The same with two layers; empty where no layer repeats.
        attention: As in `Flops`.
    """

    one: tuple[Fraction, ...]
    two: tuple[Fraction, ...]
    attention: str


class Part(Protocol):
    """A module and what it is given."""

    module: torch.nn.Module

    @property
    def inputs(self) -> Callable[[int], Mapping[str, Any]]:
        """Number of tokens -> keyword arguments of the module's forward pass."""
        ...


class Blueprint(Protocol):
    """A model that can be built without weights."""

    source: str

    @property
    def config(self) -> Mapping[str, Any]:
        """As ``config.json`` holds it."""
        ...

    @property
    def recorded(self) -> Mapping[str, PhaseCount]:
        """Phase -> the result of `Counter.record`; empty if it has to be traced."""
        ...

    @property
    def depth(self) -> Mapping[str, int]:
        """Phase -> its equal layers; a phase that is absent has none that repeat."""
        ...

    @property
    def note(self) -> str:
        """What a user must know of the size of its images; empty if nothing."""
        ...

    def with_image_size(self, side: int) -> Blueprint:
        """The same on images of ``side`` x ``side`` pixels."""
        ...

    def measure(self, *, tokens: int, batch: int, layers: int) -> tuple[Timing, Timing]:
        """Time the prefill up to the first token, and one further token, with random weights, on this machine."""
        ...

    def parts(self, layers: int | None = None) -> Mapping[str, Part]:
        """Build it on ``meta`` with that many layers in every stack, and return its parts by phase."""
        ...


class Counter:
    """Counts one architecture, phase by phase. Nothing is traced twice.

    Args:
        blueprint: What to count.
        waive: Operators that may stay uncounted.
        afresh: Trace even what the blueprint has a record of.
    """

    def __init__(self, blueprint: Blueprint, waive: Sequence[str] = (), *, afresh: bool = False) -> None:
        self._blueprint, self._waive = blueprint, tuple(waive)
        self._recorded: Mapping[str, PhaseCount] = {} if afresh else blueprint.recorded
        self.traces = 0
        """Forward passes that were traced so far."""

    def phases(self) -> list[str]:
        """The phases that the architecture has."""
        return list(self._recorded or self._parts(1))

    def record(self) -> dict[str, PhaseCount]:
        """What the traces tell of every phase: all that `count` and `count_layers` need."""
        told = {}
        for phase in self.phases():
            one, sample = self._polynomial(phase, 1)
            two = self._polynomial(phase, 2)[0] if phase in self._blueprint.depth else []
            told[phase] = PhaseCount(tuple(one), tuple(two), sample.attention)
        return told

    def count(self, phase: str, tokens: int) -> Flops:
        """FLOPs of a phase for one input of ``tokens`` tokens; of the vision tower, for one image.

        Raises:
            UserError: An operator is not counted, two counters disagree, or the cost is not a polynomial of degree two.
        """
        if tokens < 0:
            raise UserError(f"{tokens} tokens are less than none", todo="give 0 or more")
        depth = self._blueprint.depth.get(phase)
        if depth is not None:
            return self.count_layers(phase, [tokens] * depth)
        coefficients, sample = self._polynomial(phase, 1)
        return Flops(int(_at(coefficients, tokens)), phase, sample.counter, sample.attention, sample.waived)

    def count_layers(self, phase: str, lengths: Sequence[int]) -> Flops:
        """FLOPs of a phase of which only ``len(lengths)`` layers run, each on its own number of tokens.

        What is not in a layer, such as a norm or an embedding's projection, runs on the longest.
        """
        one, sample = self._polynomial(phase, 1)
        two, _ = self._polynomial(phase, 2)
        layer = [b - a for a, b in zip(one, two, strict=True)]
        beside = [a - b for a, b in zip(one, layer, strict=True)]
        value = _at(beside, max(lengths, default=0)) + sum(_at(layer, tokens) for tokens in lengths)
        return Flops(int(value), phase, sample.counter, sample.attention, sample.waived)

    def layer(self, phase: str, tokens: int) -> dict[str, int]:
        """FLOPs of the direct children of the phase's first layer, by name; empty where no layer repeats."""
        if phase not in self._blueprint.depth:
            return {}
        part = self._parts(1)[phase]
        counts = count_modules(part.module, part.inputs(tokens))
        block = next((name for name in counts if name.rpartition(".")[2] == "0"), "")
        inside = {
            name.removeprefix(f"{block}."): value for name, value in counts.items() if name.startswith(f"{block}.")
        }
        return {name: value for name, value in inside.items() if "." not in name}

    @functools.cache  # noqa: B019 - a counter lives as long as a command
    def _parts(self, layers: int) -> Mapping[str, Part]:
        return self._blueprint.parts(layers)

    @functools.cache  # noqa: B019
    def _polynomial(self, phase: str, layers: int) -> tuple[Sequence[Fraction], Flops]:
        """Coefficients by power of a phase with that many layers, and one of its counts, for the convention."""
        if phase in self._recorded:
            known = self._recorded[phase]
            return known.one if layers == 1 else known.two, Flops(int(sum(known.one)), phase, attention=known.attention)
        if phase == "vision":  # an image has one size
            whole = self._trace(phase, 1, layers)
            return [Fraction(whole.value)], whole
        counts = [self._trace(phase, length, layers) for length in _LENGTHS]
        coefficients = _through(_LENGTHS, [count.value for count in counts])
        if self._trace(phase, _CHECK, layers).value != _at(coefficients, _CHECK):
            raise UserError(
                f"the FLOPs of {phase} are not a polynomial of degree two in the number of tokens",
                where=self._blueprint.source,
                todo="report this architecture",
            )
        return coefficients, counts[0]

    def _trace(self, phase: str, tokens: int, layers: int) -> Flops:
        part = self._parts(layers)[phase]
        self.traces += 1
        return count_flops(part.module, part.inputs(tokens), phase=phase, waive=self._waive)


def _at(coefficients: Sequence[Fraction], x: int) -> Fraction:
    """Value of a polynomial."""
    return sum((c * x**power for power, c in enumerate(coefficients)), Fraction(0))


def _through(lengths: Sequence[int], values: Sequence[int]) -> list[Fraction]:
    """Coefficients of the polynomial through three points, by power."""
    (x0, x1, x2), (y0, y1, y2) = lengths, values
    first, second = Fraction(y1 - y0, x1 - x0), Fraction(y2 - y1, x2 - x1)
    square = (second - first) / (x2 - x0)
    linear = first - square * (x0 + x1)
    return [y0 - linear * x0 - square * x0**2, linear, square]
