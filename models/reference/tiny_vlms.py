"""The shipped Qwen2.5-VL and InternVL: trained on the world ``shapes`` by the recipe in `train_tiny_vlm`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_multimodal import HFInternVL, HFQwenVL
from ..pruning.schedules_shipped import schedules
from .with_weights import with_weights

QWEN_VL, INTERNVL = (Path(__file__).parent / "weights" / name for name in ("tiny-qwen-vl", "tiny-internvl"))


@with_weights(HFQwenVL, QWEN_VL)
def tiny_qwen_vl(device: str = "cpu", dtype: str = "float32") -> HFQwenVL:
    """Load the model: 2.7 million parameters, ten decoder layers; 64 visual tokens in an image of ``shapes``.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFQwenVL(str(QWEN_VL), device=device, dtype=dtype)


tiny_qwen_vl.checkpoints = {"fitprune": schedules("tiny-qwen-vl")}


@with_weights(HFInternVL, INTERNVL)
def tiny_internvl(device: str = "cpu", dtype: str = "float32") -> HFInternVL:
    """Load the model: 2.6 million parameters, ten decoder layers; 64 visual tokens in an image of ``shapes``.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFInternVL(str(INTERNVL), device=device, dtype=dtype)


tiny_internvl.checkpoints = {"fitprune": schedules("tiny-internvl")}
