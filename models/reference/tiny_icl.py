"""The shipped in-context learner: a Llama trained on examples of one function at a time by `train_tiny_icl`."""

from __future__ import annotations

from pathlib import Path

from ...adapters.transformers_causal import HFCausalLM
from .with_weights import with_weights

WEIGHTS = Path(__file__).parent / "weights" / "tiny-icl"


@with_weights(HFCausalLM, WEIGHTS)
def tiny_icl(device: str = "cpu", dtype: str = "float32") -> HFCausalLM:
    """Load the model: 1.6 million parameters, six layers, a context of 512 tokens.

    Args:
        device: Where it runs.
        dtype: What it computes in.
    """
    return HFCausalLM(str(WEIGHTS), device=device, dtype=dtype)
