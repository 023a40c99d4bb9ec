"""What a pass costs at any length, from a few passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.counting import Counter
from torch import nn


class Cubic(nn.Module):
    """Costs 2 n**3, and has positions for 100 tokens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > 100:
            raise ValueError("there are no further positions")
        square = x[:, :, None].expand(-1, -1, x.shape[-1])
        return square @ square


def counter(longest: int) -> Counter:
    part = SimpleNamespace(
        module=Cubic(), phases={"": "prefill"}, fixed=False, inputs=lambda n: {"x": torch.empty(1, n, device="meta")}
    )
    blueprint: Any = SimpleNamespace(source="cubic", recorded={}, chunks=[], longest=longest, parts=lambda: [part])
    return Counter(blueprint)


@pytest.mark.parametrize("longest", [100, 2**31])
def test_each_length_is_traced_where_no_polynomial_tells_the_cost(longest: int) -> None:
    assert [counter(longest).count("prefill", n).value for n in (7, 40)] == [2 * 7**3, 2 * 40**3]


def test_a_length_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(UserError, match="no further positions"):
        counter(2**31).count("prefill", 101)
