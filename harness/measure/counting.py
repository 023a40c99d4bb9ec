"""FLOPs of an architecture at any number of tokens, from a few passes in which one layer of each kind runs.

At a fixed shape the contractions of a layer are a polynomial of degree two in the number of tokens, so three lengths
tell all. A layer that works on chunks of tokens has such a polynomial for each remainder of tokens by chunk. Which it
is, is found out, and checked in other chunks, exactly: the counts are integers. Where it is neither, each length is
traced.

Because so few integers tell everything, an architecture can bring them along as its *record*: then nothing is built or
traced at all, and neither torch nor transformers is imported.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from ..errors import UserError
from .flops import Flops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..results import Timing
    from .passes import Pass
    from .traced_work import Traced

Polynomial: TypeAlias = tuple[Fraction, ...]
"""Coefficients by power of the number of tokens."""

_LENGTHS = (3, 5, 8)
_CHECK = 13
"""Another length, at which the polynomials must be right."""
_FAR = 1061
"""A length in another chunk, if there are chunks."""
_NEAR = 113
"""The same, where there are not as many positions."""
_CHUNKS = (64, 256, 128, 32, 16)
"""Chunks that are tried where the config names none."""


@dataclass(frozen=True, slots=True)
class PhaseCount:
    """What the passes told of a phase.

    Attributes:
        beside: FLOPs of all that lies in no layer; of the vision tower, for its one size of image.
        kinds: FLOPs of a layer of each kind.
        order: Which kind each layer is of.
        attention: As in `Flops`.
        waived: As in `Flops`.
    """

    beside: Polynomial
    kinds: tuple[Polynomial, ...]
    order: tuple[int, ...]
    attention: str
    waived: tuple[str, ...] = ()

    def beside_at(self, tokens: int) -> int:
        """FLOPs of all that lies in no layer."""
        return _at(self.beside, tokens)

    def layer_at(self, layer: int, tokens: int) -> int:
        """FLOPs of a layer."""
        return _at(self.kinds[self.order[layer]], tokens)


class Part(Protocol):
    """A module that is passed as one, and what it is given."""

    module: torch.nn.Module
    phases: Mapping[str, str]
    """Path of a module in it -> phase. The empty path is for all that is in no other one."""
    fixed: bool
    """Whether its inputs have one size, whatever the number of tokens."""

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
    def traced(self) -> Traced:
        """Its operators from its modules, for a model without a closed form."""
        ...

    @property
    def parameters(self) -> tuple[int, int] | None:
        """Numbers of all weights and of those that one token meets, once they are known."""
        ...

    @property
    def chunks(self) -> Sequence[int]:
        """Numbers of tokens that its layers may work on at once, as the config names them."""
        ...

    @property
    def longest(self) -> int:
        """The most tokens that it has positions for."""
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

    def parts(self) -> Sequence[Part]:
        """Build it on ``meta`` and return its parts."""
        ...


class _Told(NamedTuple):
    """What one pass tells of a phase."""

    beside: int
    layers: tuple[int, ...]


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
        self._agreed: set[int] = set()
        self.traces = 0
        """Forward passes that were traced so far."""

    def phases(self) -> list[str]:
        """The phases that the architecture has."""
        return list(self._recorded or self._places)

    def record(self) -> dict[str, PhaseCount]:
        """What the passes tell of every phase: all that `count` and `count_layers` need of one without chunks."""
        return {phase: self._polynomials(phase, 1) for phase in self.phases()}

    def depth(self, phase: str) -> int:
        """Number of layers of a phase."""
        return len(self._polynomials(phase, _CHECK).order)

    def count(self, phase: str, tokens: int) -> Flops:
        """FLOPs of a phase for one input of ``tokens`` tokens; of the vision tower, for one image.

        Raises:
            UserError: An operator is not counted, or two counters disagree.
        """
        if tokens < 0:
            raise UserError(f"{tokens} tokens are less than none", todo="give 0 or more")
        return self.count_layers(phase, [tokens] * self.depth(phase), tokens)

    def count_layers(self, phase: str, lengths: Sequence[int], longest: int | None = None) -> Flops:
        """FLOPs of a phase of which only the first ``len(lengths)`` layers run, each on its own number of tokens.

        What is not in a layer, such as a norm or an embedding's projection, runs on ``longest``; default of these.
        """
        longest = max(lengths, default=0) if longest is None else longest
        told = self._polynomials(phase, longest)
        layers = sum(self._polynomials(phase, tokens).layer_at(layer, tokens) for layer, tokens in enumerate(lengths))
        return Flops(told.beside_at(longest) + layers, phase, attention=told.attention, waived=told.waived)

    def layer(self, phase: str, tokens: int) -> dict[str, int]:
        """FLOPs of the direct children of the phase's first layer, by name; empty where no layer repeats."""
        place, path = self._places[phase]
        found = self._pass(place, tokens)
        first = next(iter(found.layers(path)), None)
        if first is None:
            return {}
        inside = {
            name.removeprefix(f"{first}."): n for name, n in found.modules.items() if name.startswith(f"{first}.")
        }
        return {name: value for name, value in inside.items() if "." not in name}

    @functools.cached_property
    def _parts(self) -> Sequence[Part]:
        return self._blueprint.parts()

    @functools.cached_property
    def _places(self) -> dict[str, tuple[int, str]]:
        """Phase -> which part it is in, and its path there."""
        return {phase: (number, path) for number, part in enumerate(self._parts) for path, phase in part.phases.items()}

    def _polynomials(self, phase: str, tokens: int) -> PhaseCount:
        """What tells the FLOPs of a phase at a number of tokens."""
        if phase in self._recorded:
            return self._recorded[phase]
        place, _ = self._places[phase]
        if self._parts[place].fixed:
            self._check(place, 1)
            return self._fitted(phase, (1,))
        chunk = self._chunk(place)
        return self._fitted(phase, _lengths(tokens, chunk) if chunk else (tokens,))

    @functools.cache  # noqa: B019 - a counter lives as long as a command
    def _fitted(self, phase: str, lengths: tuple[int, ...]) -> PhaseCount:
        place, _ = self._places[phase]
        told = [self._told(phase, length) for length in lengths]
        layers = [_through(lengths, values) for values in zip(*(one.layers for one in told), strict=True)]
        kinds = tuple(dict.fromkeys(layers))
        flops = self._pass(place, lengths[0]).flops
        return PhaseCount(
            _through(lengths, [one.beside for one in told]),
            kinds,
            tuple(kinds.index(layer) for layer in layers),
            flops.attention if flops else "none",
            flops.waived if flops else (),
        )

    @functools.cache  # noqa: B019
    def _chunk(self, place: int) -> int:
        """How many tokens the layers of a part work on at once; 1 where there are no chunks.

        0 where no polynomial tells what a pass costs: then each length is traced.
        """
        self._check(place, _CHECK)
        phases = [phase for phase, (number, _) in self._places.items() if number == place]
        wanted = (_FAR, *(2 * chunk + 37 for chunk in self._blueprint.chunks if 2 * chunk > _FAR))
        for longest in (self._blueprint.longest, _NEAR):  # some have fewer positions than their config says
            lengths = (_CHECK, *dict.fromkeys(min(length, longest) for length in wanted))
            chunks = dict.fromkeys((1, *(self._blueprint.chunks or _CHUNKS)))
            with suppress(UserError):
                return next((chunk for chunk in chunks if self._tells(phases, lengths, chunk)), 0)
        return 0

    def _tells(self, phases: Sequence[str], lengths: Sequence[int], chunk: int) -> bool:
        """Whether chunks of this size tell what all phases cost at all lengths."""
        return all(self._predicts(phase, length, chunk) for length in lengths for phase in phases)

    @functools.cache  # noqa: B019
    def _check(self, place: int, tokens: int) -> None:
        """Refuse a part of which layers only seem to be alike."""
        from .passes import check_kinds

        part = self._parts[place]
        check_kinds(part.module, part.inputs(tokens), self._pass(place, tokens))

    def _predicts(self, phase: str, tokens: int, chunk: int) -> bool:
        """Whether shorter passes tell what one of ``tokens`` tokens costs, if layers work on such chunks."""
        lengths = _lengths(tokens, chunk)
        if chunk > 1:
            tokens = max(tokens, lengths[-1] + chunk)
        if len({len(self._told(phase, length).layers) for length in lengths}) > 1:
            return False
        fitted, told = self._fitted(phase, lengths), self._told(phase, tokens)
        layers = [fitted.layer_at(layer, tokens) for layer in range(len(fitted.order))]
        return (fitted.beside_at(tokens), layers) == (told.beside, list(told.layers))

    def _told(self, phase: str, tokens: int) -> _Told:
        from .passes import within

        place, path = self._places[phase]
        found = self._pass(place, tokens)
        inside = [other for other in self._parts[place].phases if other != path and within(other, path)]
        others = [one for one in inside if not any(one != other and within(one, other) for other in inside)]
        layers = [
            cost
            for name, cost in found.layers(path).items()
            if not any(name.startswith(f"{other}.") for other in others)
        ]
        return _Told(found.beside(path) - sum(map(found.beside, others)), tuple(layers))

    @functools.cache  # noqa: B019
    def _pass(self, place: int, tokens: int) -> Pass:
        """Count a part by both counters, until they have agreed to the digit; then by the faster one alone."""
        from .passes import count_pass

        part = self._parts[place]
        self.traces += 1
        inputs = part.inputs(tokens)
        if place in self._agreed:
            return count_pass(part.module, inputs, both=False)
        found = count_pass(part.module, inputs, waive=self._waive)
        if found.agreed:
            self._agreed.add(place)
        return found


def _lengths(tokens: int, chunk: int) -> tuple[int, ...]:
    """The lengths whose costs tell that of ``tokens`` tokens, for layers that work on such chunks."""
    if chunk == 1:
        return _LENGTHS
    first = tokens % chunk or chunk
    return first, first + chunk, first + 2 * chunk


def _at(coefficients: Polynomial, x: int) -> int:
    """Value of a polynomial."""
    return int(sum((c * x**power for power, c in enumerate(coefficients)), Fraction(0)))


def _through(lengths: Sequence[int], values: Sequence[int]) -> Polynomial:
    """Coefficients of the polynomial through three points, by power; of the constant one through a single point."""
    if len(lengths) == 1:
        return (Fraction(values[0]),)
    (x0, x1, x2), (y0, y1, y2) = lengths, values
    first, second = Fraction(y1 - y0, x1 - x0), Fraction(y2 - y1, x2 - x1)
    square = (second - first) / (x2 - x0)
    linear = first - square * (x0 + x1)
    return (y0 - linear * x0 - square * x0**2, linear, square)
