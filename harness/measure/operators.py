"""The convention, operator by operator: which ones count, how many multiply-accumulates each, and which ones do not.

fvcore calls a handle with the inputs and outputs of a traced operator. It brings handles of its own for linear layers,
convolutions and einsum; those here replace or complete them.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FUSED, EAGER = "sdpa", "eager"
"""What products of attention are counted under: one fused operator, or matrix products around a softmax."""

ELEMENTWISE = frozenset(
    f"aten::{name}"
    for name in """
    _upsample_bicubic2d_aa abs add add_ all amax any arange argmax argsort avg_pool2d bitwise_and bitwise_not bitwise_or
    bucketize cat ceil clamp clamp_min clone col2im copy_ cos cumsum detach diff div div_ dropout elu embedding empty
    empty_like eq erf exp expand expand_as expm1 eye fill_ flip floor floor_divide full full_like gather ge gelu gt
    hardsigmoid hardswish hardswish_ hardtanh hardtanh_ im2col index index_add index_add_ index_put index_put_
    index_select is_nonzero le leaky_relu lift_fresh linalg_norm linalg_vector_norm log log_softmax logical_and
    logical_not logical_or lt masked_fill masked_fill_ masked_scatter max max_pool2d maximum mean meshgrid min minimum
    mish mT mul mul_ ne neg new_full new_ones new_zeros nonzero norm numel numpy_T one_hot ones ones_like pad permute
    polar pow prod reciprocal reflection_pad2d relu relu6 relu_ remainder repeat repeat_interleave reshape reshape_as
    resolve_conj resolve_neg rms_norm roll round rsqrt rsub scalar_tensor scatter scatter_ select_scatter sigmoid
    sigmoid_ silu silu_ sin slice_scatter softmax softplus sort sqrt square stack std sub sub_ sum tanh tanh_ tile to
    topk transpose tril triu type_as unbind unflatten unfold unique_dim unsafe_chunk upsample_bicubic2d
    _upsample_bilinear2d_aa var var_mean view_as view_as_complex view_as_real where zeros zeros_like __ior__ __or__
    """.split()
)
"""Operators outside the convention: they move, compare, normalise, resize or map numbers one by one."""

_OUTSIDE = tuple(
    f"aten::{name}"
    for name in """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d batch_norm grid_sampler group_norm instance_norm
    layer_norm upsample_bilinear2d upsample_nearest2d
    """.split()
)
"""Operators that fvcore counts, though they are not contractions."""

_PASSING = frozenset(
    f"aten::{name}"
    for name in "contiguous dropout expand masked_fill permute reshape to transpose type_as view".split()
)
"""Operators that attention weights may go through between the softmax and the product with the values."""


def handles() -> Mapping[str, Callable[[Sequence[Any], Sequence[Any]], Counter[str]]]:
    """Return operator -> handle (inputs, outputs) -> multiply-accumulates, for `fvcore.nn.FlopCountAnalysis`."""
    return {
        **dict.fromkeys(_OUTSIDE, _nothing),
        "aten::matmul": _matmul,
        "aten::bmm": _matmul,
        "aten::mm": _matmul,
        "aten::baddbmm": _baddbmm,
        "aten::einsum": _einsum,
        "aten::_convolution_mode": _convolution,
        "aten::scaled_dot_product_attention": _attention,
    }


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes() or [])


def _nothing(_inputs: Sequence[Any], _outputs: Sequence[Any]) -> Counter[str]:
    return Counter()


def _matmul(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """A product of any, also broadcast, shapes: size of the result x the contracted length."""
    return _product(math.prod(_shape(outputs[0])) * _shape(inputs[0])[-1], inputs[:2])


def _baddbmm(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    return _product(math.prod(_shape(outputs[0])) * _shape(inputs[1])[-1], inputs[1:3])


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    from fvcore.nn.jit_handles import einsum_flop_jit

    return _product(int(einsum_flop_jit(inputs, outputs)), inputs[1].node().inputs())


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Convolution with its padding given by name; fvcore itself knows the one with numbers."""
    return Counter({"conv": math.prod(_shape(outputs[0])) * math.prod(_shape(inputs[1])[1:])})


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Both products of fused attention, q k' and p v, in full: [..., Lq, D] x [..., Lk, D] x [..., Lk, Dv]."""
    *batch, queries, width = _shape(inputs[0])
    keys, out = _shape(inputs[1])[-2], _shape(outputs[0])[-1]
    return Counter({FUSED: math.prod(batch) * queries * keys * (width + out)})


def _product(macs: int, operands: Iterable[Any]) -> Counter[str]:
    return Counter({EAGER if any(map(_weights, operands)) else "matmul": macs})


def _weights(value: Any) -> bool:
    """Whether a traced value is the weights of attention: a softmax, or what was made of one by moving its numbers."""
    node = value.node()
    while node.kind() in _PASSING:
        node = node.inputsAt(0).node()
    return bool(node.kind() == "aten::softmax")
