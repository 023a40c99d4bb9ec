"""The shipped ViT: trained on the base scripts of glyphs by the recipe in `train_vit_glyphs`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_vision import HFVisionEncoder
from .with_weights import with_weights

WEIGHTS = Path(__file__).parent / "weights" / "vit-glyphs"


@with_weights(HFVisionEncoder, WEIGHTS)
def vit_glyphs(device: str = "cpu") -> HFVisionEncoder:
    """Load the model; its vector is the mean of the patch tokens, as it was trained."""
    return HFVisionEncoder(str(WEIGHTS), pooling="mean", device=device)
