"""A loaded LLaVA, Qwen-VL or InternVL serves one spec after the other, unless its network was changed in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.network_state import state_of
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.identity import BoundModel
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.planning import find_suite
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGINS = load_plugins()
BASES = ("tiny-llava", "tiny-qwen-vl", "tiny-internvl")


def prompt() -> Prompt:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return Prompt("Is there a red circle?", (image,), (image_digest(image),), 1)


@pytest.mark.parametrize("name", BASES)
def test_methods_leave_a_base_as_it_was(name: str) -> None:
    suite = map(parse, find_suite(PLUGINS, "token-reduction-shapes").models)
    one_of_each = {tuple(call.name for call in spec.methods): spec for spec in suite if spec.base.name == name}
    models = [plan_model(PLUGINS.registry, spec) for spec in one_of_each.values()]
    bound = [BoundModel(model, model.bind(seed=0, device="cpu")) for model in models]
    assert len(bound) >= 8
    base: Any = bound[0].base()
    for model in bound:
        again = base.as_loaded()
        assert again is not None
        made = model.on(model.common(again))
        assert base.shares_weights(made), model.model.spec
        made.answer([prompt()])
    assert base.as_loaded() is not None


def test_a_checkpoint_of_a_method_is_more_weights() -> None:
    model = plan_model(PLUGINS.registry, parse("tiny-llava+adallava-l@0.7"))
    bound = BoundModel(model, model.bind(seed=0, device="cpu"))
    base: Any = bound.base()
    assert not base.shares_weights(bound.on(bound.common(base.as_loaded())))
    assert base.as_loaded()._made is None, "what a spec has made is let go with it"


CHANGES: dict[str, Callable[[Any], object]] = {
    "weights": lambda network: network.lm_head.weight.data.mul_(1.5),
    "other weights": lambda network: setattr(network.lm_head, "weight", torch.nn.Parameter(torch.zeros(20, 16))),
    "a module": lambda network: setattr(network, "lm_head", torch.nn.Linear(16, 20)),
    "what runs": lambda network: setattr(network.model.layers[1], "forward", lambda hidden, **_: hidden),
    "a hook": lambda network: network.model.layers[0].register_forward_hook(lambda *_: None),
    "fewer blocks": lambda network: network.model.layers.pop(1),
    "attention": lambda network: network.set_attn_implementation("eager"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_network_in_place_is_seen(change: str) -> None:
    config = hf.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, vocab_size=20
    )
    network = hf.AutoModelForCausalLM.from_config(config).eval()
    before = state_of(network)
    with torch.inference_mode():
        network(torch.tensor([[1, 2]]))
    assert state_of(network) == before
    CHANGES[change](network)
    assert state_of(network) != before
