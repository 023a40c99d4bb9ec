"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: images of any size, four patches a token, at places in the image (M-RoPE).

Wang et al. 2024 (arXiv 2409.12191), section 2.1; Bai et al. 2025 (arXiv 2502.13923), section 2.1: all but a few blocks
of the tower attend within windows, for which it reorders the patches. Qwen3-VL has no windows; what some blocks of its
tower make of a token is added to it in the first blocks of the decoder (DeepStack, Meng et al. 2024, arXiv 2406.04334),
and goes with it where it is dropped. What is said here of tokens is in raster order.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ..harness.errors import UserError
from ..harness.execution import Execution
from ..harness.measure.architecture import read_architecture
from ..harness.transformer import Architecture
from .family import Processed, Seen, Size, choose, each
from .placement import device_of
from .tower_memory import Pass
from .tower_shapes import is_windowed, tower_shape
from .tower_signals import attended, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from PIL.Image import Image

    from .multimodal_checkpoint import Checkpoint
    from .tower_memory import Kept
    from .tower_signals import Heads, Query


class QwenVL(Processed):
    """A Qwen2-VL, Qwen2.5-VL or Qwen3-VL; it is shown images, no videos."""

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__(loaded)
        config = self._model.config
        self.tower = self._model.model.visual
        kind = "qwen3" if config.model_type == "qwen3_vl" else "qwen2"
        language = read_architecture({**config.text_config.to_dict(), "model_type": kind}).language
        vision, _ = tower_shape(config)  # type: ignore[misc] # it is one of them
        self._vision = vision
        self.architecture = Architecture(config.model_type, vision, (), language)

    def see(self, inputs: Mapping[str, torch.Tensor], selector: Any, questions: Sequence[str] = ()) -> list[Seen]:
        """What the language model is given of images; what is kept stays at its place."""
        grids = inputs["image_grid_thw"]
        patches = torch.split(inputs["pixel_values"], grids.prod(dim=1).tolist())
        asked = each(questions, len(patches))
        return [self._see(*image, selector) for image in zip(patches, grids, asked, strict=True)]

    def look(self, image: Image, selector: Any, questions: Sequence[str], kept: Kept | None) -> Seen:
        """What the language model is given of an image."""
        size, times = self.size(image), self._model.config.vision_config.spatial_merge_size
        grid = torch.tensor([1, size.rows * times, size.columns * times], device=device_of(self._model))
        return self._see(lambda: self.inputs([image])["pixel_values"], grid, questions, selector, kept)

    def tower_work(self, image: Image, selector: Any) -> Execution | None:  # noqa: ARG002 - none acts inside it
        """All of the tower, on the patches of an image."""
        return Execution.full(self._vision.stack, self.size(image).tokens * self._vision.merged)

    def seeing(self, image: Image) -> Architecture:
        """The architecture with the visual tokens and patches of an image."""
        tokens = self.size(image).tokens
        return replace(
            self.architecture, vision=replace(self._vision, patches=tokens * self._vision.merged), visual_tokens=tokens
        )

    def _see(
        self,
        patches: torch.Tensor | Callable[[], torch.Tensor],
        grid: torch.Tensor,
        questions: Sequence[str],
        selector: Any,
        kept: Kept | None = None,
    ) -> Seen:
        _, rows, columns = (grid // self._model.config.vision_config.spatial_merge_size).tolist()
        if selector is None:
            made = Pass(lambda: _features(self._model, patches, grid), kept)
            features, left = made["features"], torch.arange(rows * columns, device=grid.device)
        else:
            signals = QwenSignals(self._model, patches, grid, questions, kept=kept)
            made, (features, left) = signals.made, choose(selector, signals)
        places = torch.stack([torch.zeros_like(left), left // columns, left % columns], dim=1)
        deep = made["deep"][left] if _is_deep(self._model) else None
        return Seen(features, places, max(rows, columns), deep)

    def _sized_by(self, size: tuple[int, int]) -> Size:
        grid = self._blank(size)["image_grid_thw"][0]
        _, rows, columns = (grid // self._model.config.vision_config.spatial_merge_size).tolist()
        return Size(rows * columns, max(rows, columns), rows, columns)

    def _given(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}


class QwenSignals:
    """A pass of the tower over one image.

    Args:
        model: transformers' Qwen2-VL, Qwen2.5-VL or Qwen3-VL.
        patches: [patches, numbers], or what makes them.
        grid: int64 [3], of the patches.
        questions: The one on it, if it is asked for.
        kept: Parts of the pass that are known already.
    """

    def __init__(
        self,
        model: Any,
        patches: torch.Tensor | Callable[[], torch.Tensor],
        grid: torch.Tensor,
        questions: Sequence[str] = (),
        *,
        kept: Kept | None = None,
    ) -> None:
        self.questions = questions
        config, self._tower, self._group = model.config.vision_config, model.model.visual, _merged(model)
        _, rows, columns = (grid // config.spatial_merge_size).tolist()
        self.grid = rows, columns
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._order = torch.arange(rows * columns, device=grid.device)
        if is_windowed(config):
            side = config.window_size // config.spatial_merge_size // config.patch_size
            row, column = self._order // columns, self._order % columns
            window = row // side * math.ceil(columns / side) + column // side
            self._order = window.argsort(stable=True)

        def run() -> dict[Hashable, torch.Tensor]:
            with noted([block.attn for block in model.model.visual.blocks]) as given:
                made = _features(model, patches, grid)
            cos, sin = given[0].named["position_embeddings"]
            return {**made, "cos": cos, "sin": sin, **{at: one.hidden for at, one in enumerate(given)}}

        self.made = Pass(run, kept, usual=("features", "deep") if _is_deep(model) else ("features",))
        """What the tower makes: the features, ``deep`` as of a `Seen`, and what its blocks are given."""

    @cached_property
    def features(self) -> torch.Tensor:
        """[1, N, d]: what the language model would be given of all tokens."""
        return self.made["features"][None]

    @property
    def projected(self) -> torch.Tensor:
        """[1, N, d]: the features, which the merger made for the language model."""
        return self.features

    @property
    def cls(self) -> torch.Tensor:
        """There is none.

        Raises:
            UserError: Always.
        """
        raise UserError("its tower has no CLS token", todo="leave it out")

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [1, N, width] in a block, before they are rotated, a mean over the patches of a token; float32."""
        return self._of_tokens(self._queries_and_keys(layer)[1].flatten(1))

    def heads(self, layer: int) -> int:
        """Attention heads of a block."""
        return int(self._tower.blocks[layer].attn.num_heads)

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:  # noqa: ARG002 - there is no CLS token
        """The probability with which each token is attended to in a block, a mean over its patches, float32 [1, N]."""
        cos, sin = (self.made[name][:, None].float() for name in ("cos", "sin"))
        queries, keys = (
            (part * cos + _half_turned(part) * sin).flatten(1)[None] for part in self._queries_and_keys(layer)
        )
        return self._of_tokens(attended(queries, keys, self.heads(layer), heads)[0])

    def _queries_and_keys(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Each [patches, heads, head width], in the tower's order."""
        if layer not in self._known:
            attention, hidden = self._tower.blocks[layer].attn, self.made[layer % len(self._tower.blocks)]
            query, key, _ = attention.qkv(hidden).float().view(len(hidden), 3, attention.num_heads, -1).unbind(1)
            self._known[layer] = query, key
        return self._known[layer]

    def _of_tokens(self, values: torch.Tensor) -> torch.Tensor:
        """Values [patches, ...] in the tower's order -> their means [1, N, ...] in raster order."""
        means = values.view(-1, self._group, *values.shape[1:]).mean(dim=1)
        raster: torch.Tensor = means[self._order.argsort()][None]
        return raster


def _features(
    model: Any, patches: torch.Tensor | Callable[[], torch.Tensor], grid: torch.Tensor
) -> dict[Hashable, torch.Tensor]:
    """What the language model is given of all of an image: features [N, d], and of a Qwen3-VL ``deep`` [N, L, d]."""
    found = model.get_image_features(patches() if callable(patches) else patches, grid[None], return_dict=True)
    made: dict[Hashable, torch.Tensor] = {"features": found.pooler_output[0]}
    if _is_deep(model):
        made["deep"] = torch.stack([every[0] for every in found.deepstack_features], dim=1)
    return made


def _is_deep(model: Any) -> bool:
    """Whether blocks of the decoder are given features of their own."""
    return bool(getattr(model.config.vision_config, "deepstack_visual_indexes", ()))


def _half_turned(states: torch.Tensor) -> torch.Tensor:
    left, right = states.chunk(2, dim=-1)
    return torch.cat((-right, left), dim=-1)


def _merged(model: Any) -> int:
    """Patches of a token."""
    return int(model.config.vision_config.spatial_merge_size) ** 2
