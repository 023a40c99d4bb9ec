"""Windows over the text bound keys, values and what a windowed kernel computes; numbers by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from adaptbench.harness.costing import Cost, Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED, DEFAULT, LLM_VIEWER
from adaptbench.harness.measure.roofline import Accelerator
from adaptbench.harness.measure.work import Work
from adaptbench.harness.plugins import load_plugins
from hypothesis import given
from hypothesis import strategies as st

REGISTRY = load_plugins().registry
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "head_dim": 8, "vocab_size": 10}


def at_32k(spec: str, **options: Any) -> Cost:
    return Costing(REGISTRY, spec).cost(CostRequest(32_768, **options))


def windows(kind: str, layers: int, **config: Any) -> tuple[int, ...]:
    named = {"model_type": kind, "num_hidden_layers": layers, **TINY, **config}
    return read_architecture(named).language.stack.windows


def test_mistral_keeps_a_window() -> None:
    cost = at_32k("mistral-7b", convention=COUNTED)
    assert cost.memory.cached == 2**29 == 32 * 4096 * 2 * 8 * 128 * 2  # layers, window, k and v, heads, width, bytes
    linear = 32 * 2 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 2 * 4096 * 32000
    assert cost.decode == linear + 32 * 4 * 4096 * 4096  # 16.39 G, and 31.6 G if all keys were read
    assert round(at_32k("mistral-7b").decode / 1e9, 2) == 16.39


def test_gemma_2_keeps_a_window_in_every_other_layer() -> None:
    cost = at_32k("gemma-2-9b")
    assert cost.memory.cached == 21 * (32_768 + 4096) * 2 * 8 * 256 * 2
    assert round(cost.memory.cached / 2**30, 2) == 5.91
    assert cost.work.assumed == ("32,768 tokens are beyond the 8,192 positions that the config states",)


def test_a_prefill_is_what_the_stock_kernel_executes_and_a_windowed_one_beside_it() -> None:
    cost = at_32k("mistral-7b", convention=COUNTED)
    linear = 32 * 2 * 32_768 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert cost.flops["prefill"] == linear + 32 * 4 * 4096 * 32_768**2
    inside = 4096 * 4097 // 2 + (32_768 - 4096) * 4096
    assert cost.windowed == linear + 32 * 4 * 4096 * inside
    assert Costing(REGISTRY, "mistral-7b").cost(CostRequest(4096)).windowed is None
    assert at_32k("llama-2-7b").windowed is None


def test_the_roofline_takes_the_windowed_kernel() -> None:
    slow = Accelerator(name="slow", bandwidth=1e30, peak={"fp16": 1e12})
    cost = at_32k("mistral-7b", convention=COUNTED, accelerators=(slow,))
    assert cost.predicted["slow"]["prefill"] == pytest.approx((cost.windowed + cost.flops["head"]) / 1e12)


def test_the_analyser_knows_no_windows() -> None:
    cost = at_32k("mistral-7b", convention=LLM_VIEWER)
    assert (cost.memory.cached, cost.windowed) == (2**32, None)


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("mistral", {}, (4096,) * 4),
        ("mistral", {"sliding_window": 8}, (8,) * 4),
        ("mistral", {"sliding_window": None}, ()),
        ("gemma2", {"sliding_window": 8}, (8, 0, 8, 0)),
        ("gemma2", {"sliding_window": 8, "layer_types": ["full_attention"] * 3 + ["sliding_attention"]}, (0, 0, 0, 8)),
        ("gemma", {"sliding_window": 8}, ()),
        ("llama", {"sliding_window": 8}, ()),
        ("qwen2", {"sliding_window": 8}, ()),
        ("qwen2", {"sliding_window": 8, "use_sliding_window": True}, ()),  # the first 28 layers see everything
        ("qwen3", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 3}, (0, 0, 0, 8)),
        ("qwen3", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 0}, (8,) * 4),
    ],
)
def test_where_windows_are(kind: str, config: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert windows(kind, 4, **config) == expected


@pytest.mark.parametrize("types", [3, ["full_attention"]])
def test_types_of_layers_that_make_no_sense(types: Any) -> None:
    with pytest.raises(UserError, match="layer_types is not a list of 4 entries"):
        windows("gemma2", 4, layer_types=types)


@given(st.integers(1, 60), st.integers(1, 20), st.booleans())
def test_pairs_are_those_of_the_mask(tokens: int, window: int, chunked: bool) -> None:
    stack = replace(read_architecture({"model_type": "llama", **TINY}).language.stack, chunked=chunked)
    stack = replace(stack, windows=(window,) * stack.layers)
    pairs = [(q, k) for q in range(tokens) for k in range(q + 1)]
    seen = [q // window == k // window if chunked else q - k < window for q, k in pairs]
    assert stack.pairs(0, tokens) == sum(seen)
    assert replace(stack, windows=()).pairs(0, tokens) == len(pairs)


def test_an_encoder_writes_nothing_and_keeps_nothing() -> None:
    cost = Costing(REGISTRY, "roberta-large").cost(CostRequest(128))
    assert (cost.decode, cost.memory.cached) == (0, 0)


def test_a_scheduler_keeps_all_weights_and_a_cut_model_does_not() -> None:
    def memory(spec: str, budget: float | None = None) -> Any:
        return Costing(REGISTRY, spec).cost(CostRequest(69), budget).memory

    whole, cut = memory("llava-1.5-7b"), memory("llava-1.5-7b+layers(keep=16)")
    scheduled = memory("llava-1.5-7b+adallava-l", 0.6)
    assert scheduled.weights == memory("llava-1.5-7b+adallava-h", 0.6).weights == whole.weights
    block = 2 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert whole.weights - cut.weights == 16 * block
    kept = math.floor(0.6 * 32)
    assert scheduled.cached == 646 * kept * 2 * 2 * 4096  # the latency token is the 646th
    assert whole.total == sum(whole)


def test_dropped_tokens_and_windows_together() -> None:
    config = {"model_type": "mistral", "num_hidden_layers": 2, "sliding_window": 8, **TINY}
    work = Work.whole(read_architecture(config), text_tokens=20)
    work = work.with_execution(work.execution.drop_tokens(15, before=1))
    attended = [o.read - 16 for o in work.decode(DEFAULT) if o.name == "attention"]
    assert attended == [8 * 2 * 64, 6 * 2 * 64]  # 8 kv heads of width 8: the window, and five tokens with the new one
    assert work.memory(DEFAULT, 2).cached == 2 * (8 + 5) * 2 * 64
