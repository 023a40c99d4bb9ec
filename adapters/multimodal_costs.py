"""What the parts of a LLaVA cost; what many prompts have in common is counted once."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from ..harness.measure.closed_form import COUNTED, prefill, projector
from ..harness.prefill_cost import Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.execution import Execution, PromptSize
    from ..harness.transformer import Architecture
    from .decoder import Method, Plan

_KEPT = 4096


def vision_flops(config: Any, source: str) -> int:
    """Count the FLOPs of the tower for one image.

    Args:
        config: Of a transformers LLaVA.
        source: Where it comes from, for messages.
    """
    return _vision_flops(config.to_json_string(use_diff=False), source)


@functools.lru_cache(_KEPT)
def _vision_flops(config: str, source: str) -> int:
    from ..harness.measure.counting import Counter
    from .transformers_meta import Blueprint

    blueprint: Any = Blueprint(json.loads(config), source)
    return Counter(blueprint).count("vision", 1).value


@functools.lru_cache(_KEPT)
def projector_flops(architecture: Architecture, tokens: int) -> int:
    """Count the FLOPs of the projector for some number of visual tokens."""
    return sum(operator.flops for operator in projector(architecture, tokens, COUNTED))


@functools.lru_cache(_KEPT)
def language_flops(architecture: Architecture, execution: Execution) -> int:
    """Count the FLOPs of the language model for what ran of it."""
    return sum(operator.flops for operator in prefill(architecture, execution, COUNTED))


def added_flops(methods: Sequence[Method], size: PromptSize, *, switches: bool = True) -> int:
    """Return the FLOPs of what methods in the decoder compute themselves for a prompt, of those that say it.

    Args:
        methods: In the decoder.
        size: What it reads of the prompt.
        switches: Whether methods that have switches count.
    """
    told = [m.flops for m in methods if hasattr(m, "flops") and (switches or not hasattr(m, "units"))]
    return sum(flops(size) if callable(flops) else flops for flops in told)


def opened_units(methods: Sequence[Method], plan: Plan) -> Units | None:
    """Return the units that are on under a plan, of the methods that count them."""
    counts = [method.units(plan) for method in methods if hasattr(method, "units")]
    return Units(*map(sum, zip(*counts, strict=True))) if counts else None
