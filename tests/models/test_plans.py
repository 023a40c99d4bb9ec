"""Plan rules: what a method leaves to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import DEFAULT, LLM_VIEWER
from adaptbench.harness.measure.work import Work
from adaptbench.models.adaptive.plans import adallava_h, adallava_l, layers
from adaptbench.models.pruning.plans import fastv, prumerge, prumerge_plus

CONFIG = {
    "model_type": "llava",
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 336, "patch_size": 14,
    },
    "text_config": {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 50,
    },
}  # fmt: skip
LLAVA = Work.whole(read_architecture(CONFIG), text_tokens=69)
VIT = Work.whole(read_architecture(CONFIG["vision_config"]), text_tokens=0)


def lengths(work: Work) -> list[int]:
    return [layer.tokens for layer in work.execution.layers]


def test_a_prompt_holds_text_and_all_visual_tokens() -> None:
    assert (LLAVA.tokens, lengths(LLAVA)) == (645, [645] * 32)


@pytest.mark.parametrize(("budget", "kept"), [(1.0, 32), (0.85, 27), (0.6, 19), (0.5, 16), (0.1, 16)])
def test_adallava_l_keeps_blocks(budget: float, kept: int) -> None:
    assert lengths(adallava_l(LLAVA, budget=budget, latency_token=False)) == [645] * kept
    assert lengths(adallava_l(LLAVA, budget=budget)) == [646] * kept


@pytest.mark.parametrize(("budget", "units"), [(1.0, 64), (0.85, 44), (0.6, 12), (0.5, 0)])
def test_adallava_h_opens_groups_of_heads(budget: float, units: int) -> None:
    work = adallava_h(LLAVA, budget=budget, latency_token=False)
    heads = [layer.heads for layer in work.execution.layers]
    assert sum(heads) == 16 * 32 + units * 8
    assert all(layer.mlp * 32 == layer.heads for layer in work.execution.layers)
    assert 0 not in heads


def test_fastv_drops_visual_tokens_after_k_blocks() -> None:
    assert lengths(fastv(LLAVA, k=2, r=0.5)) == [645] * 2 + [357] * 30
    assert fastv(LLAVA, k=3, r=0.0) == LLAVA


def test_pruning_before_the_language_model_shortens_the_prompt() -> None:
    assert lengths(prumerge(LLAVA)) == [109] * 32
    assert lengths(prumerge_plus(LLAVA)) == [233] * 32
    assert lengths(fastv(prumerge(LLAVA, tokens=40), k=1, r=0.5)) == [109] + [89] * 31


def test_rules_combine() -> None:
    work = adallava_l(fastv(LLAVA, k=2, r=0.5), budget=0.6)
    assert lengths(work) == [646] * 2 + [358] * 17
    assert lengths(layers(LLAVA, keep=3)) == [645] * 3


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: prumerge(fastv(LLAVA)), "name the pruning first"),
        (lambda: fastv(LLAVA, k=0), "after 0 of 32"),
        (lambda: fastv(LLAVA, r=1.0), r"r=1 is not in \[0, 1\)"),
        (lambda: prumerge(LLAVA, tokens=600), "600 visual tokens"),
        (lambda: adallava_l(LLAVA, budget=1.2), r"1.2 is not in \(0, 1\]"),
        (lambda: adallava_l(LLAVA, prefix=40), "40 of 32"),
        (lambda: adallava_h(LLAVA, rank=5), "groups of 5"),
        (lambda: layers(LLAVA, keep=33), "33 of 32"),
        (lambda: fastv(VIT), "no language model"),
        (lambda: Work.whole(LLAVA.model, text_tokens=-1), "-1 text tokens"),
        (lambda: Work.whole(LLAVA.model, text_tokens=0, visual_tokens=0), "0 tokens"),
    ],
)
def test_what_makes_no_sense_is_refused(broken: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        broken()


def test_memory_is_weights_keys_and_values_and_a_blocks_activations() -> None:
    one, two = (LLAVA.memory(DEFAULT, 2, batch) for batch in (1, 2))
    weights = 2 * (32 * (4 * 64 * 64 + 3 * 64 * 96) + 64 * 50)
    cached = 2 * 32 * 2 * 645 * 64
    assert two - one > cached
    assert one > weights + cached
    skipped = replace(LLAVA, execution=LLAVA.execution.keep_layers(16)).memory(DEFAULT, 2)
    assert one - skipped == (weights - 2 * 64 * 50 + cached) // 2


def test_the_analysers_memory_has_no_head_and_the_last_blocks_activations() -> None:
    kept = LLAVA.with_execution(LLAVA.execution.keep_layers(2))
    weights, cached = 2 * (4 * 64 * 64 + 3 * 64 * 96), 2 * 2 * 645 * 64
    # norm, q, qk, softmax, sv, out, add; norm, gate, up, activation, down, add
    activations = 645 * (9 * 64 + 2 * 96) + 2 * 645**2 * 32
    assert kept.memory(LLM_VIEWER, 2) == 2 * (weights + cached + activations)
    shorter = kept.with_execution(kept.execution.drop_tokens(100, before=1))
    assert kept.memory(LLM_VIEWER, 2) - shorter.memory(LLM_VIEWER, 2) > 2 * 2 * (645**2 - 545**2) * 32
    largest = kept.memory(DEFAULT, 2) - shorter.memory(DEFAULT, 2)
    assert largest == 2 * 2 * 100 * 64  # the first block is as it was, the second keeps fewer keys and values
