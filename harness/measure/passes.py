"""FLOPs of one pass over a model on ``meta``, layer by layer, in the time that one layer of each kind takes."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .flops import Flops, count_both, count_modules_again
from .known_numbers import KnownNumbers, known_inputs
from .repeats import NotAlike, Repeats, once_each_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass cost.

    Attributes:
        modules: Path -> FLOPs of what ran: one layer of each kind.
        repeats: Which layers stood for which.
        flops: How it was counted; its value is that of what ran. ``None`` if torch's counter alone counted.
        agreed: Whether both counters have the same number, to the digit.
    """

    modules: Mapping[str, int]
    repeats: Repeats
    flops: Flops | None = None
    agreed: bool = False

    def layers(self, path: str = "") -> dict[str, int]:
        """Path of each layer of a module that lies in no other one -> its FLOPs."""
        return {name: cost for name, cost in self.repeats.layers(self.modules).items() if within(name, path)}

    def beside(self, path: str = "") -> int:
        """FLOPs of a module without its layers."""
        ran = sum(self.modules.get(layer, 0) for layer in self.repeats.outer if within(layer, path))
        return self._of(path) - ran

    def _of(self, path: str) -> int:
        """What ran of a module; of one that was not called itself, what ran of those in it."""
        if path in self.modules:
            return self.modules[path]
        inside = [name for name in self.modules if within(name, path)]
        outmost = [one for one in inside if not any(within(one, other) for other in inside if other != one)]
        return sum(self.modules[name] for name in outmost)

    @property
    def value(self) -> int:
        """FLOPs of the whole."""
        return self.beside() + sum(self.layers().values())


def within(name: str, path: str) -> bool:
    """Whether a module lies in another one, by their paths."""
    return not path or name.startswith(f"{path}.")


def count_pass(
    module: torch.nn.Module, inputs: Mapping[str, Any], *, waive: Sequence[str] = (), both: bool = True
) -> Pass:
    """Count the FLOPs of ``module(**inputs)``.

    Args:
        module: On ``meta``.
        inputs: Keyword arguments of its forward pass. Tensors on the CPU are put on ``meta``, their numbers known.
        waive: Operators that may stay uncounted.
        both: By fvcore and by torch, which must agree; otherwise by torch alone, after both agreed on such a pass.

    Raises:
        UserError: As `count_flops`; or what it costs depends on what its router chooses.
    """
    found, numbers = _with(module, inputs, KnownNumbers(), waive, both=both)
    if numbers.decided:
        other, _ = _with(module, inputs, KnownNumbers(last=True), waive, both=False)
        refuse_unequal(module, found.value, other.value)
    return found


def refuse_unequal(module: torch.nn.Module, one: int, other: int) -> None:
    """Refuse a module whose FLOPs are not the same for two choices of its router."""
    if one != other:
        raise UserError(
            f"what it costs depends on which experts are chosen: {one:,} or {other:,} FLOPs",
            where=type(module).__name__,
            todo="only a pass with its weights tells; AdaptBench does not guess",
        )


def _with(
    module: torch.nn.Module, inputs: Mapping[str, Any], numbers: KnownNumbers, waive: Sequence[str], *, both: bool
) -> tuple[Pass, KnownNumbers]:
    known = known_inputs(inputs, numbers)
    try:
        return _count(module, known, numbers, waive, both=both), numbers
    except NotAlike:
        whole = _count(module, known, numbers, waive, both=both, all_layers=True)
    with suppress(NotAlike):  # perhaps they only were to the tracer, to which sizes are tensors
        if both:
            one = _count(module, known, numbers, waive, both=False)
            return Pass(one.modules, one.repeats, whole.flops, whole.agreed and one.value == whole.value), numbers
    return whole, numbers


def _count(
    module: torch.nn.Module,
    inputs: Mapping[str, Any],
    numbers: KnownNumbers,
    waive: Sequence[str],
    *,
    both: bool,
    all_layers: bool = False,
) -> Pass:
    opened: list[Repeats] = []

    @contextmanager
    def around() -> Iterator[None]:
        with numbers:
            if all_layers:
                yield
            else:
                with once_each_kind(module) as repeats:
                    opened.append(repeats)
                    yield

    if not both:
        return Pass(count_modules_again(module, inputs, around), next(iter(opened), Repeats()))
    counted = count_both(module, inputs, waive=waive, around=around)
    return Pass(counted.modules, next(iter(opened), Repeats()), counted.flops, counted.agreed)


def check_kinds(module: torch.nn.Module, inputs: Mapping[str, Any], first: Pass) -> None:
    """Count the last layer of each kind, and refuse a model whose layers only seem to be alike.

    Args:
        module: As for `count_pass`.
        inputs: Likewise.
        first: A pass on inputs of the same shapes.

    Raises:
        UserError: The first and the last layer of a kind do not cost the same.
    """
    numbers = KnownNumbers()
    known = known_inputs(inputs, numbers)
    opened: list[Repeats] = []

    @contextmanager
    def around() -> Iterator[None]:
        with numbers, once_each_kind(module, first.repeats) as repeats:
            opened.append(repeats)
            yield

    if not first.repeats.results:
        return
    last = Pass(count_modules_again(module, known, around), opened[-1])
    if _costs(first) != _costs(last):
        raise UserError(
            "layers of one kind differ in their FLOPs", where=type(module).__name__, todo="report this model"
        )


def _costs(found: Pass) -> dict[Any, int]:
    """Kind of the layers that lie in no other one -> FLOPs."""
    layers, outer = found.layers(), found.repeats.outer
    return {kind: layers[path] for kind, (path, _) in found.repeats.results.items() if path in outer}
