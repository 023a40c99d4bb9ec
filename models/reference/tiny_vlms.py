"""The shipped Qwen2.5-VL: trained on the world ``shapes`` by the recipe in `train_tiny_vlm`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_multimodal import HFQwenVL
from .with_weights import with_weights

QWEN_VL = Path(__file__).parent / "weights" / "tiny-qwen-vl"


@with_weights(HFQwenVL, QWEN_VL)
def tiny_qwen_vl(device: str = "cpu", dtype: str = "float32") -> HFQwenVL:
    """Load the model: 2.7 million parameters, ten decoder layers; 64 visual tokens in an image of ``shapes``.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFQwenVL(str(QWEN_VL), device=device, dtype=dtype)
