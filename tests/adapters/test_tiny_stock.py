"""A sample of ``adaptbench doctor --architectures --real``: small models run for real, held against their configs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import transformers
from adaptbench.adapters import tiny_stock
from adaptbench.adapters.tiny_configs import tiny_configs
from adaptbench.adapters.tiny_fields import FIELDS
from adaptbench.adapters.tiny_stock import TinyStock, tiny
from adaptbench.harness.measure.counting import Counter
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.real_passes import DIFFERS, EQUAL, NOT_RUN, TOKENS, compare

REGISTRY = load_plugins().registry
TEXT: dict[str, Any] = {
    "model_type": "text", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "num_hidden_layers": 40, "layer_types": [*["sliding"] * 5, "full"] * 6 + ["sliding"] * 4, "vocab_size": 32000,
    "num_experts": 128, "num_experts_per_tok": 8, "sliding_window": 4096, "pad_token_id": 0,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "text_config": TEXT,
    "vision_config": {
        "model_type": "vision", "hidden_size": 1152, "num_heads": 16, "depth": 27, "num_channels": 3,
        "deepstack_indexes": [8, 16, 24],
    },
    "image_token_id": 31999, "video_token_id": 31998, "end_token_ids": [31999],
}  # fmt: skip


def test_a_small_config_keeps_what_fits_together() -> None:
    config = next(tiny_configs(WHOLE, {"text_config": {"num_experts": 3}}))
    text, vision = config["text_config"], config["vision_config"]
    assert (text["hidden_size"], text["num_attention_heads"], text["num_key_value_heads"]) == (512, 4, 1)
    assert (text["head_dim"], text["layer_types"]) == (128, [*["sliding"] * 5, "full"])
    assert (text["num_hidden_layers"], text["num_experts"], text["num_experts_per_tok"]) == (6, 3, 2)
    assert (vision["hidden_size"], vision["num_heads"], vision["depth"]) == (144, 2, 4)
    assert vision["deepstack_indexes"] == [1, 2, 3]
    assert config["end_token_ids"] == [config["image_token_id"]] != [config["video_token_id"]]
    assert config["image_token_id"] < text["vocab_size"]


def test_heads_whose_number_cannot_be_divided_are_narrower() -> None:
    sizes = {"hidden_size": 4544, "num_attention_heads": 71, "num_kv_heads": 71, "head_dim": 64}
    assert next(tiny_configs(sizes, {})) == {**sizes, "hidden_size": 568, "head_dim": 8}


@pytest.mark.parametrize(
    ("kind", "model_type"),
    [
        ("causal", "gpt2"), ("causal", "dbrx"), ("causal", "musicgen"), ("image classification", "vit"),
        ("image-text", "llava"),
    ],
)  # fmt: skip
def test_a_pass_with_weights_is_what_the_config_says(kind: str, model_type: str) -> None:
    found = compare(REGISTRY, kind, model_type)
    assert (found.state, found.reason) == (EQUAL, "")
    assert sum(found.flops.values()) > 10**6


def test_a_projector_outside_of_what_asks_for_images_is_counted() -> None:
    config = transformers.AutoConfig.for_model("llama4").to_dict()
    small = TinyStock("llama4", "AutoModelForImageTextToText", next(tiny_configs(config, FIELDS["llama4"])))
    assert Counter(small).count("projector", 1).value == 2 * 256 * 512 * 640  # of 256 tokens


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(model_type: str, auto: str) -> TinyStock:
        found = tiny(model_type, auto)
        (one,) = found.passes(TOKENS)
        shorter = replace(one, phases=dict.fromkeys(one.phases, TOKENS - 1))
        found.passes = lambda tokens: [shorter]  # type: ignore[method-assign]
        return found

    monkeypatch.setattr(tiny_stock, "tiny", other)
    found = compare(REGISTRY, "causal", "gpt2")
    assert found.state == DIFFERS
    assert "in prefill, head; the pass has" in found.reason


def test_what_cannot_be_built_or_run_is_told_in_its_own_words() -> None:
    found = compare(REGISTRY, "image-text", "gemma3n")
    assert found.state == NOT_RUN
    assert "timm" in found.reason
