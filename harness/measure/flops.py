"""FLOPs of a forward pass, counted twice on the real module and reconciled.

Convention: the contractions - linear layers, matrix products, convolutions, einsums and attention - at 2 FLOPs a
multiply-accumulate. Norms, activations, softmax and other elementwise operators are outside of it; `operators` names
them all. An operator that is neither is an error unless it is waived by name.

fvcore is the counter of record. Alone it drops fused attention, counts a broadcast product at a fraction and leaves out
what a trace can prune; so it gets handles of its own, and every module's output is kept alive while it is traced.
torch's FlopCounterMode counts the same pass again; if they differ by more than 1 % the count is refused.

Tracing takes ten times as long as torch's counter does: `count_again` counts further passes of a module whose first one
both have counted.
"""

from __future__ import annotations

import logging
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..errors import UserError
from ..results import FlopCount
from .operators import EAGER, ELEMENTWISE, FUSED, handles, triangular_flops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch
    from fvcore.nn import FlopCountAnalysis

_TOLERANCE = 0.01
Around: TypeAlias = "Callable[[], AbstractContextManager[object]]"


class ConventionError(UserError):
    """Two counts that were made under different conventions cannot be added or compared."""


@dataclass(frozen=True, slots=True)
class Flops:
    """A number of FLOPs that knows how it was counted.

    Attributes:
        value: FLOPs; one multiply-accumulate is two.
        phase: ``vision``, ``prefill`` or ``decode``.
        counter: What counted.
        attention: ``sdpa`` if a fused kernel ran, ``eager`` if separate products did, ``mixed`` or ``none``. Fused and
            eager do the same arithmetic and count the same.
        waived: Operators that stayed uncounted, waived by name.
    """

    value: int
    phase: str
    counter: str = "fvcore"
    attention: str = "none"
    waived: tuple[str, ...] = ()

    def __add__(self, other: Flops) -> Flops:
        if (self.phase, self.counter) != (other.phase, other.counter):
            raise ConventionError(
                f"cannot add FLOPs of {self.phase} counted by {self.counter} "
                f"and of {other.phase} counted by {other.counter}",
                todo="report them apart",
            )
        attention = _together({self.attention, other.attention} - {"none"})
        waived = tuple(sorted({*self.waived, *other.waived}))
        return Flops(self.value + other.value, self.phase, self.counter, attention, waived)

    def stored(self) -> FlopCount:
        """The form that results keep."""
        return FlopCount(
            value=self.value, phase=self.phase, counter=self.counter, attention=self.attention, waived=self.waived
        )


def _together(kinds: Iterable[str]) -> str:
    """One word for the kinds of attention that took part."""
    one, *more = [*kinds] or ["none"]
    return "mixed" if more else one


class Counted(NamedTuple):
    """A pass as both counters see it.

    Attributes:
        modules: Path of a module -> FLOPs; the whole under the empty path.
        flops: Those of the whole.
        agreed: Whether the two counters have the same number, to the digit.
    """

    modules: dict[str, int]
    flops: Flops
    agreed: bool


def not_counted(error: UserError) -> str:
    """Say why there is no count, in the same words in each session."""
    return f"not counted: {error}"


def parameters(module: torch.nn.Module) -> int:
    """Return the number of parameters, each shared one once."""
    return sum({id(p): p.numel() for p in module.parameters()}.values())


def count_flops(
    module: torch.nn.Module, inputs: Mapping[str, Any], *, phase: str = "vision", waive: Sequence[str] = ()
) -> Flops:
    """Count the FLOPs of ``module(**inputs)``; weights and inputs may be on ``meta``.

    Args:
        module: Counted in evaluation mode, as it runs; its state is left as it was.
        inputs: Keyword arguments of its forward pass.
        phase: What the pass is part of.
        waive: Operators that may stay uncounted, such as ``aten::fft_fft``.

    Raises:
        UserError: The pass cannot be traced, an operator is not counted and not waived, or the two counters differ by
            more than 1 %.
    """
    return count_both(module, inputs, phase=phase, waive=waive).flops


def count_modules(module: torch.nn.Module, inputs: Mapping[str, Any], *, waive: Sequence[str] = ()) -> dict[str, int]:
    """Count as `count_flops` does; return FLOPs by the path of each module, the whole under the empty path."""
    return count_both(module, inputs, waive=waive).modules


def count_again(module: torch.nn.Module, inputs: Mapping[str, Any]) -> int:
    """Count the FLOPs of ``module(**inputs)`` by torch's counter alone.

    It silently drops operators that it does not know: trust it only after `count_flops` has agreed on a pass that
    runs the same operators, on tensors of other sizes.
    """
    return count_modules_again(module, inputs)[""]


def count_modules_again(
    module: torch.nn.Module, inputs: Mapping[str, Any], around: Around = nullcontext
) -> dict[str, int]:
    """Count as `count_again` does; return FLOPs by the path of each module, the whole under the empty path.

    Raises:
        UserError: The pass fails.
    """
    with around(), passing(module):
        return _torch_counts(module, inputs)


@contextmanager
def passing(module: torch.nn.Module) -> Iterator[None]:
    """Let a module be passed in evaluation mode, without gradients and warnings, and blame it for what it raises."""
    import torch

    with _failures_of(module), torch.no_grad(), _quiet(), _evaluating(module):
        yield


@contextmanager
def _failures_of(module: torch.nn.Module) -> Iterator[None]:
    """Blame a module for what its forward pass raises."""
    try:
        yield
    except (
        ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        what = f"its forward pass cannot be traced: {type(error).__name__}: {error}"
        raise UserError(what, where=type(module).__name__) from error


def count_both(
    module: torch.nn.Module,
    inputs: Mapping[str, Any],
    *,
    phase: str = "",
    waive: Sequence[str] = (),
    around: Around = nullcontext,
) -> Counted:
    """Count as `count_flops` does.

    Args:
        module: As for `count_flops`.
        inputs: Likewise.
        phase: Likewise.
        waive: Likewise.
        around: Opens what each of the two passes runs in, in the thread that it runs in.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise UserError("only a torch module's FLOPs can be counted", where=type(module).__name__)
    with passing(module):
        with around():  # first: a model that exchanges modules in its first pass is traced with the new ones
            check = _torch_counts(module, inputs)
        analysis = _trace(module, inputs, around)
    uncounted = analysis.unsupported_ops()
    # What is written in Python torch's counter looks into, and the two must agree.
    unknown = sorted(
        op for op in uncounted if op not in ELEMENTWISE and op not in waive and not op.startswith("prim::")
    )
    if unknown:
        raise UserError(
            f"no counter covers the operator {', '.join(unknown)}",
            where=type(module).__name__,
            todo=f"waive it by name (--waive-op {unknown[0]}) if its cost does not matter",
        )
    by_module = {_path(name): 2 * round(value) for name, value in analysis.by_module().items()}
    _reconcile(by_module, check, type(module).__name__)
    attention = _together({EAGER, FUSED}.intersection(analysis.by_operator()))
    used = tuple(sorted(op for op in uncounted if op in waive))
    flops = Flops(by_module[""], phase, attention=attention, waived=used)
    return Counted(by_module, flops, by_module[""] == check[""])


def _path(name: str) -> str:
    """The path of a module, from its name inside of `_traceable`."""
    return name.removeprefix("inner").removeprefix(".")


def _trace(module: torch.nn.Module, inputs: Mapping[str, Any], around: Around) -> FlopCountAnalysis:
    """Let fvcore count a module, with handles for what it misses and none for what is not a contraction."""
    import torch

    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError as error:
        raise UserError("fvcore is needed to count FLOPs", todo="pip install 'adaptbench[torch]'") from error

    def count() -> FlopCountAnalysis:
        with torch.no_grad(), _convolutions_on_meta(), _beyond_tracers(), around():
            analysis = FlopCountAnalysis(_traceable(module, tuple(inputs)), tuple(inputs.values()))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            analysis.set_op_handle(**handles())
            analysis.total()
        return analysis

    # A tracer notes for every operator all functions that are running. In a thread of its own these are few.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(count).result()


def _convolutions_on_meta() -> AbstractContextManager[object]:
    """Compute convolutions of ``meta`` tensors for real, on zeros.

    On ``meta`` a convolution has a shape rule in Python, which does not take a tracer's sizes and hides the operator
    from it.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import _disable_current_modes

    convolutions = {getattr(torch, f"conv{kind}{n}d") for kind in ("", "_transpose") for n in (1, 2, 3)}
    scattering = {torch.scatter, torch.Tensor.scatter, torch.Tensor.scatter_}

    def zeros(value: Any) -> Any:
        meta = isinstance(value, torch.Tensor) and value.is_meta
        return torch.zeros_like(value, dtype=torch.float32, device="cpu") if meta else value

    def whole(value: Any) -> Any:
        return int(value) if isinstance(value, bool) else value

    class OnZeros(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func in scattering:  # a tracer knows no scatter of a truth value
                args, kwargs = map(whole, args), {name: whole(value) for name, value in kwargs.items()}
            if func not in convolutions:
                return func(*args, **kwargs)
            image = args[0] if args else kwargs["input"]
            with _disable_current_modes():  # under a mode of its dispatcher torch has another name for it
                result = func(*map(zeros, args), **{name: zeros(value) for name, value in kwargs.items()})
            return result.to(image.device, image.dtype)

    return OnZeros()


@contextmanager
def _beyond_tracers() -> Iterator[None]:
    """Help a tracer over what it cannot follow.

    To a tracer sizes are tensors, which cannot be rounded. And it fails inside of ``torch.vmap``, by which transformers
    makes masks: there it does not look. Of a function with a gradient of its own it sees nothing, so that it is given
    what such a function does forwards.
    """
    import torch

    library: Any = torch
    state, vmap = library._C, library.vmap

    def unseen(mapped: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            tracer = state._get_tracing_state()
            state._set_tracing_state(None)
            try:
                return mapped(*args, **kwargs)
            finally:
                state._set_tracing_state(tracer)

        return call

    function = library.autograd.Function
    applied = function.__dict__["apply"]

    def forwards(kind: Any, *args: Any, **kwargs: Any) -> Any:
        apart = kind.setup_context is not function.setup_context  # then the forward pass takes no context
        return kind.forward(*args, **kwargs) if apart else kind.forward(_Context(), *args, **kwargs)

    function.apply = classmethod(forwards)
    library.vmap = lambda *args, **kwargs: unseen(vmap(*args, **kwargs))
    library.Tensor.__round__ = lambda size, digits=None: round(size.item(), digits)
    try:
        yield
    finally:
        library.vmap, function.apply = vmap, applied
        del library.Tensor.__round__


class _Context:
    """What a function with a gradient of its own is given to note what that will need; it notes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


def _traceable(module: torch.nn.Module, names: Sequence[str]) -> torch.nn.Module:
    """Wrap a module to take positional inputs and return what every submodule and every product returns.

    A trace prunes what leads to no result, though it runs.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    tensor = torch.Tensor
    products = {tensor.matmul, tensor.__matmul__, torch.matmul, torch.bmm, tensor.bmm, torch.einsum, torch.baddbmm}

    class Keeping(TorchFunctionMode):
        def __init__(self, kept: dict[int, torch.Tensor]) -> None:
            super().__init__()
            self.kept = kept

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func in products:
                self.kept[id(result)] = result
            return result

    class Everything(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: Any) -> list[torch.Tensor]:
            kept: dict[int, torch.Tensor] = {}

            def keep(_module: Any, _inputs: Any, output: Any) -> None:
                kept.update((id(tensor), tensor) for tensor in _tensors(output))

            with ExitStack() as stack:
                for part in module.modules():
                    stack.callback(part.register_forward_hook(keep).remove)
                stack.enter_context(Keeping(kept))
                module(**dict(zip(names, values, strict=True)))
            return [*kept.values()]

    return Everything()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """What contractions may have made; whole numbers may depend on no input, and a trace returns no such thing."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _torch_counts(module: torch.nn.Module, inputs: Mapping[str, Any]) -> dict[str, int]:
    """FLOPs by module as torch counts them, under fvcore's names, with attention taken apart into its products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False, custom_mapping=formulas())
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer, which torch counts as nothing
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            module(**inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    root = type(module).__name__
    counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    inner = {name.removeprefix(root).removeprefix("."): n for name, n in counts.items() if name.startswith(root)}
    return {**inner, "": counter.get_total_flops()}


def formulas() -> dict[Any, Any]:
    """What torch's counter does not know: operator -> shapes of what it is given and gives -> FLOPs."""
    import torch

    aten = torch.ops.aten
    return {
        aten._grouped_mm: _grouped_flops,
        aten.linalg_solve_triangular: lambda *_, out_shape, **__: triangular_flops(out_shape),
    }


def _grouped_flops(rows: Sequence[int], weights: Sequence[int], *_: Any, **__: Any) -> int:
    """FLOPs of experts on the rows that were sent to them: [rows, in] x [experts, in, out]."""
    return 2 * math.prod(rows) * weights[-1]


def _reconcile(ours: Mapping[str, int], torchs: Mapping[str, int], root: str) -> None:
    """Refuse a disagreement, naming the innermost module that shows it."""

    def differs(name: str) -> bool:
        a, b = ours[name], torchs.get(name, 0)
        return abs(a - b) > _TOLERANCE * max(a, b)

    if not differs(""):
        return
    inmost = next(name for name in sorted(ours, key=lambda name: -name.count(".")) if differs(name))
    both = f"fvcore counts {ours['']:,} FLOPs and torch {torchs['']:,}"
    if inmost:
        both += f", of which {ours[inmost]:,} and {torchs.get(inmost, 0):,} in {inmost}"
    raise UserError(both, where=root, todo="report this model")


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and its parameters out of learning: torch's counter fails on one as an input.

    Both are given back, and hooks that a failed trace leaves are taken away.
    """
    hooked = {
        id(hooks): {*hooks}
        for part in module.modules()
        for hooks in (part._forward_hooks, part._forward_pre_hooks)
        if hooks
    }
    training = [part for part in module.modules() if part.training]
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for part in training:
        part.training = False
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for part in training:
            part.training = True
        for part in module.modules():
            for hooks in (part._forward_hooks, part._forward_pre_hooks):
                for key in hooks.keys() - hooked.get(id(hooks), set()) if hooks else ():
                    del hooks[key]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's warnings, which we turn into errors where they matter, from the user."""
    logger = logging.getLogger("fvcore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
