"""What the vision tower of a LLaVA gives its projector: the features of an image's patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def patch_features(llava: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the features [images, N, width] of all patches, as the projector is given them where none is left out.

    Args:
        llava: transformers' LLaVA.
        pixels: [images, 3, h, w].
    """
    import torch

    states = llava.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    chosen = [states[index] for index in feature_layers(llava.config)]
    return torch.cat(chosen, dim=-1)[:, tokens_before_patches(llava.config) :]


def feature_layers(config: Any) -> Sequence[int]:
    """Return which of the tower's hidden states features are made of; negative from the last one."""
    layers = config.vision_feature_layer
    return [layers] if isinstance(layers, int) else layers


def tokens_before_patches(config: Any) -> int:
    """Return how many of the tower's tokens the projector is not given: its CLS token, or none."""
    return int(config.vision_feature_select_strategy == "default")
