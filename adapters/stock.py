"""Every model type that transformers knows, with its default config: ``stock:qwen3_vl``."""

from __future__ import annotations

from typing import Any

from . import installed
from .transformers_meta import Blueprint

_TILES = {"vision_config": {"image_size": 896, "patch_size": 14}}
_HALF_ROTATED = {
    "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12],
}  # fmt: skip
_PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "blip-2 of AutoModelForZeroShotImageClassification": (
        "Salesforce/blip2-itm-vit-g", {"qformer_config": {"use_qformer_text_input": True}},
    ),
    "deepseek_v2": ("deepseek-ai/DeepSeek-V2-Lite", {"num_experts_per_tok": 6}),
    "gemma3": ("google/gemma-3-4b-it", _TILES),
    "glm46v": ("zai-org/GLM-4.6V-Flash", {"text_config": {"rope_parameters": _HALF_ROTATED}}),
    "glm4v": ("zai-org/GLM-4.1V-9B-Thinking", {"text_config": {"rope_parameters": _HALF_ROTATED}}),
    "glm4v_moe": ("zai-org/GLM-4.5V", {"text_config": {"head_dim": 128}}),
    "idefics3": ("HuggingFaceM4/Idefics3-8B-Llama3", {"vision_config": {"image_size": 364, "patch_size": 14}}),
    "llama4": (
        "meta-llama/Llama-4-Scout-17B-16E",
        {"vision_config": {"hidden_size": 1408, "image_size": 336, "vision_output_dim": 4096}},
    ),
    "molmo2": ("allenai/Molmo2-8B", {"adapter_config": {"text_hidden_size": 4096}}),
    "ovis2": (
        "AIDC-AI/Ovis2-2B",
        {
            "text_config": {
                "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                "num_attention_heads": 12, "num_key_value_heads": 2,
            },
        },
    ),
    "qwen3_omni_moe_thinker": (
        "Qwen/Qwen3-Omni-30B-A3B-Instruct", {"text_config": {"num_attention_heads": 32, "head_dim": 128}},
    ),
    "shieldgemma2": ("google/shieldgemma-2-4b-it", _TILES),
    "smolvlm": (
        "HuggingFaceTB/SmolVLM-Instruct",
        {"scale_factor": 3, "vision_config": {"image_size": 384, "patch_size": 14}},
    ),
    "t5gemma2": ("google/t5gemma-2-270m-270m", {"encoder": _TILES}),
}  # fmt: skip
"""Model types whose default config does not fit itself, so that transformers' own forward pass fails on an image or a
text -> a checkpoint, and what its config says instead; some as one Auto class builds them."""
_SEEING = {"gemma4": "gemma4_vision", "gemma4_unified": "gemma4_unified_vision"}
"""Model types whose default config names no encoder of images -> the type of the one that they have."""


class Stock(Blueprint):
    """A model type's default config; where that does not fit itself, with published numbers.

    Args:
        model_type: As a ``config.json`` names it.
        auto: The Auto class that chooses which of its models it is; empty for the first that builds one.
    """

    def __init__(self, model_type: str, auto: str = "") -> None:
        found = _PUBLISHED.get(f"{model_type} of {auto}") or _PUBLISHED.get(model_type)
        checkpoint, numbers = found or ("", {})
        if model_type in _SEEING:
            numbers = {"vision_config": {"model_type": _SEEING[model_type]}}
        super().__init__({"model_type": model_type, **numbers}, f"stock:{model_type}")
        if auto:
            self.config = {**self.config, "architectures": [installed.model_types(auto)[model_type]]}
        self._auto = auto
        self.completed = ""
        """What of the default config is replaced, because it does not fit the rest; empty if nothing is."""
        if checkpoint:
            self.completed = f"the default config does not fit itself: {', '.join(_names(numbers))} as in {checkpoint}"
        elif numbers:
            self.completed = "the default config names no encoder of images: it is transformers' default one"
        self.note = self.completed

    @staticmethod
    def model_types(auto: str) -> list[str]:
        """The model types that an Auto class, such as ``AutoModelForCausalLM``, builds."""
        return sorted(installed.model_types(auto))

    def own_error(self) -> str:
        """Why transformers itself does not build it; empty if it does."""
        import torch
        import transformers

        try:
            config = transformers.AutoConfig.for_model(self.config["model_type"])
            with torch.device("meta"):
                getattr(transformers, self._auto or "AutoModel").from_config(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return " ".join(f"{type(error).__name__}: {error}".split())
        return ""


def _names(numbers: dict[str, Any]) -> list[str]:
    """What a config's entries are called, without the parts that they lie in."""
    found: list[str] = []
    for name, value in numbers.items():
        found += _names(value) if isinstance(value, dict) and name != "rope_parameters" else [name]
    return [name for name in found if name != "model_type"]
