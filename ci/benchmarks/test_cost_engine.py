"""The cost engine against a plain trace of the whole model: FLOPs of Llama-2-7B and of a table of prompt lengths."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest


@pytest.mark.parametrize("lengths", [1, 100])
def test_flops_of_a_7b(lengths: int, side_by_side: Any, report: Any) -> None:
    from adaptbench.adapters.transformers_meta import card
    from adaptbench.harness.measure.counting import Counter
    from adaptbench.harness.measure.flops import count_flops

    path = str(resources.files("adaptbench.models") / "architectures" / "llama-2-7b.json")

    def ours() -> int:
        counter = Counter(card(path))
        counts = [counter.count("prefill", n).value for n in range(647, 647 + lengths)]
        return counts[0]

    def theirs() -> int:
        part = card(path).parts()["prefill"]
        return count_flops(part.module, part.inputs(647)).value

    times = side_by_side(ours, theirs, rounds=3)
    assert times.our_result == times.their_result == 8_599_422_631_936
    ratio = times.ratio(scale=lengths)
    many = f"{lengths} prompt lengths, each traced" if lengths > 1 else "1 prompt length"
    report(
        f"FLOPs of Llama-2-7B on meta, {many}",
        f"{min(times.ours):.2f} s",
        f"{lengths * min(times.theirs):.1f} s",
        f"{ratio:.1f}",
    )
    assert ratio > 1
