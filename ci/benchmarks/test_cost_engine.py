"""The cost engine against a plain fvcore trace of all of Llama 3.1 405B, at one prompt length and at a hundred."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from adaptbench.adapters.transformers_meta import Blueprint

TOKENS = 647
ATTENTION = 126 * 4 * 128 * 128 * TOKENS**2
"""FLOPs of the fused attention, which plain fvcore drops."""


@pytest.mark.parametrize(("lengths", "asked"), [(1, 6), (100, 100)])
def test_flops_of_a_405b(lengths: int, asked: float, side_by_side: Any, report: Any) -> None:
    from adaptbench.adapters.transformers_meta import card
    from adaptbench.harness.measure.counting import Counter

    path = str(resources.files("adaptbench.models") / "architectures" / "llama-3.1-405b.json")

    def ours() -> int:
        counter = Counter(card(path), afresh=True)
        counts = [counter.count("prefill", n).value for n in range(TOKENS, TOKENS + lengths)]
        return counts[0]

    times = side_by_side(ours, lambda: plain_fvcore(card(path)), rounds=3)
    assert times.our_result == times.their_result + ATTENTION
    ratio = times.ratio(scale=lengths)
    many = f"{lengths} prompt lengths, each traced" if lengths > 1 else "1 prompt length"
    report(
        f"FLOPs of Llama 3.1 405B on meta, {many}",
        f"{min(times.ours):.2f} s",
        f"{lengths * min(times.theirs):.1f} s",
        f"{ratio:.1f}",
    )
    assert ratio > asked


def plain_fvcore(blueprint: Blueprint) -> int:
    """Two FLOPs for each multiply-accumulate that fvcore alone sees in all layers."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    model = blueprint.model.base_model
    inputs = {"input_ids": torch.ones(1, TOKENS, dtype=torch.long, device="meta")}

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, *values: torch.Tensor) -> Any:
            return self.inner(**dict(zip(inputs, values, strict=True))).last_hidden_state

    analysis = FlopCountAnalysis(Positional(), tuple(inputs.values()))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return 2 * analysis.total()
