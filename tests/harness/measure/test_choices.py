"""Numbers that only weights tell: which experts are chosen is assumed where it does not matter, or else refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.known_numbers import KnownNumbers
from adaptbench.harness.measure.passes import count_pass
from adaptbench.harness.measure.traced import trace
from torch import nn

ROWS, WIDTH = 6, 8


class Experts(nn.Module):
    """Sends each row to two of its experts, one after the other, as several models of transformers do."""

    def __init__(self, inner: list[int]) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, len(inner))
        self.experts = nn.ModuleDict({f"expert_{place}": nn.Linear(WIDTH, size) for place, size in enumerate(inner)})

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        chosen = self.router(rows).topk(2, dim=-1).indices
        mask = torch.nn.functional.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        total = rows.new_zeros(())
        for expert in mask.sum((-1, -2)).gt(0).nonzero():
            _, places = torch.where(mask[expert].squeeze(0))
            total = total + self.experts[f"expert_{expert[0]}"](rows[places]).sum()
        return total


def inputs() -> dict[str, torch.Tensor]:
    return {"rows": torch.empty(ROWS, WIDTH, device="meta")}


def test_experts_that_cost_the_same_may_be_chosen_in_any_way() -> None:
    module = Experts([16] * 4).to("meta")
    expected = 2 * ROWS * WIDTH * (4 + 2 * 16)
    assert count_pass(module, inputs()).value == expected
    assert sum(one.flops for one in trace(module, inputs(), {"": "prefill"}).whole("prefill")) == expected


@pytest.mark.parametrize("count", [count_pass, lambda module, given: trace(module, given, {"": "prefill"})])
def test_experts_of_which_some_cost_less_are_refused(count: Any) -> None:
    with pytest.raises(UserError, match="depends on which experts are chosen"):
        count(Experts([16, 16, 16, 1]).to("meta"), inputs())


def test_what_follows_from_weights_is_unknown() -> None:
    class Reads(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows[: int(rows.sum())]

    with pytest.raises(UserError, match="depends on numbers that follow from weights"):
        count_pass(Reads(), inputs())


def test_what_is_made_like_an_unknown_tensor_is_known() -> None:
    with KnownNumbers():
        unknown = torch.empty(2, 3, device="meta")
        made = torch.full_like(unknown, 7.0) + unknown.new_ones(2, 3) + torch.zeros_like(unknown)
        assert made.max().item() == 8
