"""Configs as they are published: original LLaVA, sizes that no model has, kernels that are not installed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED, DEFAULT, prefill, vision
from adaptbench.harness.measure.configs import standard_config
from adaptbench.harness.measure.work import Work

ORIGINAL_13B: dict[str, Any] = {
    "_name_or_path": "llava-v1.5-13b",
    "architectures": ["LlavaLlamaForCausalLM"],
    "freeze_mm_mlp_adapter": False,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "image_aspect_ratio": "pad",
    "intermediate_size": 13824,
    "max_position_embeddings": 4096,
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "model_type": "llava",
    "num_attention_heads": 40,
    "num_hidden_layers": 40,
    "num_key_value_heads": 40,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}


def test_an_original_llava_is_of_the_size_that_it_states() -> None:
    model = read_architecture(ORIGINAL_13B)
    assert (model.language.stack.layers, model.language.stack.hidden, model.visual_tokens) == (40, 5120, 576)
    work = Work.whole(model, text_tokens=64)
    flops = sum(o.flops for o in work.operators(DEFAULT) if o.phase == "prefill" and o.module != "head")
    assert round(flops / 1e12, 3) == 16.414


@pytest.mark.parametrize(
    ("changed", "tokens", "kind"),
    [
        ({"mm_vision_tower": "/models/clip-vit-large-patch14/"}, 256, "clip_vision_model"),
        ({"mm_vision_tower": "google/siglip-so400m-patch14-384"}, 729, "siglip_vision_model"),
        ({"mm_vision_select_feature": "cls_patch"}, 577, "clip_vision_model"),
        ({"mm_vision_tower": None, "mm_projector_type": "mlp2x_gelu"}, 576, "clip_vision_model"),
    ],
)
def test_an_original_llava_has_the_tower_that_it_names(changed: dict[str, Any], tokens: int, kind: str) -> None:
    config = {**ORIGINAL_13B, **changed}
    assert read_architecture(config).visual_tokens == tokens
    assert standard_config(config)["vision_config"]["model_type"] == kind


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type is 'linear'"),
        ({"image_aspect_ratio": "anyres"}, "tiles"),
        ({"mm_patch_merge_type": "spatial_unpad"}, "tiles"),
        ({"mm_vision_tower": "my/tower"}, "unknown mm_vision_tower 'my/tower'"),
        ({"architectures": ["LlavaMptForCausalLM"]}, "LlavaMptForCausalLM is unknown"),
        ({"architectures": 5}, "a 5 is unknown"),
        ({"mm_vision_select_feature": ["patch"]}, "choose from patch, cls_patch"),
        ({"mm_vision_tower": ["a"]}, "unknown mm_vision_tower"),
    ],
)
def test_an_original_llava_that_transformers_has_no_class_for(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        standard_config({**ORIGINAL_13B, **changed}, "config.json")
    assert str(caught.value).startswith("config.json: ")


def test_a_standard_config_stays_as_it_is() -> None:
    standard = standard_config(ORIGINAL_13B)
    assert standard_config(standard) == standard
    assert standard_config({"model_type": "llava"}) == {"model_type": "llava"}


def test_what_is_no_part_of_an_architecture_is_left_out() -> None:
    config = {
        "model_type": "llava",
        "_attn_implementation": "flash_attention_2",
        "vision_config": {"image_size": [336, 336], "patch_size": (14, 14), "attn_implementation": "eager"},
    }
    assert standard_config(config) == {"model_type": "llava", "vision_config": {"image_size": 336, "patch_size": 14}}


@pytest.mark.parametrize("value", ["many", "12", -1, 4.5, math.inf, math.nan, 2**31, True, [12, -1]])
@pytest.mark.parametrize("part", ["", "text_config", "vision_config"])
def test_a_number_of_layers_that_no_model_has(value: Any, part: str) -> None:
    layers = {"num_hidden_layers": value}
    config = {"model_type": "llava", part: layers} if part else {"model_type": "llama", **layers}
    with pytest.raises(UserError, match=r"num_hidden_layers is .*give a whole number from 0 to 10,000"):
        read_architecture(config)


@pytest.mark.parametrize("value", ["four", math.nan, math.inf, -1, 0, 2**31, True, [4]])
def test_a_ratio_that_no_model_has(value: Any) -> None:
    with pytest.raises(UserError, match=r"mlp_ratio is .*give (a number above 0, at most 1,000|one number)"):
        read_architecture({"model_type": "dinov2", "mlp_ratio": value})


@pytest.mark.parametrize("name", ["hidden_size", "vocab_size", "num_attention_heads", "intermediate_size"])
def test_a_size_that_no_model_has(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is 2147483648"):
        read_architecture({"model_type": "llama", name: 2**31})


@pytest.mark.parametrize(
    ("image", "patch", "patches"),
    [(224, 16, 196), ([224, 224], 16, 196), ([224, 224], [16, 16], 196), ([224, 448], [16, 32], 196), (225, 16, 196)],
)
def test_sizes_of_images_and_patches(image: Any, patch: Any, patches: int) -> None:
    assert read_architecture({"model_type": "vit", "image_size": image, "patch_size": patch}).vision.patches == patches


@pytest.mark.parametrize(("image", "patch"), [([224, 224, 3], 16), ([], 16), (8, 16), ([224, 0], 16), ("224", 16)])
def test_sizes_that_hold_no_patch(image: Any, patch: Any) -> None:
    with pytest.raises(UserError):
        read_architecture({"model_type": "vit", "image_size": image, "patch_size": patch})


def test_the_pooling_head_of_siglip() -> None:
    config = {"model_type": "siglip_vision_model"}  # SigLIP-B/16 at 224: 196 tokens of 768, an MLP of 3072
    with_head, without = (
        sum(o.flops for o in vision(model, Work.whole(model, text_tokens=0).tower, COUNTED))
        for model in (read_architecture({**config, "vision_use_head": head}) for head in (True, False))
    )
    keys_and_values, query_and_out = 2 * 2 * 196 * 768**2, 2 * 2 * 768**2
    assert with_head - without == keys_and_values + query_and_out + 4 * 196 * 768 + 2 * 2 * 768 * 3072


def test_the_projections_of_opt_350m() -> None:
    config = {"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 512, "ffn_dim": 4096,
              "num_hidden_layers": 24, "num_attention_heads": 16}  # fmt: skip
    model = read_architecture(config)
    operators = list(prefill(model, Work.whole(model, text_tokens=10).execution, COUNTED))
    assert {o.name: o.flops for o in operators if o.module in ("around", "head")} == {
        "project_in": 2 * 10 * 512 * 1024,
        "project_out": 2 * 10 * 1024 * 512,
        "lm_head": 2 * 512 * 50272,
    }


@pytest.mark.parametrize("model_type", ["hiera", "molmo2_vision"])
def test_sizes_that_a_model_type_has_in_pairs_stay_so(model_type: str) -> None:
    sizes = {"image_size": [224, 224], "patch_size": [7, 7]}
    assert standard_config({"model_type": model_type, **sizes}) == {"model_type": model_type, **sizes}
    assert standard_config({"model_type": "vit", **sizes}) == {"model_type": "vit", "image_size": 224, "patch_size": 7}
