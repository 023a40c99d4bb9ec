"""What methods leave of one prompt's work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import DEFAULT, LLM_VIEWER
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planned_models import plan_methods, what_is_left
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.scheduler import Scheduler, save
from adaptbench.models.adaptive.switches import SchedulerConfig
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus
from adaptbench.models.reference.blind import Blind
from adaptbench.models.reference.layers import Layers
from adaptbench.models.reference.tiny_llava import tiny_llava

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(("budget", "kept"), [(1.0, 32), (0.85, 27), (0.6, 19), (0.5, 16)])
def test_adallava_l_keeps_blocks(budget: float, kept: int) -> None:
    assert lengths(AdaLlavaL(budget=budget, latency_token=False).leaves(LLAVA)) == [645] * kept
    assert lengths(AdaLlavaL(budget=budget).leaves(LLAVA)) == [646] * kept


@pytest.mark.parametrize(("budget", "units"), [(1.0, 64), (0.85, 44), (0.6, 12), (0.5, 0)])
def test_adallava_h_opens_groups_of_heads(budget: float, units: int) -> None:
    work = AdaLlavaH(budget=budget, latency_token=False).leaves(LLAVA)
    heads = [layer.heads for layer in work.execution.layers]
    assert sum(heads) == 16 * 32 + units * 8
    assert all(layer.mlp * 32 == layer.heads for layer in work.execution.layers)
    assert 0 not in heads


def test_the_first_groups_of_heads_fill_one_block_after_the_other() -> None:
    layers = AdaLlavaH(budget=0.6, scheduler="first").leaves(LLAVA).execution.layers
    assert [(layer.layer, layer.heads) for layer in layers] == [(block, 32) for block in range(19)]
    layers = AdaLlavaH(budget=0.55, scheduler="first").leaves(LLAVA).execution.layers
    assert [(layer.layer, layer.heads) for layer in layers[17:]] == [(17, 16)]


def test_a_rank_that_is_not_given_makes_several_groups() -> None:
    few = Work.whole(
        read_architecture(CONFIG | {"text_config": CONFIG["text_config"] | {"num_attention_heads": 8}}), text_tokens=9
    )
    assert sum(layer.heads for layer in AdaLlavaH(budget=0.6).leaves(few).execution.layers) == int(0.6 * 32 * 8)


def test_an_architecture_has_a_latency_token_but_no_scheduler() -> None:
    """As in Table C.2."""
    assert AdaLlavaL(budget=0.6).leaves(LLAVA).added == 0


@pytest.mark.parametrize("kind", ["learned", "sampled", "random", "first"])
@pytest.mark.parametrize("method", [AdaLlavaL, AdaLlavaH])
def test_a_checkpoint_has_a_latency_token_and_its_scheduler_computes(
    method: type[AdaLlavaL] | type[AdaLlavaH], kind: str, tmp_path: Path
) -> None:
    switch, rank = ("layers", 1) if method is AdaLlavaL else ("heads", 8)
    config = SchedulerConfig(switch=switch, layers=32, heads=32, prefix=16, rank=rank, hidden=64)
    save(Scheduler(config), tmp_path)
    asked = method(checkpoint=str(tmp_path), scheduler=kind, budget=0.6)
    work, own = asked.leaves(LLAVA), 16 if method is AdaLlavaL else 16 * 2 * 32
    encoder, head = 2 * (256 * 64 + 64 * 64), 2 * 64 * own
    assert (work.tokens, work.added) == (646, encoder + {"first": 0, "sampled": 2}.get(kind, 1) * head)
    silent = asked.model_copy(update={"latency_token": False}).leaves(LLAVA)
    assert (silent.tokens, silent.added) == (645, work.added - encoder)
    assert work.execution.layers[0].tokens == 646
    scheduler = {o.module: o.flops for o in work.operators(DEFAULT) if o.module == "methods"}
    assert scheduler == {"methods": work.added}


def test_without_a_checkpoint_there_is_no_latency_token() -> None:
    """As in a model that is run."""
    work = AdaLlavaL(scheduler="random", budget=0.6).for_base(None).leaves(LLAVA)
    assert (lengths(work), work.added) == ([645] * 19, 2 * 64 * 16)


def test_a_checkpoint_that_ships_is_priced() -> None:
    tiny = Work.whole(read_architecture(tiny_llava.blueprint().config), text_tokens=20)
    left = AdaLlavaL(budget=0.6).for_base(tiny_llava).leaves(tiny)
    assert (left.tokens, len(left.execution.layers)) == (tiny.tokens + 1, 6)
    assert left.added > 0


def test_a_deterministic_scheduler_is_assumed_to_keep_its_budget(tmp_path: Path) -> None:
    config = SchedulerConfig(switch="layers", layers=32, heads=32, prefix=16, hidden=64, rule="deterministic")
    save(Scheduler(config), tmp_path)
    learned, first = (
        AdaLlavaL(checkpoint=str(tmp_path), scheduler=kind).leaves(LLAVA) for kind in ("learned", "first")
    )
    assert "deterministic" in learned.assumed[0]
    assert first.assumed == ()


def test_fastv_drops_visual_tokens_after_k_blocks() -> None:
    assert lengths(FastV(k=2, r=0.5).leaves(LLAVA)) == [645] * 2 + [357] * 30
    assert FastV(k=3, r=0.0).leaves(LLAVA) == LLAVA
    assert lengths(FastV(k=2, keep=100).leaves(LLAVA)) == [645] * 2 + [169] * 30


def test_pruning_before_the_language_model_shortens_the_prompt() -> None:
    assert lengths(PruMerge().leaves(LLAVA)) == [109] * 32
    assert lengths(PruMergePlus().leaves(LLAVA)) == [233] * 32
    assert lengths(FastV(k=1, r=0.5).leaves(PruMerge(tokens=40).leaves(LLAVA))) == [109] + [89] * 31


def test_a_usual_number_of_tokens_is_said_to_be_assumed() -> None:
    assert PruMergePlus().leaves(LLAVA).assumed == (
        "PruMergePlus keeps as many visual tokens as an image needs; 164 are assumed",
    )
    assert PruMergePlus(tokens=164).leaves(LLAVA).assumed == ()


def test_layers_cuts_a_language_model_or_an_encoder_of_images() -> None:
    assert lengths(Layers(keep=3).leaves(LLAVA)) == [645] * 3
    assert lengths(Layers(budget=0.6).leaves(LLAVA)) == [645] * 19
    cut = Layers(keep=1).leaves(VIT)
    assert (len(cut.tower.layers), cut.execution) == (1, None)


def test_a_blind_model_does_all_the_work() -> None:
    assert Blind().leaves(LLAVA) == LLAVA


def test_methods_act_in_the_order_of_their_stages() -> None:
    work = AdaLlavaL(budget=0.6).leaves(FastV(k=2, r=0.5).leaves(LLAVA))
    assert lengths(work) == [646] * 2 + [358] * 17
    registry = load_plugins().registry
    orders = ("fastv(k=1)+prumerge(tokens=40)+blind", "blind+prumerge(tokens=40)+fastv(k=1)")
    for order in orders:
        methods = plan_methods(registry, parse(f"llava-1.5-7b+{order}"), {"decoder", "images", "visual-tokens"})
        assert lengths(what_is_left(methods, LLAVA)) == [109] + [89] * 31


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: FastV(k=33).leaves(LLAVA), "after 33 of 32"),
        (lambda: PruMerge(tokens=600).leaves(LLAVA), "an image has 576 patches, so 599 cannot be picked"),
        (lambda: AdaLlavaL(budget=1.2), r"1.2 is not in \(0, 1\]"),
        (lambda: AdaLlavaL(budget=0.1).leaves(LLAVA), "budget 0.1 is below 0.5, which the first 16 of 32 blocks take"),
        (lambda: AdaLlavaL(prefix=40).leaves(LLAVA), "40 of 32"),
        (lambda: AdaLlavaL(scheduler="full", budget=0.6).leaves(LLAVA), "full runs everything"),
        (lambda: AdaLlavaH(rank=5).leaves(LLAVA), "groups of 5"),
        (lambda: Layers(keep=33).leaves(LLAVA), "33 of 32"),
        (lambda: Layers(keep=3).leaves(VIT), "3 of 2"),
        (lambda: FastV().leaves(VIT), "no language model"),
        (lambda: AdaLlavaL().leaves(VIT), "no language model"),
        (lambda: Work.whole(LLAVA.model, text_tokens=-1), "-1 text tokens"),
        (lambda: Work.whole(LLAVA.model, text_tokens=0, visual_tokens=0), "0 tokens"),
    ],
)
def test_what_makes_no_sense_is_refused(broken: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        broken()


def test_memory_is_weights_keys_and_values_and_a_blocks_activations() -> None:
    one, two = (LLAVA.memory(DEFAULT, 2, batch).total for batch in (1, 2))
    weights = 2 * (32 * (4 * 64 * 64 + 3 * 64 * 96) + 64 * 50)
    cached = 2 * 32 * 2 * 645 * 64
    assert two - one > cached
    assert one > weights + cached
    skipped = LLAVA.with_first_layers(16).memory(DEFAULT, 2).total
    assert one - skipped == (weights - 2 * 64 * 50 + cached) // 2


def test_the_analysers_memory_has_no_head_and_the_last_blocks_activations() -> None:
    kept = LLAVA.with_execution(LLAVA.execution.keep_layers(2))
    weights, cached = 2 * (4 * 64 * 64 + 3 * 64 * 96), 2 * 2 * 645 * 64
    # norm, q, qk, softmax, sv, out, add; norm, gate, up, activation, down, add
    activations = 645 * (9 * 64 + 2 * 96) + 2 * 645**2 * 32
    assert kept.memory(LLM_VIEWER, 2).total == 2 * (weights + cached + activations)
    shorter = kept.with_execution(kept.execution.drop_tokens(100, before=1))
    assert kept.memory(LLM_VIEWER, 2).total - shorter.memory(LLM_VIEWER, 2).total > 2 * 2 * (645**2 - 545**2) * 32
    largest = kept.memory(DEFAULT, 2).total - shorter.memory(DEFAULT, 2).total
    assert largest == 2 * 2 * 100 * 64  # the first block is as it was, the second keeps fewer keys and values
