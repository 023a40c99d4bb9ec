"""Fields of small configs that no general rule finds."""

from __future__ import annotations

from typing import Any

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_GLM = {"rope_parameters": {**_ROPE, "mrope_section": [8, 12, 12], "partial_rotary_factor": 0.5}, "head_dim": 128}
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "gemma4": {"vision_config": {"model_type": "gemma4_vision"}},
    "gemma4_unified": {"vision_config": {"model_type": "gemma4_unified_vision"}},
}
"""Model type -> fields without which transformers has no config of it."""
FIELDS: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": {"num_attention_heads": 2}},
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 502, "use_cache": False},
    "chameleon": {
        "vocabulary_map": {"<image>": 500, "IMGIMGAZ": 10, "IMGIMGBZ": 11, "IMGIMGCZ": 12, "IMGIMGDZ": 13},
        "vq_config": {"num_embeddings": 4},
    },
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}}},
    "cohere2_moe": {"intermediate_size": 512},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "cvt": {"depth": [1, 2, 3]},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_group": 2, "topk_group": 1},
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "efficientnet": {"depth_coefficient": 1.0, "image_size": 64},
    "gemma3": {"mm_tokens_per_image": 49},
    "gemma4_assistant": {"text_config": {"num_kv_shared_layers": 0}},
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": 0}},
    "glm46v": {"text_config": _GLM},
    "glm4v": {"text_config": _GLM},
    "glm4v_moe": {"text_config": _GLM},
    "glmga": {"text_config": _GLM},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": 16},
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2},
    "idefics3": {"vision_config": {"image_size": 128}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "conv"]},
    "molmo2": {"adapter_config": {"vision_feature_layer": [3, 2]}},
    "nemotron_h": {"moe_intermediate_size": 64},
    "qwen4_exp_text": {
        "indexer_budget": 16, "indexer_compress_ratio": 4, "indexer_head_dim": 256, "indexer_kv_heads": 1,
        "indexer_n_heads": 2,
    },
    "reformer": {"is_decoder": True},
    "shieldgemma2": {"mm_tokens_per_image": 49, "yes_token_index": 5, "no_token_index": 6},
    "smolvlm": {"vision_config": {"image_size": 128}},
    "zamba": {
        "num_hidden_layers": 5,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
}  # fmt: skip
"""Model type -> fields of its small config as they are to be."""
