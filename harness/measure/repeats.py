"""Layers that cost the same run once: a pass over a deep model takes the time of one layer of each kind.

Two layers are of one kind if their modules, the shapes of their weights and the whole numbers, texts and switches in
them, also several in a tuple, are the same (fractions, such as rates of dropout, change no shape); they cost the same
if their inputs have the same shapes, too. The first layer of a kind runs, and the others return what it
returned: on ``meta`` that is all that there is to a result.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

_OF_PLACE = {"layer_idx", "layer_id", "layer_index", "idx", "training"}
"""Settings that say where a layer stands, not what it does."""

_KINDS: WeakKeyDictionary[torch.nn.Module, Hashable] = WeakKeyDictionary()


class NotAlike(UserError):
    """A layer ran twice in different ways, so that what one of its passes costs cannot be told."""


@dataclass(slots=True)
class Repeats:
    """Which layers stood for which in one pass.

    Attributes:
        of: Path of a layer that ran -> paths of the layers that it stood for, one for each time.
        outer: Paths of those layers that ran within no other layer.
        last: Kind -> path of the last layer that was asked.
        results: Kind -> path of the layer that ran, and what it returned.
    """

    of: dict[str, list[str]] = field(default_factory=dict)
    outer: list[str] = field(default_factory=list)
    last: dict[Hashable, str] = field(default_factory=dict)
    results: dict[Hashable, tuple[str, Any]] = field(default_factory=dict)

    def layers(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Path of each layer that lies in no other one -> what it costs, from the counts by module of what ran."""
        found: dict[str, int] = {}
        for layer in self.outer:
            cost = self._whole(counts, layer)
            for path in (layer, *self.of[layer]):
                found[path] = found.get(path, 0) + cost
        return found

    def _whole(self, counts: Mapping[str, int], path: str) -> int:
        """A layer's cost with all layers inside it."""
        inside = [layer for layer in self.of if layer.startswith(f"{path}.")]
        direct = [one for one in inside if not any(one.startswith(f"{other}.") for other in inside)]
        return counts.get(path, 0) + sum(
            (1 + len(self.of[one])) * self._whole(counts, one) - counts.get(one, 0) for one in direct
        )


@contextmanager
def once_each_kind(module: torch.nn.Module, again: Repeats | None = None) -> Iterator[Repeats]:
    """While open, a pass of ``module`` runs the first layer of each kind.

    Args:
        module: What is passed.
        again: From an earlier pass on inputs of the same shapes: the last layer of each kind runs now instead.

    Raises:
        NotAlike: During a pass.
    """
    passing = _Passing(Repeats(), [], again)
    with ExitStack() as stack:
        _take_places(module, "", passing, stack, set())
        yield passing.repeats


class _Passing(NamedTuple):
    """A pass: what stood for what so far, the layers that are running, and the pass before."""

    repeats: Repeats
    running: list[Hashable]
    again: Repeats | None


class _StandIn(torch.nn.Module):
    """Takes the place of a layer that does not run, without its modules; it has the layer's other attributes."""

    def __init__(self, layer: torch.nn.Module, answer: Callable[..., Any]) -> None:
        super().__init__()
        self.__dict__.update(_layer=layer, forward=answer, _forward_hooks=layer._forward_hooks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"], name)


def _take_places(
    module: torch.nn.Module, path: str, passing: _Passing, stack: ExitStack, seen: set[int], *, outer: bool = True
) -> None:
    """Let one layer of each kind in each list of modules run, and the others stand in."""
    for name, child in module.named_children():
        inner = f"{path}.{name}".removeprefix(".")
        if not isinstance(child, torch.nn.ModuleList) or len(child) < 2:
            _take_places(child, inner, passing, stack, seen, outer=outer)
            continue
        layers = {
            number: layer
            for number, layer in child.named_children()
            if id(layer) not in seen and type(layer).forward is not torch.nn.Module.forward  # or what is in it runs
        }
        seen.update(map(id, layers.values()))
        members = list(layers.items())
        chosen = members if outer and passing.again else members[::-1]  # the last one of a kind stays
        runs = {kind_of(layer): number for number, layer in chosen}
        for number, layer in child.named_children():
            place = f"{inner}.{number}"
            if number not in layers:
                _take_places(layer, place, passing, stack, seen, outer=outer)
            elif runs[kind_of(layer)] == number:
                layer.forward = _once(place, layer, layer.forward, passing)
                stack.callback(delattr, layer, "forward")
                _take_places(layer, place, passing, stack, seen, outer=False)
            else:
                child._modules[number] = _StandIn(layer, _once(place, layer, None, passing))
                stack.callback(child._modules.__setitem__, number, layer)


def _once(
    path: str, layer: torch.nn.Module, forward: Callable[..., Any] | None, passing: _Passing
) -> Callable[..., Any]:
    """The forward pass of a layer that runs once, or, without ``forward``, never."""
    kind = kind_of(layer)
    ran: set[Hashable] = set()
    repeats, running, again = passing

    def once(*args: Any, **kwargs: Any) -> Any:
        # Layers inside of a layer stand for each other within it alone.
        key = (running[-1] if running else None, hash((kind, _seen(args), _seen(kwargs))))
        repeats.last[key] = path
        if again is not None and not running and path != again.last.get(key):
            return again.results[key][1]
        if key in repeats.results:
            first, result = repeats.results[key]
            repeats.of[first].append(path)
            return result
        if ran or forward is None:
            raise NotAlike("layers of one kind run on inputs of different shapes", where=path)
        ran.add(key)
        repeats.of[path] = []
        if not running:
            repeats.outer.append(path)
        running.append(key)
        try:
            result = forward(*args, **kwargs)
        finally:
            running.pop()
        repeats.results[key] = (path, result)
        return result

    return once


def kind_of(layer: torch.nn.Module) -> Hashable:
    """What tells a layer from layers of other kinds: modules, shapes of weights, settings; see `Repeats`."""
    if layer not in _KINDS:
        _KINDS[layer] = tuple(_settings(part) for part in layer.modules())
    return _KINDS[layer]


def _settings(module: torch.nn.Module) -> Hashable:
    own = module.__dict__
    tensors = [(name, value) for kind in ("_parameters", "_buffers") for name, value in own[kind].items()]
    return (
        type(module),
        tuple((name, None if value is None else (tuple(value.shape), value.dtype)) for name, value in tensors),
        tuple((name, value) for name, value in own.items() if name not in _OF_PLACE and _tells(value)),
        tuple((name, child is None) for name, child in own["_modules"].items()),
        _of_its_place(module),
    )


def _tells(value: Any) -> bool:
    """Whether a setting may change a shape: a convolution's stride is a tuple of whole numbers."""
    return value is None or isinstance(value, int | str) or (isinstance(value, tuple) and all(map(_tells, value)))


def _of_its_place(module: torch.nn.Module) -> Hashable:
    """What the config's lists with an entry for each layer say of this one."""
    own = vars(module)
    config, place = own.get("config"), own.get("layer_idx")
    if config is None or not isinstance(place, int):
        return ()
    named = vars(config)
    return tuple(
        (name, str(values[place]))
        for name, values in named.items()
        if isinstance(values, list) and place < len(values) == named.get("num_hidden_layers")
    )


def _seen(value: Any) -> Hashable:
    """What of a layer's inputs its work may depend on; to a tracer, which shall not look, sizes are tensors."""
    library: Any = torch._C
    tracer = library._get_tracing_state()
    library._set_tracing_state(None)
    try:
        return _shapes(value)
    finally:
        library._set_tracing_state(tracer)


def _shapes(value: Any) -> Hashable:
    """What of a layer's inputs its work may depend on."""
    if isinstance(value, torch.Tensor):
        return tuple(int(side) for side in value.shape), value.dtype
    if isinstance(value, dict):
        return tuple((name, _shapes(inner)) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_shapes, value))
    if value is None or isinstance(value, bool | int | str):
        return value
    return type(value).__name__
