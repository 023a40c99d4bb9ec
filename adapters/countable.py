"""What is changed about a model before its FLOPs are counted on ``meta``: only what costs none and cannot run there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_BY_VALUES = ("dynamic", "longrope")
"""Kinds of rotary positions that look at how long the prompt is; a tensor on ``meta`` has no values to look at."""
_KEPT = ("rope_theta", "partial_rotary_factor")


def countable(config: Any) -> Any:
    """Change a transformers config, and return it: plain rotary positions, no tied embeddings, a word for videos.

    A tied head multiplies like any other; LLaVA ties it by a name that not every language model has.
    """
    for part in (config, *(getattr(config, name, None) for name in ("text_config", "vision_config"))):
        if getattr(part, "tie_word_embeddings", False):
            part.tie_word_embeddings = False
        if getattr(part, "video_token_index", 0) is None:
            part.video_token_index = 0
        rope = getattr(part, "rope_parameters", None)
        if isinstance(rope, dict):
            part.rope_parameters = _plain(rope)
    return config


def _plain(rope: dict[str, Any]) -> dict[str, Any]:
    """Rotary positions, perhaps by kind of layer, without what depends on the prompt's length."""
    if rope.get("rope_type") in _BY_VALUES:
        return {"rope_type": "default", **{name: rope[name] for name in _KEPT if name in rope}}
    return {name: _plain(value) if isinstance(value, dict) else value for name, value in rope.items()}


def projected(tower: torch.nn.Module, projection: torch.nn.Module) -> torch.nn.Module:
    """Return a tower of texts whose pooled output is projected, as a CLIP does outside of it."""
    import torch

    class Projected(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower, self.projection = tower, projection

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            vector: torch.Tensor = self.projection(self.tower(input_ids=input_ids).pooler_output)
            return vector

    return Projected()
