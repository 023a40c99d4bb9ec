"""Numbers that are known on the ``meta`` device: positions, masks, grids of patches.

A tensor on ``meta`` has a shape and no values, so code that reads one - ``mask.any()``, ``grid.tolist()``,
``x[mask]`` - stops there. What such code reads was mostly made of whole numbers that are known: while this mode is on,
they are computed beside, on the CPU. What depends on weights, such as which expert is chosen, stays unknown.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST = {True: 2**20, False: 2**23}
"""Numbers of a tensor that are computed at most: of fractions, and of whole numbers and truth values."""
_READ = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::item"}
"""Operators that give Python a value."""
_SHAPED_BY_VALUES = {
    "aten::masked_select", "aten::nonzero", "aten::repeat_interleave", "aten::unique_consecutive",
    "aten::unique_dim", "aten::_unique", "aten::_unique2", "aten::bincount",
}  # fmt: skip
"""Operators whose result has a shape that depends on values."""


class KnownNumbers(TorchDispatchMode):
    """Computes on the CPU what follows from known numbers, beside each tensor on ``meta``."""

    def __init__(self) -> None:
        super().__init__()
        self._values: Any = WeakIdKeyDictionary()
        self._made: list[_Making] = []

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
        to_cpu = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
        if name in _READ or to_cpu:
            return func(*self._real(args), **self._real(kwargs)) if known else func(*args, **kwargs)
        if name in _SHAPED_BY_VALUES and known:
            return tree_map_only(torch.Tensor, self.on_meta, func(*self._real(args), **self._real(kwargs)))
        if known and self._writes_real(func, args):
            return func(*self._real(args), **self._real(kwargs))
        args, kwargs = tree_map_only(torch.Tensor, self._moved, (args, kwargs))
        result = func(*self._indexed(name, args), **kwargs)
        self._follow(func, args, kwargs, result, known=known)
        return result

    def _value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        return self._values.get(tensor) if tensor.is_meta else tensor

    def _real(self, values: Any) -> Any:
        return tree_map_only(torch.Tensor, self._value, values)

    @staticmethod
    def _writes_real(func: Any, args: Sequence[Any]) -> bool:
        """Whether an operator writes to a tensor on the CPU, which code made there beside those on ``meta``."""
        return any(
            argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, torch.Tensor)
            and not value.is_meta
            for argument, value in zip(func._schema.arguments, args, strict=False)
        )  # fmt: skip

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on ``meta``, of one that code made on the CPU; single numbers go with any device."""
        return tensor if tensor.is_meta or tensor.ndim == 0 else self.on_meta(tensor)

    def _indexed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments, with masks that are known as the places that they choose."""
        if name not in {"aten::index", "aten::index_put", "aten::index_put_"}:
            return args
        places: list[Any] = []
        for index in args[1]:
            value = None if index is None or index.dtype not in (torch.bool, torch.uint8) else self._value(index)
            places += [index] if value is None else map(self.on_meta, value.nonzero(as_tuple=True))
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
        for argument, written in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(written, torch.Tensor):
                self._values.pop(written, None)


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
        if func is torch.Tensor.__getitem__ and args[0].is_meta and isinstance(args[1], list | tuple):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = args[0], tuple(self._numbers.on_meta(torch.tensor(p)) if _is_numbers(p) else p for p in places)
        return func(*args, **kwargs)


def _is_numbers(place: Any) -> bool:
    return isinstance(place, list) and bool(place) and all(isinstance(one, int) for one in place)


def _on_cpu(kwargs: Mapping[str, Any]) -> dict[str, torch.device]:
    return {"device": torch.device("cpu")} if kwargs.get("device") is not None else {}
