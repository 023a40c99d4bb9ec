"""Large architectures that are written out as data have the parameters that their makers state, in all and active."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from adaptbench.adapters.loading import quiet

# In billions: all, and active for a token. Makers count embeddings as active or not: whichever gives what they state.
STATED = {
    "deepseek-v3": (671, 37),
    "gpt-oss-120b": (117, 5.1),
    "llama-3.1-405b": (405.9, None),
    "llama-4-scout": (109, 17),
    "mamba2-2.7b": (2.7, None),
    "mixtral-8x7b": (46.7, 12.9),
    "qwen3-235b-a22b": (235, 22),
    "qwen3-next-80b-a3b": (80, 3.9),  # "A3B": 3.6 without embeddings, rounded down
    "qwen3-vl-8b": (8.8, None),
}


def counted(config: dict[str, Any]) -> tuple[float, float, float]:
    """Parameters in billions: all, active, and active but for the embedding table."""
    import torch
    import transformers

    rest = {name: value for name, value in config.items() if name not in ("model_type", "quantization_config")}
    kind = transformers.AutoModelForImageTextToText if "vision_config" in config else transformers.AutoModelForCausalLM
    with quiet(), torch.device("meta"):
        model = kind.from_config(transformers.AutoConfig.for_model(config["model_type"], **rest))
    text = config.get("text_config", config)
    names = ("n_routed_experts", "num_local_experts", "num_experts")
    experts = next((text[name] for name in names if name in text), 1)
    routed = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    every = sum(p.numel() for p in model.parameters())
    active = every - routed + routed * text.get("num_experts_per_tok", 1) / experts
    return every / 1e9, active / 1e9, (active - model.get_input_embeddings().weight.numel()) / 1e9


@pytest.mark.parametrize(("name", "stated"), STATED.items(), ids=list(STATED))
def test_parameters_are_those_that_their_makers_state(name: str, stated: tuple[float, float | None]) -> None:
    file = resources.files("adaptbench.models") / "architectures" / f"{name}.json"
    every, active, without = counted(json.loads(file.read_text(encoding="utf-8"))["config"])
    assert every == pytest.approx(stated[0], rel=0.005)
    if stated[1] is not None:
        assert min(abs(one - stated[1]) for one in (active, without)) < 0.02 * stated[1]
