"""The shipped masked language model: a BERT trained on the texts of a small world by `train_tiny_mlm`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_masked import HFMaskedLM
from ..finetuning.shipped import shipped
from .with_weights import with_weights

WEIGHTS = Path(__file__).parent / "weights" / "tiny-mlm"


@with_weights(HFMaskedLM, WEIGHTS)
def tiny_mlm(device: str = "cpu", dtype: str = "float32") -> HFMaskedLM:
    """Load the model: 0.3 million parameters, three layers, 64 places.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFMaskedLM(str(WEIGHTS), device=device, dtype=dtype)


tiny_mlm.checkpoints = shipped("tiny-mlm")
