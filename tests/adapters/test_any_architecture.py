"""Families without a closed form are counted on their modules: unequal layers, chunks, experts, images, states."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.adapters.prefill_flops import PrefillFlops
from adaptbench.adapters.traced_model import TracedModel
from adaptbench.adapters.transformers_meta import Blueprint
from adaptbench.harness.costing import Cost, Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.counting import Counter
from adaptbench.harness.measure.flops import count_both
from adaptbench.harness.measure.known_numbers import KnownNumbers, known_inputs
from adaptbench.harness.measure.passes import check_kinds, count_pass
from adaptbench.harness.measure.reconcile import reconcile
from adaptbench.harness.measure.traced import trace
from adaptbench.harness.measure.work import Work
from adaptbench.harness.plugins import load_plugins

if TYPE_CHECKING:
    from pathlib import Path

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50,
    "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
SEEING = {
    "depth": 3,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 24,
    "patch_size": 4,
    "out_hidden_size": 32,
}
TINY: dict[str, dict[str, Any]] = {
    "experts": {"model_type": "mixtral", **TEXT, "num_local_experts": 4, **EXPERTS, "num_hidden_layers": 3},
    "dense-then-experts": {
        "model_type": "deepseek_v3", **TEXT, "head_dim": 4, "num_key_value_heads": 4, **EXPERTS,
        "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 2, "num_hidden_layers": 5,
        "kv_lora_rank": 8, "q_lora_rank": 8,
        "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4,
    },
    "windows": {
        "model_type": "gemma3_text", **TEXT, "sliding_window": 4, "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "chunks": {
        "model_type": "mamba2", "hidden_size": 32, "num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8,
        "num_hidden_layers": 3, "vocab_size": 50, "chunk_size": 16,
    },
    "attention-and-states": {
        "model_type": "jamba", **TEXT, "num_experts": 2, **EXPERTS, "num_hidden_layers": 4, "attn_layer_period": 2,
        "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 4,
        "mamba_dt_rank": 4,
    },
    "encoder-decoder": {
        "model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4, "vocab_size": 50,
    },
    "grid-of-patches": {
        "model_type": "qwen3_vl", "text_config": {**TEXT, "num_hidden_layers": 4},
        "vision_config": {**SEEING, "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
    },
}  # fmt: skip
PER_TOKEN = {"experts": 3 * 2 * 16, "dense-then-experts": 5 * 12}

BESIDE: dict[str, dict[str, Any]] = {
    "image-and-text-in-one-pass": {
        "model_type": "mllama",
        "text_config": {**TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1]},
        "vision_config": {
            "hidden_size": 32, "attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_global_layers": 1, "image_size": 16, "patch_size": 4, "vision_output_dim": 64,
            "intermediate_layers_indices": [1],
        },
    },
    "tiles": {
        "model_type": "idefics3", "text_config": {"model_type": "llama", **TEXT, "num_hidden_layers": 3},
        "vision_config": {
            "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 3,
            "image_size": 16, "patch_size": 4,
        },
    },
}  # fmt: skip
"""Models of images and texts whose images are known in other ways than by a grid."""


@functools.cache
def blueprint_of(name: str) -> Blueprint:
    return Blueprint({**TINY, **BESIDE}[name], name)


@functools.cache
def counter_of(name: str) -> Counter:
    return Counter(blueprint_of(name))


@pytest.fixture(params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


LENGTHS = [*((name, 21) for name in TINY), ("windows", 50), ("chunks", 50), ("attention-and-states", 50)]


@pytest.mark.parametrize(("name", "tokens"), LENGTHS)
def test_one_layer_of_each_kind_tells_what_all_cost(name: str, tokens: int) -> None:
    """50 tokens are in another chunk than the lengths that tell it, where what runs depends on that."""
    for part in blueprint_of(name).parts():
        numbers = KnownNumbers()
        whole = count_both(part.module, known_inputs(part.inputs(tokens), numbers), around=lambda n=numbers: n)
        assert sum(counter_of(name).count(phase, tokens).value for phase in part.phases.values()) == whole.flops.value


@pytest.mark.parametrize("name", BESIDE)
def test_images_are_priced_where_they_are_given_in_another_way(name: str) -> None:
    blueprint = blueprint_of(name)
    counted = {phase: counter_of(name).count(phase, 21).value for phase in counter_of(name).phases()}
    assert (blueprint.missing, set(counted)) == ("", {"vision", "projector", "prefill", "head"})
    whole = 0
    for part in blueprint.parts():
        numbers = KnownNumbers()
        inputs = known_inputs(part.inputs(21), numbers)
        whole += count_both(part.module, inputs, around=lambda n=numbers: n).flops.value
    assert sum(counted.values()) == whole


def test_the_operators_of_its_modules_are_what_the_counters_see(name: str) -> None:
    blueprint = blueprint_of(name)
    assert max(reconcile(counter_of(name), blueprint, blueprint.traced).values()) == 0


@pytest.mark.parametrize("name", ["experts", "chunks", "windows"])
def test_a_real_prefill_costs_the_same_in_a_run(name: str) -> None:
    """There experts are grouped, the router chooses, and scans run for real."""
    import transformers

    names = {name: value for name, value in TINY[name].items() if name != "model_type"}
    config = transformers.AutoConfig.for_model(TINY[name]["model_type"], **names)
    model, inputs = transformers.AutoModelForCausalLM.from_config(config).eval(), {"input_ids": torch.arange(21)[None]}
    flops = PrefillFlops(model)
    counted = sum(counter_of(name).count(phase, 21).value for phase in ("prefill", "head"))
    assert (flops.of(21, 0, lambda: inputs), flops.refused) == (counted, "")


@pytest.mark.parametrize(("name", "per_token"), PER_TOKEN.items())
def test_keys_and_values_or_latents_are_kept(name: str, per_token: int) -> None:
    traced = blueprint_of(name).traced
    kept = traced.kept(10)
    assert (sum(kept.layers) if kept.latent is None else kept.latent * 10 * len(kept.layers)) == 10 * per_token


def test_windows_and_states_do_not_grow() -> None:
    windows, states = (blueprint_of(name).traced for name in ("windows", "chunks"))
    short, long = windows.kept(20).layers, windows.kept(40).layers
    assert (long[0], long[1]) == (short[0], 2 * short[1])
    assert states.kept(20).layers == states.kept(40).layers != ()


CHUNKED = {
    "model_type": "llama4_text", **TEXT, **EXPERTS, "num_local_experts": 4, "num_hidden_layers": 4,
    "intermediate_size_mlp": 16, "attention_chunk_size": 8,
    "layer_types": [*["chunked_attention"] * 3, "full_attention"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "window", "pairs", "bound"),
    [(TINY["windows"], 4, 4 * 5 // 2 + 16 * 4, (0, 2)), (CHUNKED, 8, 2 * (8 * 9 // 2) + 4 * 5 // 2, (0, 1, 2))],
    ids=["window", "chunk"],
)
def test_a_windowed_kernel_and_a_cache_of_a_window(
    config: dict[str, Any], window: int, pairs: int, bound: tuple[int, ...]
) -> None:
    traced = Blueprint(config, "mine").traced
    stack = traced.outline().language.stack
    assert stack.windows == tuple(window * (place in bound) for place in range(4))
    assert traced.kept(20).layers == tuple(2 * 16 * (window if place in bound else 20) for place in range(4))
    assert traced.kept(3).layers == (2 * 16 * 3,) * 4
    work = replace(Work.whole(traced.outline(), text_tokens=20), traced=traced)
    full, skipped = (sum(o.flops for o in work.operators(rules)) for rules in (COUNTED, COUNTED.with_windowed_kernel()))
    assert full - skipped == len(bound) * 4 * 32 * (20**2 - pairs)
    read = [o.read for o in work.decode(COUNTED) if o.name == "attention"]
    assert read == [32 + 2 * 16 * (window if place in bound else 21) for place in range(4)]


def test_a_model_without_a_cache_has_no_windows() -> None:
    sizes = {"d_model": 16, "d_latents": 16, "num_latents": 4, "num_blocks": 1, "num_self_attends_per_block": 2}
    heads = {"num_self_attention_heads": 2, "num_cross_attention_heads": 2, "vocab_size": 50}
    outline = Blueprint({"model_type": "perceiver", **sizes, **heads}, "mine").traced.outline()
    assert outline.language is None or outline.language.stack.windows == ()


def test_a_batch_reads_more_experts_until_all_are_read() -> None:
    traced = blueprint_of("experts").traced
    work = replace(Work.whole(traced.outline(), text_tokens=20), traced=traced)
    expert = 3 * 32 * 48
    chosen = [o for o in work.decode(COUNTED) if o.most]
    for batch, experts in ((1, 2), (2, 4), (3, 4)):
        assert sum(o.weights_read(batch) for o in chosen) == 3 * experts * expert
    assert sum(o.most for o in chosen) == 3 * 4 * expert


def test_a_token_reads_its_active_weights() -> None:
    traced = blueprint_of("experts").traced
    work = replace(Work.whole(traced.outline(), text_tokens=20), traced=traced)
    embeddings, norms = 50 * 32, 7 * 32  # looked up, and not contracted
    assert sum(o.weights for o in work.decode(COUNTED)) == traced.active - embeddings - norms


def test_a_further_token_is_what_the_closed_form_has() -> None:
    """Where there are both, they agree; so they do on the prompt, and on the numbers that are kept."""
    blueprint = Blueprint({"model_type": "llama", **TEXT, "num_hidden_layers": 3}, "mine")
    model = read_architecture(blueprint.config)
    work = Work.whole(model, text_tokens=20)
    traced = TracedModel(blueprint.model, blueprint.parts(), tied=False)
    own = replace(Work.whole(traced.outline(), text_tokens=20), traced=traced)
    for one in ("operators", "decode"):
        assert sum(o.flops for o in getattr(own, one)(COUNTED)) == sum(o.flops for o in getattr(work, one)(COUNTED))
    assert sum(traced.kept(20).layers) == 3 * 20 * 2 * 16


def test_a_token_meets_the_experts_that_it_is_sent_to() -> None:
    traced = blueprint_of("experts").traced
    assert traced.parameters - traced.active == 3 * 2 * (3 * 32 * 48)  # in each layer two of four experts are idle


def test_part_of_a_prompt_that_is_pruned_and_layers_that_are_skipped() -> None:
    traced = blueprint_of("grid-of-patches").traced
    work = replace(Work.whole(traced.outline(), text_tokens=10), traced=traced)
    execution = work.language[1].drop_tokens(4, before=2).keep_layers(3)
    own = [o for o in work.with_execution(execution).operators(COUNTED) if o.phase == "prefill" and o.module != "head"]
    lengths = [layer.tokens for layer in execution.layers]
    counted = counter_of("grid-of-patches").count_layers("prefill", lengths, work.tokens).value
    assert sum(o.flops for o in own) == counted


def test_keys_and_values_of_heads_that_run() -> None:
    traced = blueprint_of("grid-of-patches").traced
    work = replace(Work.whole(traced.outline(), text_tokens=10, visual_tokens=0), traced=traced)
    stack, execution = work.language
    half = work.with_execution(execution.with_active_heads(stack, units=2, rank=1, prefix=3))
    assert work.memory(COUNTED, 2).cached == 2 * 10 * 4 * 32
    assert half.memory(COUNTED, 2).cached == 2 * 10 * (3 * 32 + 16)  # two of four heads share one of two keys
    assert half.memory(COUNTED, 2).weights == 2 * traced.parameters


def test_methods_are_priced_where_there_are_visual_tokens(tmp_path: Path) -> None:
    registry = load_plugins().registry
    for name in ("grid-of-patches", "chunks"):
        (tmp_path / f"{name}.json").write_text(json.dumps(TINY[name]))

    def cost(spec: str) -> Cost:
        return Costing(registry, f"hf:{tmp_path}/{spec}", image_size=64).cost(CostRequest(10))

    whole = cost("grid-of-patches.json")
    assert whole.work.visual_tokens == (64 // 4 // 2) ** 2
    for method in ("fastv(k=1)", "prumerge(query=mean)", "adallava-l@0.75", "fastv(k=1)+adallava-h@0.75"):
        assert 0.1 < cost(f"grid-of-patches.json+{method}").of_base < 0.8
    with pytest.raises(UserError, match="its tower has no CLS token; say query=mean"):
        cost("grid-of-patches.json+prumerge")
    with pytest.raises(UserError, match="method 'fastv' needs visual-tokens"):
        Costing(registry, f"hf:{tmp_path}/chunks.json+fastv")


class Placed(torch.nn.Module):
    """A layer that works twice where it stands last, which nothing in it tells."""

    def __init__(self, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx, self.linear = layer_idx, torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.linear(x)) if self.layer_idx == 2 else self.linear(x)


class Deep(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Placed(place) for place in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_layers_that_only_seem_to_be_alike_are_refused() -> None:
    with torch.device("meta"):
        module, inputs = Deep(), {"x": torch.empty(5, 4)}
    with pytest.raises(UserError, match="layers of one kind differ"):
        check_kinds(module, inputs, count_pass(module, inputs))


def test_convolutions_of_other_strides_are_of_other_kinds() -> None:
    """Their weights have the same shapes, but what they return has not."""

    class Convolutions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, 1, stride=stride) for stride in (1, 2, 1, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    with torch.device("meta"):
        module, inputs = Convolutions(), {"x": torch.empty(1, 3, 8, 8)}
    assert count_pass(module, inputs).value == count_both(module, inputs).flops.value == 2 * 9 * (64 + 16 + 16 + 4)


def test_a_container_that_has_no_forward_pass_is_no_layer() -> None:
    """What lies in it runs, and is a layer."""

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))

    class Held(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList(Holder() for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for stage in self.stages:
                for layer in stage.layers:  # type: ignore[union-attr]
                    x = layer(x)
                x = x[:1]
            return x

    with torch.device("meta"):
        module, inputs = Held(), {"x": torch.empty(5, 4)}
    found = count_pass(module, inputs)
    check_kinds(module, inputs, found)
    assert found.value == 2 * 4 * 4 * (5 + 5 + 1 + 1)


def test_layers_in_layers_are_counted_as_often_as_they_run() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList(Deep() for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for stage in self.stages:
                x = stage(x)
            return x

    with torch.device("meta"):
        module, inputs = Twice(), {"x": torch.empty(5, 4)}
    whole = count_both(module, inputs).flops.value
    assert whole == 4 * 4 * 2 * 5 * 16  # the last layer of each stage works twice
    for stage in module.stages:
        stage.layers[2].layer_idx = 0
    assert count_pass(module, inputs).value == count_both(module, inputs).flops.value == 4 * 3 * 2 * 5 * 16
    operators = trace(module, inputs, {"": "prefill"})
    assert sum(o.flops for o in operators.whole("prefill")) == 4 * 3 * 2 * 5 * 16


def test_experts_take_the_bytes_that_a_quantised_config_states() -> None:
    """MXFP4: four bits a number, and eight for every 32 inputs; the router and attention stay as they are."""
    text = {**TEXT, "hidden_size": 32, "intermediate_size": 64}
    shape = {"model_type": "gpt_oss", **text, "num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2}
    stated = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    plain, packed = (Blueprint({**shape, **more}, "mine").traced for more in ({}, {"quantization_config": stated}))
    sizes = [
        replace(Work.whole(one.outline(), text_tokens=1), traced=one).memory(COUNTED, 2).weights
        for one in (plain, packed)
    ]
    numbers = 2 * 4 * (32 * 128 + 64 * 32)  # all experts, though one token meets two
    assert sizes[0] - sizes[1] == numbers * 2 - (numbers // 2 + numbers // 32)
    works = [replace(Work.whole(one.outline(), text_tokens=20), traced=one) for one in (plain, packed)]
    for batch, experts in ((1, 2), (2, 4), (3, 4)):
        moved = [sum(o.bytes_moved(2, batch) for o in work.decode(COUNTED)) for work in works]
        read = numbers * experts // 4
        assert moved[0] - moved[1] == read * 2 - (read // 2 + read // 32)


WIDTHS = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 2}
SMALL = {**WIDTHS, "image_size": 16, "patch_size": 4}
WORDS = {**WIDTHS, "vocab_size": 50, "max_position_embeddings": 80}
WHOLE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "two-towers": (
        {"model_type": "blip", "architectures": ["BlipModel"], "text_config": WORDS, "vision_config": SMALL},
        {"vision", "projector", "text"},
    ),
    "classes-of-images": (
        {"model_type": "vit", "architectures": ["ViTForImageClassification"], **SMALL},
        {"vision", "head"},
    ),
    "logits-of-visual-tokens": ({"model_type": "git", **WORDS, "vision_config": SMALL}, {"vision", "prefill", "head"}),
    "images-in-an-encoder": (
        {
            "model_type": "florence2",
            "text_config": {
                "model_type": "bart", "d_model": 16, "vocab_size": 50, "encoder_layers": 2, "decoder_layers": 2,
                "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
                "decoder_ffn_dim": 24, "max_position_embeddings": 80,
            },
            "vision_config": {
                "embed_dim": [8] * 4, "num_heads": [2] * 4, "num_groups": [2] * 4, "depths": [1] * 4,
                "window_size": 2, "projection_dim": 16,
            },
        },
        {"vision", "encoder", "prefill", "head"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_all_that_is_priced_is_what_the_counters_see(name: str, tmp_path: Path) -> None:
    config, phases = WHOLE[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    costing = Costing(load_plugins().registry, f"hf:{tmp_path}/config.json")
    cost = costing.cost(CostRequest(10), count=True)
    assert cost.flops == cost.counted
    assert phases <= set(cost.flops)
    reconcile(costing.counter, costing.blueprint, costing.traced)
