"""What the prefills of a steered model of images and text cost; what many have in common is counted once."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..harness.execution import Execution, LayerWork, PromptSize
from ..harness.measure.closed_form import COUNTED, prefill, projector, vision
from ..harness.measure.work import Work
from ..harness.methods import Selector
from ..harness.prefill_cost import LanguageFlops, PrefillCost, Units
from . import live_adapters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ..harness.measure.work import Beside
    from ..harness.transformer import Architecture, Stack
    from .decoder import Blocks, Cache, Method, Plan
    from .family import Family

_KEPT = 4096
_NOTHING = Execution(())


@dataclass(frozen=True)
class PrefillCosts:
    """Tells what prefills cost.

    Attributes:
        family: Of the model.
        blocks: Of its decoder.
        methods: What steers it.
        live: Layers beside its weights.
        added: Tokens that methods put after each prompt.
        selector: Of visual tokens; ``None`` for all.
    """

    family: Family
    blocks: Blocks
    methods: Sequence[Method]
    live: Sequence[live_adapters.Target]
    added: int
    selector: Any = None

    def of(self, images: Sequence[Image], text: int, left: Sequence[int], cache: Cache, row: int) -> PrefillCost:
        """Return the cost of a prompt's prefill.

        Args:
            images: Of the prompt.
            text: Its tokens that are not visual.
            left: Visual tokens that the language model reads of each image.
            cache: As the prefill left it.
            row: The prompt's row in it.
        """
        blocks, architecture, visual = self.blocks, self.family.architecture, sum(left)
        language = functools.partial(language_flops, architecture)
        ran = cache.work(row, heads=blocks.heads, channels=blocks.channels)
        full = cache.whole(row, heads=blocks.heads, added=self.added)
        sizes = [self.family.size(image) for image in images]
        projected = visual if self.selector else sum(size.projected or size.tokens for size in sizes)
        given = text + sum(size.tokens for size in sizes)
        base = Execution(tuple(LayerWork(layer, given, blocks.heads) for layer in range(len(blocks.layers))))
        chosen = sum(self._choosing(image, count) for image, count in zip(images, left, strict=True))
        seen = sum(self.family.tower_flops(image, self.selector) for image in images)
        seen += chosen + projector_flops(architecture, projected)
        seen += self._beside(visual_tokens=projected, images=len(images)).vision
        seen += sum(self._beside(tower=self.family.tower_work(image, self.selector)).vision for image in images)
        stack = _stack(architecture)
        added = added_flops(self.methods, PromptSize(stack, text + self.added, visual))
        dropping = added_flops(self.methods, PromptSize(stack, text, visual), switches=False)
        spent = language(ran) + self._beside(blocks=ran).language + added
        shares = LanguageFlops(spent, language(full) + self._beside(blocks=full).language + dropping, language(base))
        units = opened_units(self.methods, cache.plans[row])
        return PrefillCost(text, visual, 0, seen + spent, shares, units, ran if self.methods else None, chosen + added)

    def _choosing(self, image: Image, left: int) -> int:
        """FLOPs of choosing the tokens that are left of an image, where the selector says them."""
        return self.selector.choosing(self.family.seeing(image), left) if isinstance(self.selector, Selector) else 0

    def _beside(
        self, *, tower: Execution | None = None, visual_tokens: int = 0, blocks: Execution = _NOTHING, images: int = 1
    ) -> Beside:
        """FLOPs of layers beside the weights, in the parts of the model that are named."""
        return live_adapters.beside(self.live, tower=tower, visual_tokens=visual_tokens, blocks=blocks, images=images)


@functools.lru_cache(_KEPT)
def _stack(architecture: Architecture) -> Stack:
    """The language model's blocks."""
    return Work.whole(replace(architecture, vision=None), text_tokens=1).language[0]


def vision_flops(config: Any, source: str) -> int:
    """Count the FLOPs of the tower for one image.

    Args:
        config: Of a transformers LLaVA.
        source: Where it comes from, for messages.
    """
    return _vision_flops(config.to_json_string(use_diff=False), source)


@functools.lru_cache(_KEPT)
def tower_flops(architecture: Architecture, execution: Execution) -> int:
    """Count the FLOPs of the tower for one image, for what ran of it."""
    return sum(operator.flops for operator in vision(architecture, execution, COUNTED))


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
