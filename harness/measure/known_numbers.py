"""Numbers that are known on the ``meta`` device: positions, masks, grids of patches.

A tensor on ``meta`` has a shape and no values, so code that reads one - ``mask.any()``, ``grid.tolist()``,
``x[mask]`` - stops there. What such code reads was mostly made of whole numbers that are known: while this mode is on,
they are computed beside, on the CPU. What depends on weights stays unknown, but for one thing: which of several is
chosen, such as experts by a router, is assumed. Where a shape comes to rest on that, what is counted must be the same
for another choice.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST = {True: 2**22, False: 2**23}
"""Numbers of a tensor that are computed at most: of fractions, and of whole numbers and truth values."""
_READ = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::item"}
"""Operators that give Python a value."""
_SHAPED_BY_VALUES = {
    "aten::masked_select", "aten::nonzero", "aten::repeat_interleave", "aten::unique_consecutive",
    "aten::unique_dim", "aten::_unique", "aten::_unique2", "aten::bincount",
}  # fmt: skip
"""Operators whose result has a shape that depends on values."""
_ALIKE = {
    "aten::full_like", "aten::new_full", "aten::new_ones", "aten::new_zeros", "aten::ones_like", "aten::zeros_like",
}  # fmt: skip
"""Operators whose result does not depend on the values of what they are given."""
_CHOICES = {"aten::topk", "aten::argmax", "aten::argmin"}
"""Operators that choose some of several."""


class KnownNumbers(TorchDispatchMode):
    """Computes on the CPU what follows from known numbers, beside each tensor on ``meta``.

    Args:
        last: Assume that the last ones are always chosen; otherwise choices go round.
    """

    def __init__(self, *, last: bool = False) -> None:
        super().__init__()
        self._values: Any = WeakIdKeyDictionary()
        self._assumed: Any = WeakIdKeyDictionary()
        self._last = last
        self._made: list[_Making] = []
        self.decided = False
        """Whether a number that code read, or a shape, rests on what was assumed to be chosen."""

    def __enter__(self) -> Self:
        self._made.append(_Making(self).__enter__())
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self._made.pop().__exit__(*raised)

    def on_meta(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on ``meta`` whose numbers are known to be those of ``tensor``, which is on the CPU."""
        twin = torch.empty_like(tensor, device="meta")
        self._values[twin] = tensor
        return twin

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors: list[torch.Tensor] = []
        tree_map_only(torch.Tensor, tensors.append, (args, kwargs))
        if not any(tensor.is_meta for tensor in tensors) and torch.device(kwargs.get("device") or "cpu").type != "meta":
            return func(*args, **kwargs)
        name = func._schema.name
        known = (
            all(self._value(tensor) is not None for tensor in tensors)
            and torch.Tag.nondeterministic_seeded not in func.tags
        )
        assumed = any(tensor in self._assumed for tensor in tensors)
        to_cpu = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
        told = name in _READ or to_cpu
        if not known and (told or name == "aten::nonzero"):
            raise self._unknown(name)
        if told or (known and name in _SHAPED_BY_VALUES):
            self.decided |= assumed
            result = func(*self._real(args), **self._real(kwargs))
            return result if told else tree_map_only(torch.Tensor, self.on_meta, result)
        if known and self._writes_real(func, args):
            self.decided |= assumed
            return func(*self._real(args), **self._real(kwargs))
        args, kwargs = tree_map_only(torch.Tensor, self._moved, (args, kwargs))
        result = func(*self._indexed(name, args), **kwargs)
        self._follow(func, args, kwargs, result, known=known)
        if name in _ALIKE and not known and result.numel() <= _MOST[result.is_floating_point()]:
            given = torch.empty((), dtype=args[0].dtype).expand(args[0].shape)
            self._values[result] = func(given, *self._real(args[1:]), **(self._real(kwargs) | _on_cpu(kwargs)))
        elif name in _CHOICES and not known:
            self._choose(args, kwargs, result)
        elif assumed:
            tree_map_only(torch.Tensor, self._assume, result)
            tree_map_only(torch.Tensor, self._assume, _written(func, args))
        return result

    def _value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        return self._values.get(tensor) if tensor.is_meta else tensor

    @staticmethod
    def _unknown(name: str) -> RuntimeError:
        return RuntimeError(f"what it does depends on numbers that follow from weights ({name})")

    def _assume(self, tensor: torch.Tensor) -> None:
        self._assumed[tensor] = True

    def _choose(self, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Assume what of unknown numbers is chosen: places along a dimension."""
        several = isinstance(result, tuple)
        chosen, given = result[1] if several else result, args[0]
        dim = dict(enumerate(args)).get(2 if several else 1, kwargs.get("dim", -1 if several else None))
        if dim is None or not given.ndim:
            return
        count, every = chosen.shape[dim] if several else 1, given.shape[dim]
        shape = list(given.shape)
        shape[dim] = 1
        rows = torch.arange(math.prod(shape)).reshape(shape)
        order = torch.arange(count).reshape([-1 if one == dim % given.ndim else 1 for one in range(given.ndim)])
        places = (every - count + order + 0 * rows) if self._last else (count * rows + order) % every
        self._values[chosen] = places.reshape(chosen.shape)
        self._assume(chosen)

    def _real(self, values: Any) -> Any:
        return tree_map_only(torch.Tensor, self._value, values)

    @staticmethod
    def _writes_real(func: Any, args: Sequence[Any]) -> bool:
        """Whether an operator writes to a tensor on the CPU, which code made there beside those on ``meta``."""
        return any(not tensor.is_meta for tensor in _written(func, args))

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on ``meta``, of one that code made on the CPU; single numbers go with any device."""
        return tensor if tensor.is_meta or tensor.ndim == 0 else self.on_meta(tensor)

    def _indexed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments, with masks that are known as the places that they choose."""
        if name not in {"aten::index", "aten::index_put", "aten::index_put_"}:
            return args
        places: list[Any] = []
        for index in args[1]:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                places.append(index)
                continue
            value = self._value(index)
            if value is None:
                raise self._unknown(name)
            self.decided |= index in self._assumed
            places += map(self.on_meta, value.nonzero(as_tuple=True))
        return args[0], places, *args[2:]

    def _follow(self, func: Any, args: Any, kwargs: Mapping[str, Any], result: Any, *, known: bool) -> None:
        """Note the values of what was just made, or that those of what was written to are no longer known."""
        made: list[torch.Tensor] = []
        tree_map_only(torch.Tensor, made.append, result)
        if known and sum(tensor.numel() for tensor in made) <= min(
            _MOST[t.is_floating_point()] for t in made or [torch.empty(0)]
        ):
            with suppress(RuntimeError, NotImplementedError, IndexError, TypeError, ValueError):
                real: list[torch.Tensor] = []
                tree_map_only(
                    torch.Tensor, real.append, func(*self._real(args), **(self._real(kwargs) | _on_cpu(kwargs)))
                )
                for tensor, value in zip(made, real, strict=True):
                    self._values[tensor] = value
                return
        for written in _written(func, args):
            self._values.pop(written, None)


def _written(func: Any, args: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors that an operator writes to."""
    return [
        value
        for argument, value in zip(func._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, torch.Tensor)
    ]


def known_inputs(inputs: Mapping[str, Any], numbers: KnownNumbers) -> dict[str, Any]:
    """Inputs with what is on the CPU on ``meta`` instead, its numbers known."""
    return {
        name: numbers.on_meta(value) if isinstance(value, torch.Tensor) and not value.is_meta else value
        for name, value in inputs.items()
    }


class _Making(TorchFunctionMode):
    """Catches numbers on their way from Python to a tensor on ``meta``, where no mode of the dispatcher sees them."""

    def __init__(self, numbers: KnownNumbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device).type == "meta":
            made = func(*args, **{**kwargs, "device": "cpu"})
            return made if made.is_meta else self._numbers.on_meta(made)
        if func is torch.Tensor.__format__ and args[0].is_meta and args[0].ndim == 0:  # which writes no number of it
            return format(args[0].item(), args[1])
        if func is torch.Tensor.__getitem__ and args[0].is_meta and isinstance(args[1], list | tuple):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = args[0], tuple(self._numbers.on_meta(torch.tensor(p)) if _is_numbers(p) else p for p in places)
        return func(*args, **kwargs)


def _is_numbers(place: Any) -> bool:
    return isinstance(place, list) and bool(place) and all(isinstance(one, int) for one in place)


def _on_cpu(kwargs: Mapping[str, Any]) -> dict[str, torch.device]:
    return {"device": torch.device("cpu")} if kwargs.get("device") is not None else {}
