"""Architectures on the meta device: what is extrapolated equals what is traced whole, and equals the closed form."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from adaptbench.adapters.transformers_meta import Blueprint, card, pretrained
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure import reconcile as reconciling
from adaptbench.harness.measure.architecture import _SUPPORTED, read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.counting import Counter
from adaptbench.harness.measure.flops import count_both
from adaptbench.harness.measure.known_numbers import KnownNumbers, known_inputs
from adaptbench.harness.measure.reconcile import reconcile
from adaptbench.harness.measure.work import Work

if TYPE_CHECKING:
    from pathlib import Path

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "vocab_size": 50, **HEADS}
IMAGE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
CLIP = {"model_type": "clip_vision_model", "intermediate_size": 24, "projection_dim": 8, **IMAGE}
SIGLIP = {"model_type": "siglip_vision_model", "intermediate_size": 24, **IMAGE}
TOWER = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 50}
TINY: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **TEXT},
    "mistral": {"model_type": "mistral", **TEXT},
    "qwen2": {"model_type": "qwen2", **TEXT},
    "phi": {"model_type": "phi", **TEXT, "num_key_value_heads": 4, "partial_rotary_factor": 0.5},
    "gpt_neox": {"model_type": "gpt_neox", **TEXT},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 50},
    "gpt-neo": {
        "model_type": "gpt_neo",
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "vocab_size": 50,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 4,
    },
    "opt": {"model_type": "opt", **TEXT, "ffn_dim": 40, "word_embed_proj_dim": 32},
    "opt-350m": {"model_type": "opt", **TEXT, "ffn_dim": 40, "word_embed_proj_dim": 12, "do_layer_norm_before": False},
    "bert": {"model_type": "bert", **TEXT},
    "roberta": {"model_type": "roberta", **TEXT},
    "clip": CLIP,
    "siglip": SIGLIP,
    "whole-clip": {"model_type": "clip", "projection_dim": 8, "vision_config": CLIP, "text_config": TOWER},
    "whole-siglip": {"model_type": "siglip", "vision_config": SIGLIP, "text_config": {**TOWER, "projection_size": 16}},
    "rectangular": {
        "model_type": "vit",
        "intermediate_size": 640,
        **IMAGE,
        "image_size": [32, 48],
        "patch_size": [8, 4],
    },
    "vit": {"model_type": "vit", "intermediate_size": 640, **IMAGE},
    "dinov2": {"model_type": "dinov2", "mlp_ratio": 2, **IMAGE},
    "llava": {
        "model_type": "llava",
        "vision_config": CLIP,
        "text_config": {"model_type": "llama", **TEXT},
        "image_token_index": 49,
    },
    "llava-gpt2": {
        "model_type": "llava",
        "vision_config": SIGLIP,
        "text_config": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 50},
        "image_token_index": 49,
    },
    "llava-opt": {
        "model_type": "llava",
        "vision_config": CLIP,
        "text_config": {"model_type": "opt", **TEXT, "ffn_dim": 40, "word_embed_proj_dim": 32},
        "image_token_index": 49,
    },
}
LONG = 21


@functools.cache
def counter_of(name: str) -> tuple[Blueprint, Counter]:
    """A tiny architecture and its counter, which traces nothing twice."""
    blueprint = Blueprint(TINY[name], name)
    return blueprint, Counter(blueprint)


@pytest.fixture(params=TINY)
def blueprint(request: pytest.FixtureRequest) -> Blueprint:
    return counter_of(request.param)[0]


@pytest.fixture
def counter(blueprint: Blueprint) -> Counter:
    return counter_of(blueprint.source)[1]


def test_one_layer_of_each_kind_tells_what_all_cost(blueprint: Blueprint, counter: Counter) -> None:
    for part in blueprint.parts():
        numbers = KnownNumbers()
        inputs = known_inputs(part.inputs(LONG), numbers)
        whole = count_both(part.module, inputs, around=lambda numbers=numbers: numbers).flops.value
        assert sum(counter.count(phase, LONG).value for phase in part.phases.values()) == whole


def test_the_closed_form_is_what_the_counters_see(blueprint: Blueprint, counter: Counter) -> None:
    off = reconcile(counter, blueprint)
    assert max(off.values()) < 0.01
    if blueprint.config["model_type"] != "vit":  # whose pooler the closed form leaves out
        assert max(off.values()) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1], "long_factor": [2]}},
        {"_attn_implementation": "flash_attention_2"},
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_rotary_positions_and_kernels_change_no_count(more: dict[str, Any]) -> None:
    counter = Counter(Blueprint({**TINY["llama"], **more}, "mine"))
    assert counter.count("prefill", LONG) == counter_of("llama")[1].count("prefill", LONG)


def test_a_hundred_lengths_cost_no_further_trace() -> None:
    counter = Counter(Blueprint(TINY["llama"], "llama"))
    counter.count("prefill", 5)
    before = counter.traces
    counts = [counter.count("prefill", n).value for n in range(1, 101)]
    assert counter.traces == before <= 8
    assert counts == sorted(counts)


def test_layers_on_their_own_numbers_of_tokens() -> None:
    blueprint, counter = counter_of("llama")
    model = read_architecture(blueprint.config)
    work = Work.whole(model, text_tokens=20)
    execution = work.language[1].drop_tokens(8, before=2).keep_layers(3)
    closed = sum(o.flops for o in work.with_execution(execution).operators(COUNTED) if o.module != "head")
    assert counter.count_layers("prefill", [layer.tokens for layer in execution.layers]).value == closed


def test_a_disagreement_names_module_and_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**TINY["llama"], "intermediate_size": 64}
    monkeypatch.setattr(reconciling, "read_architecture", lambda _: read_architecture(wrong))
    blueprint = Blueprint(TINY["llama"], "tiny")
    with pytest.raises(UserError, match=r"tiny, prefill: .*in a block's mlp \(gate, up, down\)"):
        reconcile(Counter(blueprint), blueprint)


def test_a_local_folder(tmp_path: Path) -> None:
    import transformers

    transformers.LlamaConfig(**TEXT).save_pretrained(tmp_path)
    assert Counter(pretrained(str(tmp_path))).count("prefill", 9) == counter_of("llama")[1].count("prefill", 9)


def test_shipped_architectures_have_the_parameters_that_their_makers_state() -> None:
    from importlib import resources

    from adaptbench.harness.measure.flops import parameters

    stated = {  # in millions, of the whole checkpoint (vision towers: of the tower)
        "llama-2-7b": 6738, "llama-2-13b": 13016, "llama-2-70b": 68977, "llama-3-8b": 8030, "mistral-7b": 7242,
        "phi-2": 2780, "pythia-6.9b": 6857, "clip-vit-l-336": 303.5, "dinov2-s": 22.1, "dinov2-b": 86.6,
        "siglip-so400m-384": 428.2, "llava-1.5-7b": 7063, "llava-1.5-13b": 13351,
    }  # fmt: skip
    folder = resources.files("adaptbench.models") / "architectures"
    for name, millions in stated.items():
        model = card(str(folder / f"{name}.json")).model
        assert parameters(model) / 1e6 == pytest.approx(millions, rel=3e-3), name


@pytest.mark.parametrize(
    ("content", "said"), [("{nope", "cannot read it"), ("[1]", "holds no fields"), (None, "cannot read it")]
)
def test_a_folder_without_a_whole_config_is_refused_in_a_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


LEFT_OUT = [
    *({"model_type": kind} for kind in _SUPPORTED),
    {"model_type": "llava", "text_config": {"model_type": "mistral"}},
    {"model_type": "llava", "vision_config": {"model_type": "siglip_vision_model"}},
    {"model_type": "llava", "text_config": {"hidden_size": 64}, "vision_config": {"hidden_size": 48}},
    {"model_type": "clip", "vision_config": {"num_hidden_layers": 3}},
    {"model_type": "llama", "num_key_value_heads": None},
]  # fmt: skip


@pytest.mark.parametrize("config", LEFT_OUT, ids=str)
def test_what_a_config_leaves_out_is_what_transformers_takes_for_it(config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    given = {name: value for name, value in config.items() if name != "model_type"}
    full = CONFIG_MAPPING[config["model_type"]](**given).to_dict()
    assert read_architecture(config) == read_architecture({**full, "model_type": config["model_type"]})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "no-such-model"}, "no-such-model"),
        ({"hidden_size": 8}, "names no model_type"),
        ({"model_type": "llama", "hidden_size": 10, "num_attention_heads": 4}, "10.*multiple of.*4"),
    ],
)
def test_a_bad_config_is_refused_in_a_line(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Blueprint(config, "mine").parts()
    assert "\n" not in str(caught.value)


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(UserError, match="-1 tokens"):
        Counter(Blueprint(TINY["llama"], "llama")).count("prefill", -1)
