"""Which family of models of images and text a checkpoint belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .family import Family
    from .multimodal_checkpoint import Checkpoint


def family_of(loaded: Checkpoint, path: str) -> Family:
    """Return how a checkpoint sees.

    Args:
        loaded: Of a model type whose decoder can be steered.
        path: Where it comes from, for messages.
    """
    kind = loaded.model.config.model_type
    if kind == "llava_next":
        from .family_llava_next import LlavaNext

        return LlavaNext(loaded)
    if kind == "internvl":
        from .family_internvl import InternVL

        return InternVL(loaded)
    if kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        from .family_qwen_vl import QwenVL

        return QwenVL(loaded)
    from .family_llava import Llava

    return Llava(loaded, path)
