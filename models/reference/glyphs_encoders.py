"""Three small encoders of letters to adapt, which differ in how they were trained (`glyphs_encoder_recipe`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...adapters.transformers_vision import HFVisionEncoder
from ..finetuning.shipped import shipped
from .with_weights import with_weights

if TYPE_CHECKING:
    from collections.abc import Callable

_WEIGHTS = Path(__file__).parent / "weights"


def _encoder(name: str) -> Callable[..., HFVisionEncoder]:
    folder = _WEIGHTS / name

    @with_weights(HFVisionEncoder, folder)
    def load(device: str = "cpu") -> HFVisionEncoder:
        """Load the model; its vector is the mean of the patch tokens, as it was trained."""
        return HFVisionEncoder(str(folder), pooling="mean", device=device)

    load.checkpoints = shipped(name)
    loader: Callable[..., HFVisionEncoder] = load
    return loader


glyphs_supervised = _encoder("glyphs-supervised")
glyphs_contrastive = _encoder("glyphs-contrastive")
glyphs_random = _encoder("glyphs-random")
