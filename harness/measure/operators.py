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
    abs acos add add_ all amax any arange argmax argmin argsort as_strided avg_pool2d bitwise_and bitwise_not
    bitwise_or broadcast_tensors bucketize cat ceil clamp clamp_min clone col2im copy_ cos cumsum detach diff div
    div_ dropout dropout_ elu embedding embedding_bag empty empty_like eq erf erfinv exp expand expand_as expm1 eye
    fill_ flip floor floor_divide full full_like gather ge gelu gt hardsigmoid hardswish hardswish_ hardtanh
    hardtanh_ histc im2col index index_add index_add_ index_copy index_put index_put_ index_select __ior__
    is_nonzero le leaky_relu lift_fresh linalg_norm linalg_vector_norm linspace log log1p log_sigmoid log_softmax
    logical_and logical_not logical_or logsumexp lt mT masked_fill masked_fill_ masked_scatter max max_pool2d
    maximum mean meshgrid min minimum mish mul mul_ nan_to_num ne neg new_full new_ones new_zeros nonzero norm numel
    numpy_T one_hot ones ones_like __or__ pad permute polar pow prod randint reciprocal reflection_pad2d relu relu_
    relu6 remainder repeat repeat_interleave reshape reshape_as resolve_conj resolve_neg rms_norm roll round rsqrt
    rsub scalar_tensor scatter scatter_ scatter_add_ scatter_reduce select_scatter sigmoid sigmoid_ silu silu_ sin
    slice_scatter softmax softplus sort sqrt square stack std sub sub_ sum tanh tanh_ tile to topk transpose tril
    triu type_as unbind unflatten unfold unique_dim unsafe_chunk upsample_bicubic2d _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa upsample_linear1d var var_mean view_as view_as_complex view_as_real where zeros
    zeros_like
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
        "aten::_grouped_mm": _grouped,
        "aten::linalg_solve_triangular": _triangular,
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


def _grouped(inputs: Sequence[Any], _outputs: Sequence[Any]) -> Counter[str]:
    """Experts on the rows that were sent to them: [rows, in] x [experts, in, out]."""
    return _product(math.prod(_shape(inputs[0])) * _shape(inputs[1])[-1], inputs[:2])


def _triangular(_inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """A triangular system [..., n, n] solved for [..., n, m]: half of a product of both."""
    return Counter({"triangular": triangular_flops(_shape(outputs[0])) // 2})


def triangular_flops(solved: Sequence[int]) -> int:
    """FLOPs of solving a triangular system for [..., n, m]: each row subtracts those before it, and divides."""
    return math.prod(solved) * solved[-2]


def _einsum(inputs: Sequence[Any], _outputs: Sequence[Any]) -> Counter[str]:
    operands = list(inputs[1].node().inputs())
    return _product(_einsum_macs(inputs[0].toIValue(), [_shape(operand) for operand in operands]), operands)


def _einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """Multiply-accumulates of an einsum that contracts its operands from left to right, as torch does.

    An index of one operand alone that is not in the result is summed before, which does not count; nor does what sums
    nothing, and is a product of single numbers.
    """
    left, _, right = equation.replace(" ", "").partition("->")
    names = [_indices(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)]
    sizes: dict[str, int] = {}
    for term, shape in zip(names, shapes, strict=True):
        for name, size in zip(term, shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), size)
    if "->" in equation:
        result = set(_indices(right, len(right.replace("...", "")) + _dots(names)))
    else:
        times = Counter(name for term in names for name in term)
        result = {name for name, count in times.items() if count == 1 or name.startswith(".")}
    macs, done = 0, set(names[0])
    for place, term in enumerate(names[1:], 1):
        later = result.union(*names[place + 1 :])
        shared = (done & set(term)) | ((done | set(term)) & later)
        if any(sizes[name] > 1 for name in (done & set(term)) - later):
            macs += math.prod(sizes[name] for name in shared)
        done = (done | set(term)) & later
    return macs


def _indices(term: str, dimensions: int) -> list[str]:
    """The indices of an operand, those of an ellipsis counted from the right."""
    before, dots, after = term.partition("...")
    hidden = dimensions - len(before) - len(after) if dots else 0
    return [*before, *(f".{place}" for place in range(hidden, 0, -1)), *after]


def _dots(names: Iterable[Sequence[str]]) -> int:
    """How many indices the longest ellipsis stands for."""
    return max((sum(name.startswith(".") for name in term) for term in names), default=0)


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
