"""The closed form: its conventions against independent arithmetic, and the published efficiency table."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import (
    COUNTED,
    DEFAULT,
    LLM_VIEWER,
    Convention,
    Operator,
    decode_step,
    prefill,
    projector,
    vision,
)
from adaptbench.harness.measure.roofline import find_accelerator, predict
from adaptbench.harness.transformer import Architecture  # noqa: TC002 - hypothesis reads annotations
from hypothesis import given
from hypothesis import strategies as st


def llama(
    layers: int, hidden: int, ffn: int, heads: int, kv_heads: int | None = None, vocab: int = 32000
) -> Architecture:
    config = {
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads or heads, "vocab_size": vocab,
    }  # fmt: skip
    return read_architecture(config)


SEVEN, THIRTEEN = llama(32, 4096, 11008, 32), llama(40, 5120, 13824, 40)
GROUPED = llama(2, 64, 96, 8, kv_heads=2, vocab=100)


def full(model: Architecture, tokens: int) -> Execution:
    return Execution.full(model.language.stack, tokens)


def flops(model: Architecture, execution: Execution, convention: Convention, **options: int) -> int:
    return sum(o.flops for o in prefill(model, execution, convention, **options))


@given(st.integers(1, 4000))
def test_the_analysers_closed_form_of_a_7b(n: int) -> None:
    by_hand = 32 * (n * 404750336 + 16384 * n**2 + 160 * n**2 + 18 * 4096 * n) + 131072000
    assert flops(SEVEN, full(SEVEN, n), LLM_VIEWER) == by_hand


def test_the_counted_prefill_of_a_7b_is_what_was_measured_on_the_real_module() -> None:
    # fvcore times two on LLaVA-1.5-7B's language model at 647 tokens gave 8.5994e12.
    assert flops(SEVEN, full(SEVEN, 647), COUNTED, head_positions=0) == pytest.approx(8.5994e12, rel=1e-5)


@given(st.integers(1, 300), st.sampled_from([SEVEN, GROUPED]))
def test_conventions_differ_by_what_they_say(n: int, model: Architecture) -> None:
    stack = model.language.stack
    every = replace(COUNTED, name="x", elementwise=True)
    extra = flops(model, full(model, n), every) - flops(model, full(model, n), COUNTED)
    norms = 2 * 4 * n * stack.hidden
    softmax = 5 * n * n * stack.heads
    assert extra == stack.layers * (norms + softmax + 2 * n * stack.hidden + 5 * n * stack.ffn)
    halved = flops(model, full(model, n), replace(COUNTED, name="y", causal_half=True))
    masked = n * (n - 1) // 2
    assert flops(model, full(model, n), COUNTED) - halved == stack.layers * 4 * masked * stack.heads * stack.head_dim


def test_grouped_queries_have_smaller_keys_and_values() -> None:
    names = {o.name: o for o in prefill(GROUPED, full(GROUPED, 10), COUNTED) if o.module.startswith("layers.0")}
    assert names["k"].flops == names["v"].flops == names["q"].flops // 4
    assert names["attention"].read == 10 * 64 + 2 * 10 * 16


def test_fused_attention_moves_no_scores() -> None:
    fused, apart = (
        sum(o.numbers() for o in prefill(SEVEN, full(SEVEN, 500), replace(DEFAULT, name="z", fused=flag)))
        for flag in (True, False)
    )
    assert apart - fused == 32 * 4 * 500 * 500 * 32  # written by qk, read and written by softmax, read by sv


def by_name(operators) -> dict[str, Operator]:
    """The operators of the first block."""
    return {o.name: o for o in operators if o.module.startswith("layers.0.")}


def half_open(convention: Convention) -> dict[str, Operator]:
    execution = Execution((LayerWork(0, 100, 16, Fraction(1, 2)),))
    return by_name(prefill(SEVEN, execution, convention))


def test_the_analyser_scales_a_partly_active_block_but_for_written_keys_norms_and_additions() -> None:
    whole, half = by_name(prefill(SEVEN, full(SEVEN, 100), LLM_VIEWER)), half_open(LLM_VIEWER)
    for name in ("norm_1", "norm_2", "add_1", "add_2"):
        assert half[name] == whole[name]
    for name in ("q", "out", "gate", "up", "down", "qk", "softmax", "sv", "activation"):
        assert (2 * half[name].flops, 2 * half[name].numbers()) == (whole[name].flops, whole[name].numbers())
    for name in ("k", "v"):
        assert (half[name].written, 2 * half[name].read) == (whole[name].written, whole[name].read)
        assert 2 * half[name].weights == whole[name].weights


def test_what_really_runs_of_a_partly_active_block_reads_the_whole_stream_and_keeps_active_heads() -> None:
    half = half_open(DEFAULT)
    assert half["q"].read == half["gate"].read == half["out"].written == half["down"].written == 100 * 4096
    assert half["k"].written == half["q"].written == half["out"].read == 100 * 2048


@given(st.integers(1, 3000), st.floats(1e3, 1e8))
def test_the_analysers_flash_attention(n: int, on_chip: float) -> None:
    flash = replace(LLM_VIEWER.with_attention("fused"), on_chip=on_chip)
    apart, fused = (by_name(prefill(SEVEN, full(SEVEN, n), rules)) for rules in (LLM_VIEWER, flash))
    block = min(math.ceil(on_chip / 128), 128)
    assert fused["attention"].flops == sum(apart[name].flops for name in ("qk", "softmax", "sv"))
    assert fused["attention"].read == n * 4096 + math.ceil(n / block) * 2 * n * 4096
    assert fused["attention"].written == 2 * n * n * 32
    step = by_name(decode_step(SEVEN, full(SEVEN, n), n + 1, flash))["attention"]
    assert (step.read, step.written) == (4096 + 2 * (n + 1) * 4096, 2 * (n + 1) * 32)


def test_separate_products_compute_the_masked_half_as_well() -> None:
    eager = by_name(prefill(SEVEN, full(SEVEN, 50), DEFAULT.with_attention("eager")))
    assert eager["qk"].flops == 2 * 50 * 50 * 4096
    assert DEFAULT.with_attention("fused") == DEFAULT
    assert LLM_VIEWER.with_attention("eager") == LLM_VIEWER


def test_a_decode_step_attends_to_the_whole_context() -> None:
    execution = full(GROUPED, 10)
    one, two = (sum(o.flops for o in decode_step(GROUPED, execution, n, COUNTED)) for n in (11, 12))
    assert two - one == 2 * 4 * 64  # layers x (qk, sv) x heads x width
    dropped = execution.drop_tokens(4, before=1)
    fewer = sum(o.flops for o in decode_step(GROUPED, dropped, 11, COUNTED))
    assert one - fewer == 4 * 4 * 64


@given(st.integers(1, 32), st.integers(10, 700))
def test_a_skipped_layer_costs_nothing_and_the_rest_the_same(keep: int, n: int) -> None:
    whole = flops(SEVEN, full(SEVEN, n), COUNTED, head_positions=0)
    assert flops(SEVEN, full(SEVEN, n).keep_layers(keep), COUNTED, head_positions=0) * 32 == whole * keep


@given(st.integers(0, 64))
def test_units_of_heads_cost_their_share_of_the_contractions(units: int) -> None:
    execution = full(SEVEN, 100).with_active_heads(SEVEN.language.stack, units=units, rank=8, prefix=16)
    opened = sum(work.heads for work in execution.layers)
    assert opened == 16 * 32 + 8 * units
    whole = flops(SEVEN, full(SEVEN, 100), COUNTED, head_positions=0)
    assert flops(SEVEN, execution, COUNTED, head_positions=0) * 1024 == whole * opened


def test_the_vision_tower_runs_whole_and_the_projector_over_what_is_kept() -> None:
    clip = {
        "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
    }  # fmt: skip
    text = {
        "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 4096, "intermediate_size": 11008,
        "num_attention_heads": 32, "vocab_size": 32000,
    }  # fmt: skip
    model = read_architecture({"model_type": "llava", "vision_config": clip, "text_config": text})
    assert model.visual_tokens == 576
    block = 2 * 577 * (4 * 1024**2 + 2 * 1024 * 4096) + 4 * 577**2 * 1024
    tower = Execution.full(model.vision.stack, 577)
    assert sum(o.flops for o in vision(model, tower, COUNTED)) == 24 * block + 2 * 576 * 3 * 14 * 14 * 1024
    assert sum(o.flops for o in projector(model, 40, COUNTED)) == 2 * 40 * (1024 * 4096 + 4096**2)


# Table C.2 at 645 prompt tokens on a V100: (model, method, budget in %, TFLOPs, ms) as printed.
TABLE = [
    ("7B", "", 100, 8.6, 81), ("7B", "L", 85, 7.2, 69), ("7B", "L", 60, 5.1, 49),
    ("7B", "H", 85, 7.2, 69), ("7B", "H", 60, 5.1, 49),
    ("13B", "", 100, 16.7, 157), ("13B", "L", 85, 14.2, 133), ("13B", "L", 60, 10.0, 94),
    ("13B", "H", 85, 14.2, 133), ("13B", "H", 60, 10.0, 94),
    ("FastV", "", 100, 4.9, 47), ("FastV", "L", 85, 4.2, 40), ("FastV", "L", 60, 3.0, 29),
    ("FastV", "H", 85, 4.2, 40), ("FastV", "H", 60, 3.0, 29),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "budget", "teraflops", "milliseconds"), TABLE)
def test_the_published_efficiency_table(
    name: str, method: str, budget: int, teraflops: float, milliseconds: int
) -> None:
    model = THIRTEEN if name == "13B" else SEVEN
    stack, execution = model.language.stack, full(model, 645)
    if name == "FastV":
        execution = execution.drop_tokens(288, before=2)
    half = stack.layers // 2
    if method == "L":
        execution = execution.keep_layers(half + (stack.layers * budget // 100 - half))
    if method == "H":
        units = stack.layers * stack.heads // 8
        execution = execution.with_active_heads(stack, units=units * budget // 100 - units // 2, rank=8, prefix=half)
    operators = list(prefill(model, execution, LLM_VIEWER))
    assert round(sum(o.flops for o in operators) / 1e12, 1) == teraflops
    assert abs(round(1e3 * predict(operators, find_accelerator("V100"))) - milliseconds) <= 1


@pytest.mark.parametrize(("tokens", "teraflops", "milliseconds"), [(107, 1.4, 16), (233, 3.0, 29)])
def test_the_published_rows_of_pruned_prompts(tokens: int, teraflops: float, milliseconds: int) -> None:
    operators = list(prefill(SEVEN, full(SEVEN, tokens), LLM_VIEWER))
    assert round(sum(o.flops for o in operators) / 1e12, 1) == teraflops
    assert round(1e3 * predict(operators, find_accelerator("V100"))) == milliseconds


MAMBA = {"model_type": "mamba", "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "vocab_size": 9}


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Execution.full(SEVEN.language.stack, 0),
        lambda: full(SEVEN, 9).keep_layers(0),
        lambda: full(SEVEN, 9).keep_layers(33),
        lambda: full(SEVEN, 9).with_active_heads(SEVEN.language.stack, units=65, rank=8, prefix=16),
        lambda: read_architecture(MAMBA),
        lambda: read_architecture({"model_type": "llama", "num_hidden_layers": 0}),
        lambda: read_architecture({"model_type": "llama", "hidden_size": "4096"}),
        lambda: read_architecture({"model_type": "llama", "hidden_size": 100}),
        lambda: read_architecture({"model_type": "llava", "text_config": "llama"}),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused(broken: object) -> None:
    with pytest.raises(UserError):
        broken()


def test_layers_are_plain_values() -> None:
    assert LayerWork(0, 5, 8) == LayerWork(0, 5, 8, Fraction(1))
