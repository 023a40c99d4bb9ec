"""How many bytes the weights of linear layers take, by a config's ``quantization_config``.

Sources: the documented layouts of GPTQ and AWQ (packed integers, a scale of 16 bits and a zero point for each group of
inputs), bitsandbytes (LLM.int8: a row; NF4 and FP4: 64 numbers), FP8 (a block, a row or a whole matrix) and MXFP4 (OCP
microscaling: 32 numbers share an exponent).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WHERE = "quantization_config"
_HEAD = ("lm_head", "embed_out", "output_embeddings")
"""Heads, which stay as they are unless a config lists what does."""
_OUTSIDE = r".*(vision|visual|projector|multi_modal|embed)"
"""Beginnings of modules outside of the blocks of the language model."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights of a model's linear layers are stored; what else it has is stored as it is.

    Attributes:
        method: As the config names it.
        bits: Of a weight; 0 for a method whose layout is not known here, whose weights count as not quantised.
        block: Inputs and outputs that share a scale; ``None`` for all.
        scale: Bits of what a block has beside its weights: a scale, a zero point.
        order: Bits for each input of a layer, where inputs are ordered.
        skipped: Names of modules that stay as they are, as transformers matches them.
        only: Pattern of the names that are quantised at all.
    """

    method: str
    bits: int
    block: tuple[int | None, int | None] = (None, None)
    scale: Fraction = Fraction(0)
    order: int = 0
    skipped: tuple[str, ...] = ()
    only: str = ""

    def covers(self, module: str) -> bool:
        """Whether a linear layer is quantised, by its name in the model: ``model.layers.3.self_attn.q_proj``."""
        return bool(self.bits) and bool(re.match(self.only, module)) and not _matches(self.skipped, module)

    def bytes_of(self, inputs: int, outputs: int) -> int:
        """Return the bytes of a quantised matrix of ``outputs`` x ``inputs`` with all that is stored beside it."""
        across, down = (-(-size // (part or size)) for size, part in zip((inputs, outputs), self.block, strict=True))
        bits = inputs * outputs * self.bits + across * down * self.scale + inputs * self.order
        return -(-bits.numerator // (8 * bits.denominator)) if isinstance(bits, Fraction) else -(-bits // 8)

    def __str__(self) -> str:
        if not self.bits:
            return (
                f"weights are quantised by {self.method}, of which the size is not known here: they count as they are"
            )
        inputs, outputs = self.block
        shared = f"{inputs or 'all'} inputs" + ("" if outputs == 1 else f" x {outputs or 'all'} outputs")
        return f"weights are stored as the config states: {self.method}, {self.bits} bits, a scale for {shared}"


def read_quantisation(config: Mapping[str, Any]) -> Quantisation | None:
    """Return how a config's weights are stored, or ``None`` if they are not quantised.

    Raises:
        UserError: The config contradicts itself, or states sizes that no matrix has.
    """
    for part, only in ((config, ""), (config.get("text_config"), rf"(?!{_OUTSIDE})")):
        stated = part.get("quantization_config") if isinstance(part, dict) else None
        if isinstance(stated, dict):
            found = _read(stated)
            return replace(found, only=found.only or only)
    return None


def _read(stated: Mapping[str, Any]) -> Quantisation:
    method = str(stated.get("quant_method") or ("bitsandbytes" if _flags(stated) else "an unnamed method"))
    reader = _METHODS.get(method.lower().replace("-", "_"))
    return reader(stated) if reader else Quantisation(method, 0)


def _gptq(stated: Mapping[str, Any]) -> Quantisation:
    bits, group = _bits(stated, "bits", 4), _group(stated, 128)
    heads = () if stated.get("lm_head") is True else _HEAD
    skipped, only = (*heads, *_names(stated, ())), rf"(?!{_OUTSIDE})"
    inside = stated.get("modules_in_block_to_quantize")
    if isinstance(inside, list) and inside:
        ends = [re.escape(str(name)) for row in inside for name in (row if isinstance(row, list) else [row])]
        only += rf".*\b({'|'.join(ends)})$"
    return Quantisation("gptq", bits, (group, 1), Fraction(16 + bits), 32, skipped, only)


def _awq(stated: Mapping[str, Any]) -> Quantisation:
    bits, group = _bits(stated, "bits", _bits(stated, "w_bit", 4)), _group(stated, 128)
    return Quantisation("awq", bits, (group, 1), Fraction(16 + bits), 0, (*_HEAD, *_names(stated, ())))


def _bitsandbytes(stated: Mapping[str, Any]) -> Quantisation:
    flags = _flags(stated)
    if len(flags) != 1:
        todo = "set exactly one of load_in_4bit and load_in_8bit"
        raise UserError(f"bitsandbytes is said to load in {' and '.join(flags) or 'nothing'}", where=_WHERE, todo=todo)
    skipped = _names(stated, _HEAD)
    if flags == ["8bit"]:
        return Quantisation("bitsandbytes", 8, (None, 1), Fraction(32), 0, skipped)
    twice = stated.get("bnb_4bit_use_double_quant") is True  # scales of 8 bits, 256 of which share one of 32
    return Quantisation(
        "bitsandbytes", 4, (64, 1), Fraction(8) + Fraction(32, 256) if twice else Fraction(32), 0, skipped
    )


def _fp8(stated: Mapping[str, Any]) -> Quantisation:
    size = stated.get("weight_block_size")
    if size is not None and not (isinstance(size, list | tuple) and len(size) == 2 and all(map(_positive, size))):
        raise UserError(f"weight_block_size is {size!r}", where=_WHERE, todo="give outputs and inputs of a block")
    outputs, inputs = size or (None, None)
    return Quantisation("fp8", 8, (inputs, outputs), Fraction(32), 0, _names(stated, _HEAD))


def _fbgemm(stated: Mapping[str, Any]) -> Quantisation:
    return Quantisation("fbgemm_fp8", 8, (None, 1), Fraction(32), 0, _names(stated, _HEAD))


def _mxfp4(stated: Mapping[str, Any]) -> Quantisation:
    return Quantisation("mxfp4", 4, (32, 1), Fraction(8), 0, _names(stated, _HEAD), r".*\bexperts\b")


_METHODS = {
    "awq": _awq, "bitsandbytes": _bitsandbytes, "fbgemm_fp8": _fbgemm, "fp8": _fp8, "gptq": _gptq, "mxfp4": _mxfp4,
}  # fmt: skip


def _flags(stated: Mapping[str, Any]) -> list[str]:
    return [size for size in ("4bit", "8bit") if stated.get(f"load_in_{size}") is True]


def _bits(stated: Mapping[str, Any], name: str, default: int) -> int:
    bits = stated.get(name, default)
    if bits not in (2, 3, 4, 8) or isinstance(bits, bool):
        raise UserError(f"{name} is {bits!r}", where=_WHERE, todo="give 2, 3, 4 or 8")
    return int(bits)


def _group(stated: Mapping[str, Any], default: int) -> int | None:
    size = stated.get("group_size", stated.get("q_group_size", default))
    if size != -1 and not _positive(size):
        raise UserError(f"group_size is {size!r}", where=_WHERE, todo="give a whole number above 0, or -1 for all")
    return None if size == -1 else int(size)


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _names(stated: Mapping[str, Any], default: Sequence[str]) -> tuple[str, ...]:
    """The modules that a config says stay as they are, or the usual ones."""
    listed = stated.get("modules_to_not_convert", stated.get("llm_int8_skip_modules"))
    return tuple(map(str, listed)) if isinstance(listed, list) else tuple(default)


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return bool(patterns) and bool(_pattern(patterns).match(name))


@functools.lru_cache(64)
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Names that begin with a pattern up to a dot, or end in it; ``*`` stands for anything, no other sign does."""
    starts = "|".join(re.escape(one).replace(r"\.\*", ".*").replace(r"\*", ".*") for one in patterns)
    ends = "|".join(map(re.escape, patterns))
    return re.compile(rf"(?:{starts})(?:\.|$)|.*(?:{ends})$")
