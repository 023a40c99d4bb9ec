"""FLOPs of a forward pass, counted twice on the real module and reconciled.

Convention: the contractions - linear layers, matrix products, convolutions, einsums and attention - at 2 FLOPs a
multiply-accumulate. Norms, activations, softmax and other elementwise operators are outside of it; `ELEMENTWISE` names
them. An operator that is neither is an error unless it is waived by name.

fvcore is the counter of record. Alone it drops fused attention, counts a broadcast product at a fraction and leaves out
what a trace can prune; so it gets handles of its own, and every module's output is kept alive while it is traced.
torch's FlopCounterMode counts the same pass again; if they differ by more than 1 % the count is refused.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..results import FlopCount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from fvcore.nn import FlopCountAnalysis

_TOLERANCE = 0.01
_FUSED = "aten::scaled_dot_product_attention"
_OUTSIDE = tuple(
    f"aten::{name}"
    for name in """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d batch_norm grid_sampler group_norm instance_norm
    layer_norm upsample_bilinear2d upsample_nearest2d
    """.split()
)
"""Operators that fvcore counts, though they are no contractions."""

ELEMENTWISE = frozenset(
    f"aten::{name}"
    for name in """
    abs add add_ all any arange argmax argsort avg_pool2d bitwise_and bitwise_not bitwise_or cat ceil clamp clamp_min
    clone copy_ cos cumsum detach diff div div_ dropout elu embedding empty eq erf exp expand expand_as fill_ flip floor
    floor_divide full full_like gather ge gelu gt hardswish hardtanh hardtanh_ index index_add index_put index_put_
    index_select is_nonzero le leaky_relu lift_fresh linalg_norm linalg_vector_norm log log_softmax logical_and
    logical_not logical_or lt masked_fill masked_fill_ max max_pool2d mean meshgrid min minimum maximum mish mul mul_
    ne neg new_full new_ones new_zeros nonzero norm numel one_hot ones ones_like pad permute pow prod reciprocal
    reflection_pad2d relu relu6 relu_ remainder repeat repeat_interleave reshape rms_norm roll round rsqrt rsub
    scalar_tensor scatter scatter_ select_scatter sigmoid silu sin slice_scatter softmax softplus sort sqrt square
    stack std sub sub_ sum tanh to topk transpose tril triu type_as unbind unflatten unique_dim upsample_bicubic2d var
    var_mean where zeros zeros_like
    """.split()
)
"""Operators outside the convention: they move, compare, normalise or map numbers one by one."""


class ConventionError(UserError):
    """Two counts that were made under different conventions cannot be added or compared."""


@dataclass(frozen=True, slots=True)
class Flops:
    """A number of FLOPs that knows how it was counted.

    Attributes:
        value: FLOPs; one multiply-accumulate is two.
        phase: ``vision``, ``prefill`` or ``decode``.
        counter: What counted.
        attention: ``sdpa`` if a fused kernel ran, else ``eager``. Both do the same arithmetic and count the same.
        waived: Operators that stayed uncounted, waived by name.
    """

    value: int
    phase: str
    counter: str = "fvcore"
    attention: str = "eager"
    waived: tuple[str, ...] = ()

    def __add__(self, other: Flops) -> Flops:
        if (self.phase, self.counter) != (other.phase, other.counter):
            raise ConventionError(
                f"cannot add FLOPs of {self.phase} counted by {self.counter} "
                f"and of {other.phase} counted by {other.counter}",
                todo="report them apart",
            )
        attention = self.attention if self.attention == other.attention else "mixed"
        waived = tuple(sorted({*self.waived, *other.waived}))
        return Flops(self.value + other.value, self.phase, self.counter, attention, waived)

    def stored(self) -> FlopCount:
        """The form that results keep."""
        return FlopCount(
            value=self.value, phase=self.phase, counter=self.counter, attention=self.attention, waived=self.waived
        )


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
        UserError: An operator is not counted and not waived, or the two counters differ by more than 1 %.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise UserError("only a torch module's FLOPs can be counted", where=type(module).__name__)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), _quiet():
            analysis = _trace(module, inputs)
            check = _torch_counts(module, inputs)
    finally:
        for part, training in modes.items():
            part.training = training
    uncounted = analysis.unsupported_ops()
    unknown = sorted(op for op in uncounted if op not in ELEMENTWISE and op not in waive)
    if unknown:
        raise UserError(
            f"nobody counts the operator {', '.join(unknown)}",
            where=type(module).__name__,
            todo=f"waive it by name (--waive-op {unknown[0]}) if its cost does not matter",
        )
    by_module = {name: 2 * round(value) for name, value in analysis.by_module().items()}
    _reconcile(by_module, check, type(module).__name__)
    fused = any(_FUSED in counts for counts in analysis.by_module_and_operator().values())
    used = tuple(sorted(op for op in uncounted if op in waive))
    return Flops(by_module[""], phase, attention="sdpa" if fused else "eager", waived=used)


def _trace(module: torch.nn.Module, inputs: Mapping[str, Any]) -> FlopCountAnalysis:
    """Let fvcore count a module, with handles for what it misses and none for what is no contraction."""
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError as error:
        raise UserError("fvcore is needed to count FLOPs", todo="pip install 'adaptbench[torch]'") from error

    analysis = FlopCountAnalysis(_traceable(module, tuple(inputs)), tuple(inputs.values()))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle(
        **dict.fromkeys(_OUTSIDE, _nothing),
        **{"aten::matmul": _matmul, "aten::bmm": _matmul, "aten::mm": _matmul, "aten::baddbmm": _baddbmm},
        **{"aten::_convolution_mode": _convolution, _FUSED: _attention},
    )
    analysis.total()
    return analysis


def _traceable(module: torch.nn.Module, names: Sequence[str]) -> torch.nn.Module:
    """Wrap a module to take positional inputs and return what every submodule returns: no trace prunes what runs."""
    import torch

    class Everything(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: Any) -> list[torch.Tensor]:
            kept: list[torch.Tensor] = []

            def keep(_module: Any, _inputs: Any, output: Any) -> None:
                kept.extend(_tensors(output))

            with ExitStack() as stack:
                for part in module.modules():
                    stack.callback(part.register_forward_hook(keep).remove)
                module(**dict(zip(names, values, strict=True)))
            return kept

    return Everything()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _torch_counts(module: torch.nn.Module, inputs: Mapping[str, Any]) -> dict[str, int]:
    """FLOPs by module as torch counts them, with attention taken apart into its products."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        module(**inputs)
    root = type(module).__name__
    counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    counts[""] = counter.get_total_flops()
    return {name.removeprefix(f"{root}."): value for name, value in counts.items()}


def _reconcile(ours: Mapping[str, int], torchs: Mapping[str, int], root: str) -> None:
    """Refuse a disagreement, naming the smallest module that shows it."""
    total, other = ours[""], torchs[""]
    if abs(total - other) <= _TOLERANCE * max(total, other):
        return
    inner = sorted((name for name in torchs if f"inner.{name}" in ours), key=lambda name: -name.count("."))
    for name in inner:
        a, b = ours[f"inner.{name}"], torchs[name]
        if abs(a - b) > _TOLERANCE * max(a, b):
            where = f"{root}.{name}"
            raise UserError(f"fvcore counts {a:,} FLOPs and torch {b:,}", where=where, todo="report this module")
    raise UserError(f"fvcore counts {total:,} FLOPs and torch {other:,}", where=root, todo="report this model")


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes() or [])


def _nothing(_inputs: Sequence[Any], _outputs: Sequence[Any]) -> Counter[str]:
    """Count an operator that is outside the convention."""
    return Counter()


def _matmul(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Multiply-accumulates of a product of any, also broadcast, shapes: size of the result x the contracted length."""
    return Counter({"matmul": math.prod(_shape(outputs[0])) * _shape(inputs[0])[-1]})


def _baddbmm(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    return Counter({"matmul": math.prod(_shape(outputs[0])) * _shape(inputs[1])[-1]})


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Convolution with its padding given by name; fvcore itself knows the one with numbers."""
    return Counter({"conv": math.prod(_shape(outputs[0])) * math.prod(_shape(inputs[1])[1:])})


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Both products of fused attention, q k' and p v, in full: [..., Lq, D] x [..., Lk, D] x [..., Lk, Dv]."""
    *batch, queries, width = _shape(inputs[0])
    keys, out = _shape(inputs[1])[-2], _shape(outputs[0])[-1]
    return Counter({_FUSED: math.prod(batch) * queries * keys * (width + out)})


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
