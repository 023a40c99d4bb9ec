"""Fields of small configs that no general rule finds."""

from __future__ import annotations

from typing import Any

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_GLM = {"rope_parameters": {**_ROPE, "mrope_section": [8, 12, 12], "partial_rotary_factor": 0.5}, "head_dim": 128}
_INDEXER = {
    "indexer_budget": 16, "indexer_compress_ratio": 4, "indexer_head_dim": 256, "indexer_kv_heads": 1,
    "indexer_n_heads": 2,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "gemma4": {"vision_config": {"model_type": "gemma4_vision"}},
    "gemma4_unified": {"vision_config": {"model_type": "gemma4_unified_vision"}},
}
"""Model type -> fields without which transformers has no config of it."""
FIELDS: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": {"num_attention_heads": 2, "image_size": 364}},
    "bamba": {"attn_layer_indices": [1]},
    "blip-2": {"num_query_tokens": 2, "qformer_config": {"use_qformer_text_input": True}},
    "blt": {"patching_mode": "static", "encoder_hash_byte_group_vocab": 502, "use_cache": False},
    "chameleon": {
        "image_token_id": 500,
        "vocabulary_map": {"<image>": 500, "IMGIMGAZ": 10, "IMGIMGBZ": 11, "IMGIMGCZ": 12, "IMGIMGDZ": 13},
        "vq_config": {"base_channels": 32, "num_embeddings": 4},
    },
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}}},
    "cohere2_moe": {"intermediate_size": 512},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "deepseek_ocr2": {
        "text_config": {"mlp_layer_types": ["dense", *["sparse"] * 3], "num_experts_per_tok": 2},
        "vision_config": {"encoder_config": {"hidden_size": 112}},
    },
    "diffusion_gemma": {"text_config": {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 64}},
    "cvt": {"depth": [1, 2, 3]},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_group": 2, "topk_group": 1},
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "efficientnet": {"depth_coefficient": 1.0, "image_size": 64},
    "emu3": {
        "image_token_id": 500,
        "vocabulary_map": {
            "<image>": 500, "<|extra_200|>": 501, **{f"<|visual token {n:06}|>": 10 + n for n in range(4)},
        },
        "vq_config": {"codebook_size": 4},
    },
    "gemma3": {"mm_tokens_per_image": 49},
    "gemma4_assistant": {"text_config": {"num_kv_shared_layers": 0}},
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": 0}},
    "glm46v": {"text_config": _GLM},
    "glm4v": {"text_config": _GLM},
    "glm4v_moe": {"text_config": _GLM},
    "glmga": {"text_config": _GLM},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "granite4_vision": {
        "deepstack_layer_map": [[1, 0], [3, 2]], "downsample_rate": "1/2", "spatial_target_layers": [0, 1, 2, 3],
        "vision_config": {"image_size": 336, "patch_size": 14},
    },
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": 16},
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2},
    "hunyuan_vl": {"text_config": {"rope_parameters": {**_ROPE, "mrope_section": [16, 16, 16, 16]}}},
    "idefics3": {"vision_config": {"image_size": 128}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "conv"]},
    "kosmos-2": {"latent_query_num": 8},
    "kosmos-2.5": {"latent_query_num": 8},
    "llama4": {"vision_config": {"hidden_size": 176, "vision_output_dim": 512}},
    "mllama": {"text_config": {"cross_attention_layers": [1, 3]}, "vision_config": {"vision_output_dim": 800}},
    "molmo2": {"adapter_config": {"vision_feature_layer": [3, 2], "text_hidden_size": 512}},
    "nemotron_h": {"moe_intermediate_size": 64},
    "nemotron_h_omni": {"text_config": {"moe_intermediate_size": 64}},
    "qwen4_exp": {"text_config": _INDEXER},
    "qwen4_exp_text": _INDEXER,
    "ovis2": {"hidden_size": 512},
    "qwen2_vl": {"vision_config": {"hidden_size": 1024}},
    "qwen3_omni_moe_thinker": {
        "text_config": {"num_attention_heads": 4, "head_dim": 64}, "vision_start_token_id": 500,
    },
    "qwen2_5_omni_thinker": {"vision_start_token_id": 500},
    "reformer": {"is_decoder": True},
    "shieldgemma2": {"mm_tokens_per_image": 49, "yes_token_index": 5, "no_token_index": 6},
    "smolvlm": {"vision_config": {"image_size": 128}},
    "step3p7": {"text_config": {"sliding_window": 16}},
    "t5gemma2": {"encoder": {"mm_tokens_per_image": 49}},
    "vipllava": {"vision_feature_layers": [-2, -3, -4, -5, 3]},
    "xlstm": {"chunk_size": 64, "max_inference_chunksize": 64},
    "zamba": {
        "num_hidden_layers": 5,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
}  # fmt: skip
"""Model type -> fields of its small config as they are to be."""
