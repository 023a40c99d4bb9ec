"""The shipped LLaVA: trained on the world ``shapes`` by the recipe in `train_tiny_llava`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...adapters.transformers_multimodal import HFMultimodal

WEIGHTS = Path(__file__).parent / "weights" / "tiny-llava"


def tiny_llava(device: str = "cpu", dtype: str = "float32") -> HFMultimodal:
    """Load the model: 3 million parameters, 64 visual tokens, ten decoder layers.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFMultimodal(str(WEIGHTS), device=device, dtype=dtype)


def _fingerprint(**_: Any) -> str:
    return HFMultimodal.fingerprint(str(WEIGHTS))


tiny_llava.fingerprint = _fingerprint  # type: ignore[attr-defined]
