"""The shapes of the towers of models without a closed form: what prices of selectors follow from.

Wang et al. 2024 (arXiv 2409.12191), section 2.1; Bai et al. 2025 (arXiv 2502.13923), section 2.1; Chen et al. 2024
(arXiv 2404.16821), section 3.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..harness.measure.architecture import read_architecture
from ..harness.transformer import Linear, Stack, Vision

_AS_VIT = {"model_type": "vit", "architectures": None}
"""A tower of InternVL has the shape of a ViT."""
_AS_LLAVA = {"model_type": "llava", "architectures": None}
"""A view of LLaVA-NeXT is an image of LLaVA-1.5."""


def tower_shape(config: Any) -> tuple[Vision, tuple[Linear, ...]] | None:
    """Return a tower, and the layers from its features to the language model; ``None`` for other model types.

    Of a Qwen-VL the merger belongs to the tower, and an image's patches are not known before there is one: 0.

    Args:
        config: transformers' config of the whole model.
    """
    if config.model_type == "llava_next":
        of_view: Any = read_architecture({**config.to_dict(), **_AS_LLAVA})
        return of_view.vision, of_view.projector
    read = {"qwen2_vl": _qwen_vl, "qwen2_5_vl": _qwen_vl, "qwen3_vl": _qwen_vl, "internvl": _internvl}.get(
        config.model_type
    )
    return read and read(config)


def is_windowed(config: Any) -> bool:
    """Whether blocks of a Qwen-VL's tower attend within windows."""
    return bool(config.model_type == "qwen2_5_vl_vision")


def _qwen_vl(config: Any) -> tuple[Vision, tuple[Linear, ...]]:
    own, windows = config.vision_config, tuple[int, ...]()
    if is_windowed(own):
        size = (own.window_size // own.patch_size) ** 2
        windows = tuple(size * (block not in own.fullatt_block_indexes) for block in range(own.depth))
    if config.model_type == "qwen2_vl":  # its `hidden_size` is the language model's
        hidden, ffn = own.embed_dim, int(own.embed_dim * own.mlp_ratio)
    else:
        hidden, ffn = own.hidden_size, own.intermediate_size
    stack = Stack(
        own.depth, hidden, own.num_heads, own.num_heads, hidden // own.num_heads, ffn,
        gated=is_windowed(own), rotary=True, windows=windows if any(windows) else (),
    )  # fmt: skip
    inputs = own.in_channels * own.temporal_patch_size * own.patch_size**2
    return Vision(stack, 0, 0, inputs, merged=own.spatial_merge_size**2, fused=True), ()


def _internvl(config: Any) -> tuple[Vision, tuple[Linear, ...]]:
    vision: Any = read_architecture({**config.vision_config.to_dict(), **_AS_VIT}).vision
    merged, hidden = int(round(1 / config.downsample_ratio) ** 2), config.text_config.hidden_size
    projector = Linear("linear_1", vision.stack.hidden * merged, hidden), Linear("linear_2", hidden, hidden)
    return replace(vision, merged=merged), projector
