"""Several accelerators: what each runs, keeps and sends, against numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import DEFAULT
from adaptbench.harness.measure.parallel import Cards
from adaptbench.harness.measure.roofline import Accelerator
from adaptbench.harness.measure.work import Work
from adaptbench.harness.plugins import load_plugins

REGISTRY = load_plugins().registry
CONFIG = {"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96,
          "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 100}  # fmt: skip
MODEL = read_architecture(CONFIG)
STACK = MODEL.language.stack
TOKENS = 10
WORK = Work.whole(MODEL, text_tokens=TOKENS)


def share(name: str, cards: Cards) -> tuple[int, int, int, int]:
    """FLOPs, weights, read and written of an operator of the first block on one card."""
    operator = next(o for o in WORK.operators(DEFAULT) if o.name == name and o.module.startswith("layers.0"))
    own = cards.share(operator, STACK)
    return own.flops, own.weights, own.read, own.written


def test_a_card_has_a_share_of_heads_and_channels() -> None:
    two = Cards(tensor=2)
    assert share("q", two) == (2 * 10 * 64 * 32, 64 * 32, 10 * 64, 10 * 32)
    assert share("k", two) == (2 * 10 * 64 * 8, 64 * 8, 10 * 64, 10 * 8)
    assert share("out", two) == (2 * 10 * 32 * 64, 32 * 64, 10 * 32, 10 * 64)
    assert share("gate", two) == (2 * 10 * 64 * 48, 64 * 48, 10 * 64, 10 * 48)
    assert share("down", two) == (2 * 10 * 48 * 64, 48 * 64, 10 * 48, 10 * 64)
    assert share("norm_1", two) == share("norm_1", Cards())
    assert share("k", Cards(tensor=8))[1] == 64 * 8  # eight cards, two heads of keys: one each


def test_a_block_reduces_twice_and_a_stage_sends_once() -> None:
    operators, states, width = [*WORK.operators(DEFAULT)], WORK.states("prefill"), TOKENS * 64
    assert Cards().sent(operators, states) == 0
    assert Cards(tensor=4).sent(operators, states) == 4 * 2 * width * 2 * 3 / 4
    assert Cards(pipeline=4).sent(operators, states) == 3 * width
    assert Cards(tensor=4, pipeline=2).sent(operators, states) == 12 * width + width
    assert Cards(tensor=2).sent(WORK.decode(DEFAULT), WORK.states("token")) == 4 * 2 * 64


@pytest.mark.parametrize(("layers", "stages", "starts"), [(4, 2, [2]), (5, 2, [3]), (7, 3, [3, 5]), (3, 1, [])])
def test_stages_of_blocks(layers: int, stages: int, starts: list[int]) -> None:
    assert Cards(pipeline=stages).boundaries(layers) == starts


def test_memory_of_the_fullest_card() -> None:
    def memory(cards: Cards) -> int:
        return WORK.memory(DEFAULT, 2, 1, cards).total

    attention, mlp, head, kept = 2 * 64 * 64 + 2 * 64 * 16, 3 * 64 * 96, 64 * 100, 2 * 10 * 16
    width = 10 * 64
    block = 4 * width + 2 * width + 2 * width  # norms and additions, out and down, q and attention's result
    inside = 10 * (64 + 16) + 3 * 10 * 96  # rotated queries and keys; gate, up, activation
    assert memory(Cards()) == 2 * (4 * (attention + mlp + kept) + head + block + inside)
    assert memory(Cards(pipeline=2)) == 2 * (2 * (attention + mlp + kept) + head + block + inside)
    halved = block - width + inside // 2
    assert memory(Cards(tensor=2)) == 2 * (2 * (attention + mlp + kept) + head // 2 + halved)


def test_time_is_that_of_a_share_and_of_what_is_sent() -> None:
    slow = Accelerator(name="slow", bandwidth=1e30, peak={"fp16": 1e30}, link=1e9)
    costing = Costing(REGISTRY, "llama-2-7b")

    def seconds(**cards: int) -> dict[str, Any]:
        return dict(
            costing.cost(CostRequest(100, accelerators=(slow,), cards=Cards(**cards), batch=3)).predicted["slow"]
        )

    reduced = 32 * 2 * 100 * 4096 * 3 * 2 * (2 * 7 / 8)  # blocks, all-reduces, numbers, batch, bytes, share of a ring
    assert seconds(tensor=8)["prefill"] == pytest.approx(reduced / 0.5e9)  # a link's one direction
    assert seconds(tensor=8)["token"] == pytest.approx(reduced / 100 / 0.5e9)
    assert seconds(pipeline=4)["prefill"] == pytest.approx(3 * 100 * 4096 * 3 * 2 / 0.5e9)


@pytest.mark.parametrize(
    ("cards", "spec", "said"),
    [
        ({"tensor": 3}, "llama-2-7b", "32 heads cannot be split evenly over 3 cards"),
        ({"pipeline": 33}, "llama-2-7b", "32 blocks cannot make 33 stages"),
        ({"tensor": 0}, "llama-2-7b", "cannot split over 0 cards"),
        ({"pipeline": 2**40}, "llama-2-7b", "give 1 to 1024"),
        ({"tensor": 2}, "vit-b-16", "no language model to split"),
        ({"tensor": 2}, "llama-2-7b", "says nothing of its link"),
    ],
)
def test_what_cannot_be_split(cards: dict[str, int], spec: str, said: str) -> None:
    lone = Accelerator(name="lone", bandwidth=1e12, peak={"fp16": 1e14})
    with pytest.raises(UserError, match=said):
        Costing(REGISTRY, spec).cost(CostRequest(9, accelerators=(lone,), cards=Cards(**cards)))
