"""The operators of a model without a closed form: what its modules multiply, and what that moves.

A pass on ``meta`` tells of every contraction its FLOPs and the sizes of what it reads and writes. One layer of each
kind runs; the others are made of the same. Attention is one operator whose scores never reach memory, as fused kernels
have it; of experts those weights are read that tokens were sent to. Elementwise operators are left out.
What flows from one into the next tells how several accelerators share them.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper
from torch.utils.module_tracker import ModuleTracker

from .closed_form import Operator
from .flops import formulas, passing
from .known_numbers import KnownNumbers, known_inputs
from .passes import refuse_unequal
from .repeats import NotAlike, Repeats, once_each_kind
from .sharding import Flow, Node, shards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .closed_form import Phase
    from .sharding import Shard

_GROUPS = 8
"""Where the groups stand among the arguments of a convolution."""


@dataclass(frozen=True, slots=True)
class Layered:
    """The operators of a pass, those of each layer apart.

    Attributes:
        beside: Phase -> operators that lie in no layer.
        layers: Phase -> operators of each of its layers.
    """

    beside: Mapping[str, tuple[Operator, ...]]
    layers: Mapping[str, tuple[tuple[Operator, ...], ...]]

    def whole(self, phase: str) -> Iterator[Operator]:
        """All operators of a phase."""
        yield from self.beside.get(phase, ())
        for layer in self.layers.get(phase, ()):
            yield from layer


@dataclass(slots=True)
class _Seen:
    """A contraction as it ran: where, and its sizes."""

    path: str
    name: str
    flops: int
    weights: int
    read: int
    written: int
    shape: tuple[int, int] | None = None
    most: int | None = None
    follows: frozenset[int] = frozenset()
    linear: bool = False
    shard: Shard = "whole"
    summed: int = 0


class _Contractions(TorchDispatchMode):
    """Notes every contraction that runs.

    Args:
        module: What runs; its parameters are what counts as weights.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.seen: list[_Seen] = []
        self._formulas = {packet: shape_wrapper(formula) for packet, formula in formulas().items()}
        self._tracker = ModuleTracker()
        self._root = type(module).__name__
        self._weights = {_storage(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        self._chosen: dict[int, tuple[int, int]] = {}
        self._alive: list[torch.Tensor] = []  # or another tensor would take the place of one that is gone
        self._attention: _Seen | None = None
        self.layers: Sequence[str] = ()
        self.flow = Flow(lambda place: (place >= 0 and self.layer(self.seen[place].path)) or "")

    def __enter__(self) -> _Contractions:
        self._tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self._tracker.__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        formula = self._formulas.get(packet) or flop_registry.get(packet)
        result = func(*args, **kwargs)
        if packet is torch.ops.aten.index and _storage(args[0]) in self._weights:
            self._choose(args[0], result)
        if formula is not None:
            flops = int(formula(*args, **kwargs, out_val=result))
            if self._attention is not None:
                self._attention.flops += flops
            else:
                self.seen.append(self._note(func, args, result, flops))
                if self.seen[-1].linear:
                    self.flow.linear(len(self.seen) - 1, result)
                    return result
        self.flow.ran(packet, args, result, lambda: self.layer(self.path()))
        return result

    def _choose(self, weights: torch.Tensor, chosen: torch.Tensor) -> None:
        """Experts were chosen: of each row its own, so of all experts at most as many as there are rows."""
        experts = len(weights)
        rows = math.prod(chosen.shape[: chosen.ndim - weights.ndim + 1])
        self._alive.append(chosen)
        self._chosen[_storage(chosen)] = min(rows, experts) * (weights.numel() // experts), weights.numel()

    def _note(self, func: Any, args: Any, result: Any, flops: int) -> _Seen:
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        weights = read = 0
        shape = most = None
        for tensor in tensors:
            place = _storage(tensor)
            if place in self._chosen:
                read_once, every = self._chosen[place]
                weights, most = weights + read_once, every
                if tensor.ndim == 3:  # the first operand of a product is [outputs, inputs], the second the other way
                    rows, columns = (int(side) for side in tensor.shape[1:])
                    shape = (columns, rows) if tensor is tensors[0] else (rows, columns)
            elif place in self._weights:
                weights += tensor.numel()
                if tensor.ndim == 2 and func._overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
                    shape = (int(tensor.shape[0]), int(tensor.shape[1]))
            else:
                read += tensor.numel()
        written = result.numel() if isinstance(result, torch.Tensor) else sum(one.numel() for one in result)
        name = func._schema.name.removeprefix("aten::").lstrip("_")
        mixes = not (func._overloadpacket is torch.ops.aten.convolution and args[_GROUPS] > 1)
        follows, linear = self.flow.sources(args), weights > 0 and mixes
        return _Seen(self.path(), name, flops, weights, read, written, shape, most, follows, linear)

    def path(self) -> str:
        """Path of the innermost module that runs."""
        inmost = max(self._tracker.parents, key=len, default="")
        return inmost.removeprefix("Global").removeprefix(self._root).removeprefix(".")

    def layer(self, path: str) -> str:
        """Path of the layer that a module lies in; empty if it lies in none."""
        return next((ran for ran in self.layers if f"{path}.".startswith(f"{ran}.")), "")

    @contextmanager
    def attending(self, *tensors: torch.Tensor) -> Iterator[_Seen]:
        """Take all that runs inside as one operator that reads ``tensors``."""
        read, follows = sum(tensor.numel() for tensor in tensors), self.flow.sources(tensors)
        before = self._attention
        self._attention = _Seen(self.path(), "attention", 0, 0, read, 0, follows=follows)
        try:
            yield self._attention
        finally:
            if self._attention is not None:
                self.seen.append(self._attention)
            self._attention = before


class _Fused(TorchFunctionMode):
    """Takes attention as one operator."""

    def __init__(self, seen: _Contractions) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        with self._seen.attending(*(args[:3] or (kwargs["query"], kwargs["key"], kwargs["value"]))) as noted:
            result = func(*args, **kwargs)
            noted.written = result.numel()
        return result


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def trace(module: torch.nn.Module, inputs: Mapping[str, Any], phases: Mapping[str, str]) -> Layered:
    """Return the operators of ``module(**inputs)`` by phase and layer.

    Args:
        module: On ``meta``.
        inputs: Keyword arguments; tensors on the CPU are put on ``meta``, their numbers known.
        phases: Path of a module -> phase; the empty path is for all that is in no other one.

    Raises:
        UserError: The pass fails, or what it costs depends on what its router chooses.
    """
    numbers = KnownNumbers()
    seen, repeats = _run(module, inputs, numbers)
    if numbers.decided:
        other, _ = _run(module, inputs, KnownNumbers(last=True))
        refuse_unequal(module, *(sum(one.flops for one in ran.seen) for ran in (seen, other)))
    _shard(seen)
    first = {path: ran for ran, stood in repeats.of.items() for path in (ran, *stood)}
    outer = {path: ran for path, ran in first.items() if ran in repeats.outer}
    times = {ran: 1 + len(stood) for ran, stood in repeats.of.items() if ran not in repeats.outer}
    beside: dict[str, list[Operator]] = {}
    inside: dict[str, list[_Seen]] = {}
    for ran_once in seen.seen:
        inside_of = f"{ran_once.path}."
        one = _scaled(ran_once, math.prod(n for ran, n in times.items() if inside_of.startswith(f"{ran}.")))
        layer = seen.layer(one.path)
        if not layer:
            phase = _phase(one.path, phases)
            beside.setdefault(phase, []).append(_operator(one, phase, one.path or phase))
        else:
            inside.setdefault(layer, []).append(one)
    layers: dict[str, list[tuple[Operator, ...]]] = {}
    for path, ran in _in_order(outer):
        phase = _phase(path, phases)
        place = len(layers.setdefault(phase, []))
        own = [_operator(one, phase, f"layers.{place}{one.path.removeprefix(ran)}") for one in inside.get(ran, ())]
        layers[phase].append(tuple(own))
    return Layered({p: tuple(o) for p, o in beside.items()}, {p: tuple(o) for p, o in layers.items()})


def _run(module: torch.nn.Module, inputs: Mapping[str, Any], numbers: KnownNumbers) -> tuple[_Contractions, Repeats]:
    """What ran, and what stood for what; all layers run if some of one kind are not alike."""
    known = known_inputs(inputs, numbers)
    seen = _Contractions(module)
    seen.flow.begin(known)
    try:
        with passing(module), numbers, seen, _Fused(seen), once_each_kind(module) as repeats:
            seen.layers = repeats.outer
            module(**known)
    except NotAlike:
        seen, repeats = _Contractions(module), Repeats()
        with passing(module), numbers, seen, _Fused(seen):
            module(**known)
    return seen, repeats


def _shard(ran: _Contractions) -> None:
    """Say of the operators of each layer how several accelerators share them."""
    for layer in ran.layers:
        own = {place: one for place, one in enumerate(ran.seen) if ran.layer(one.path) == layer}
        nodes = {
            place: Node(one.follows & own.keys(), one.linear, one.written < one.read, one.written)
            for place, one in own.items()
        }
        for place, (shard, summed) in shards(nodes, ran.flow.sums).items():
            own[place].shard, own[place].summed = shard, summed


def _in_order(outer: Mapping[str, str]) -> list[tuple[str, str]]:
    def key(path: str) -> tuple[tuple[int, int | str], ...]:
        return tuple((0, int(part)) if part.isdigit() else (1, part) for part in path.split("."))

    return sorted(outer.items(), key=lambda item: key(item[0]))


def _phase(path: str, phases: Mapping[str, str]) -> str:
    inside = [name for name in phases if name and f"{path}.".startswith(f"{name}.")]
    return phases[max(inside, key=len, default="")]


def _scaled(one: _Seen, times: int) -> _Seen:
    return replace(
        one, flops=times * one.flops, weights=times * one.weights, read=times * one.read, written=times * one.written,
        most=one.most and times * one.most,
    )  # fmt: skip


def _operator(one: _Seen, phase: str, module: str) -> Operator:
    kind: Phase = phase  # type: ignore[assignment]
    shard, summed = (one.shard, one.summed) if phase == "prefill" else ("whole", 0)
    return Operator(
        kind, module, one.name, one.flops, one.weights, one.read, one.written, one.shape, path=one.path, most=one.most,
        shard=shard, summed=summed,
    )  # fmt: skip
