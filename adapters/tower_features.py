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
    return of_patches(
        llava, llava.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    )


def of_patches(llava: Any, states: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the same of the hidden states [images, tokens, width] of each block of the tower."""
    import torch

    layers = llava.config.vision_feature_layer
    chosen = [states[index] for index in ([layers] if isinstance(layers, int) else layers)]
    return torch.cat(chosen, dim=-1)[:, tokens_before_patches(llava.config) :]


def tokens_before_patches(config: Any) -> int:
    """Return how many of the tower's tokens the projector is not given: its CLS token, or none."""
    return int(config.vision_feature_select_strategy == "default")
