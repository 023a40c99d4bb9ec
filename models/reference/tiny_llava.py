"""The shipped LLaVA: trained on the world ``shapes`` by the recipe in `train_tiny_llava`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_multimodal import HFMultimodal
from ..adaptive.shipped import SHIPPED
from .with_weights import with_weights

WEIGHTS = Path(__file__).parent / "weights" / "tiny-llava"


@with_weights(HFMultimodal, WEIGHTS)
def tiny_llava(device: str = "cpu", dtype: str = "float32") -> HFMultimodal:
    """Load the model: 3 million parameters, 64 visual tokens, ten decoder layers; AdaLLaVA's schedulers ship for it.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFMultimodal(str(WEIGHTS), device=device, dtype=dtype)


tiny_llava.checkpoints = SHIPPED
