"""The shipped ViT: trained on the base scripts of glyphs by the recipe in `train_vit_glyphs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...adapters.transformers_vision import HFVisionEncoder

WEIGHTS = Path(__file__).parent / "weights" / "vit-glyphs"


def vit_glyphs(device: str = "cpu") -> HFVisionEncoder:
    """Load the model; its vector is the mean of the patch tokens, as it was trained."""
    return HFVisionEncoder(str(WEIGHTS), pooling="mean", device=device)


def _fingerprint(**_: Any) -> str:
    return HFVisionEncoder.fingerprint(str(WEIGHTS))


vit_glyphs.fingerprint = _fingerprint  # type: ignore[attr-defined]
