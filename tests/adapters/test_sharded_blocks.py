"""Blocks without a closed form on several accelerators: pairs of layers are found in what flows into what."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
from adaptbench.adapters.transformers_meta import Blueprint
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED, Operator, prefill
from adaptbench.harness.measure.parallel import Cards
from adaptbench.harness.measure.sharding import Node, shards
from adaptbench.harness.measure.traced import Layered
from adaptbench.harness.measure.traced_work import Kept
from adaptbench.harness.measure.work import Work
from hypothesis import given
from hypothesis import strategies as st

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50,
    "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_hidden_layers": 3,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
OPEN: dict[str, dict[str, Any]] = {
    "latent": {
        "model_type": "deepseek_v3", **TEXT, "head_dim": 4, "num_key_value_heads": 4, **EXPERTS, "n_routed_experts": 4,
        "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 8, "q_lora_rank": 8,
        "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4,
    },
    "states": {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 4},
    "mixed": {
        "model_type": "qwen3_next", **TEXT, **EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 16,
        "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    },
    "complex": {
        "model_type": "llama4_text", **TEXT, "num_local_experts": 4, "num_experts_per_tok": 1,
        "intermediate_size_mlp": 48, "interleave_moe_layer_step": 1, "attention_chunk_size": 64,
        "no_rope_layers": [1, 1, 0],
        "layer_types": ["chunked_attention", "chunked_attention", "full_attention"],
    },
}  # fmt: skip
CLOSED: dict[str, dict[str, Any]] = {
    "grouped": {"model_type": "llama", **TEXT},
    "tied": {"model_type": "gemma", **TEXT},
    "one-projection": {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 50},
    "no-gate": {"model_type": "opt", "hidden_size": 32, "ffn_dim": 48, "num_attention_heads": 4, "vocab_size": 50,
                "num_hidden_layers": 3, "word_embed_proj_dim": 32},
}  # fmt: skip
TOKENS = 12


@functools.cache
def blueprint_of(name: str) -> Blueprint:
    return Blueprint({**CLOSED, **OPEN}[name], name)


def block(name: str, place: int = 0) -> tuple[Operator, ...]:
    """The operators of a block as its modules run them."""
    return blueprint_of(name).traced.prompt(TOKENS).layers["prefill"][place]


def found(name: str, place: int = 0) -> dict[str, str]:
    return {one.module.removeprefix(f"layers.{place}."): one.shard for one in block(name, place) if one.weights}


def whole(name: str) -> Work:
    traced = blueprint_of(name).traced
    return dataclasses.replace(Work.whole(traced.outline(), text_tokens=TOKENS), traced=traced)


@pytest.mark.parametrize("cards", [2, 4])
@pytest.mark.parametrize("name", CLOSED)
def test_modules_are_shared_as_the_closed_form_is(name: str, cards: int) -> None:
    """Four cards outnumber the heads of keys of ``grouped``."""
    model, split = read_architecture(CLOSED[name]), Cards(tensor=cards)
    work = Work.whole(model, text_tokens=TOKENS)
    stack, execution = work.language
    closed = [one for one in prefill(model, execution, COUNTED) if one.place == 0]
    every = []
    for operators in (closed, block(name)):
        shares = [split.share(one, stack) for one in operators]
        weights = sum(one.weights for one in shares if one.name != "addmm")  # which adds a bias
        every.append((sum(one.flops for one in shares), split.sent(operators, [0, 0, 0]), weights))
    without = every[1][2] == 0  # all of its layers add one, so that weights cannot be compared
    assert every[1] == (*every[0][:2], 0 if without else every[0][2])


def test_latents_run_whole() -> None:
    whole = {"self_attn.q_a_proj", "self_attn.kv_a_proj_with_mqa", "mlp.gate"}
    dense, routed = found("latent"), found("latent", 2)
    assert {path for path, shard in (dense | routed).items() if shard == "whole"} == whole
    assert {path for path, shard in dense.items() if shard == "row"} == {"self_attn.o_proj", "mlp.down_proj"}
    assert routed["mlp.shared_experts.down_proj"] == "row"


def test_a_block_sums_twice_whatever_its_experts_are() -> None:
    """Routed and shared experts are added before they are summed over the cards."""
    for place in (0, 2):
        assert [one.summed for one in block("latent", place) if one.summed] == [TOKENS * 32] * 2


def test_layers_of_states_are_shared_by_channels() -> None:
    """What selects is narrow and read by all channels: one more sum, of its own outputs."""
    operators = block("states")
    rows = {path for path, shard in found("states").items() if shard == "row"}
    assert rows == {"mixer.x_proj", "mixer.out_proj"}
    assert {one.shard for one in operators if not one.weights or one.name == "convolution"} == {"inside"}
    selects = next(one for one in operators if one.path.endswith("x_proj"))
    assert [one.summed for one in operators if one.summed] == [selects.written, TOKENS * 32]


def test_linear_attention_next_to_attention() -> None:
    linear, full = found("mixed"), found("mixed", 1)
    assert linear["linear_attn.out_proj"] == full["self_attn.o_proj"] == "row"
    assert full["self_attn.k_proj"] == "keys"
    assert full["mlp.shared_expert_gate"] == full["mlp.gate"] == "whole"


@pytest.mark.parametrize("name", ["grouped", "tied", "latent", "mixed", "complex"])
def test_pairs_are_those_of_the_plan_that_transformers_states(name: str) -> None:
    """Where it shares a linear layer; it leaves the attention of ``latent`` whole."""
    styles = {"colwise": {"column", "keys"}, "rowwise": {"row"}}
    plan = {path.rpartition("layers.*.")[2]: style for path, style in blueprint_of(name).model._tp_plan.items()}
    ways = {path: shard for place in range(3) for path, shard in found(name, place).items()}
    stated = {path: style for path, style in plan.items() if style in styles and path in ways}
    assert len(stated) >= 6
    assert all(ways[path] in styles[style] for path, style in stated.items())


def test_queries_are_followed_through_complex_rotation() -> None:
    assert found("complex")["self_attn.q_proj"] == "column"


def test_weights_of_a_card() -> None:
    """All but latents, norms, routers and biases is halved; two of the three blocks are on the first of two stages."""
    parameters = {name: one.numel() for name, one in blueprint_of("latent").model.named_parameters()}
    kept = ("norm", "q_a_proj", "kv_a_proj", "gate.weight")

    def weights(**cards: int) -> int:
        return whole("latent").memory(COUNTED, 1, cards=Cards(**cards)).weights

    halved = sum(size if any(part in name for part in kept) else size // 2 for name, size in parameters.items())
    assert (weights(), weights(tensor=2)) == (sum(parameters.values()), halved)
    last = [name for name in parameters if ("layers.2" in name or "lm_head" in name) and "norm" not in name]
    assert weights(pipeline=2) == sum(parameters.values()) - sum(parameters[name] for name in last)


def test_keys_values_and_states_of_a_card() -> None:
    def cached(name: str, tensor: int) -> int:
        return whole(name).memory(COUNTED, 1, cards=Cards(tensor=tensor)).cached

    assert cached("latent", 2) == cached("latent", 1) == 3 * TOKENS * (8 + 4)  # each card has all latents
    keys = 2 * 2 * 8 * TOKENS
    states = cached("mixed", 1) - keys
    assert cached("mixed", 4) == keys // 2 + states // 4  # two heads of keys: one on each card
    assert cached("states", 4) == cached("states", 1) // 4


class Unknown:
    """A model whose blocks have no pairs of layers."""

    parameters, active, table = 27, 27, 0

    def prompt(self, tokens: int) -> Layered:
        layers = [(Operator("prefill", f"layers.{n}", "mm", 2 * tokens, 9, tokens, tokens),) for n in range(3)]
        return Layered({}, {"prefill": tuple(layers)})

    def logits(self, tokens: int) -> int:
        return tokens

    def kept(self, tokens: int) -> Kept:
        return Kept(())


def test_blocks_that_are_not_understood_are_staged_but_not_shared() -> None:
    lone = dataclasses.replace(Work.whole(read_architecture(CLOSED["grouped"]), text_tokens=TOKENS), traced=Unknown())
    with pytest.raises(UserError, match="how the blocks of a llama are shared is not known here"):
        lone.memory(COUNTED, 1, cards=Cards(tensor=2))
    assert lone.memory(COUNTED, 1, cards=Cards(pipeline=2)).weights == 2 * 9


@st.composite
def flows(draw: st.DrawFn) -> dict[int, Node]:
    """Operators that read what ran before them."""
    nodes: dict[int, Node] = {}
    for place in range(draw(st.integers(1, 8))):
        linear = [before for before, node in nodes.items() if node.linear]
        follows = frozenset(draw(st.lists(st.sampled_from(linear), max_size=3))) if linear else frozenset()
        nodes[place] = Node(follows, draw(st.booleans()), draw(st.booleans()), draw(st.integers(1, 9)))
    return nodes


@given(flows())
def test_what_reads_a_share_is_a_share(nodes: dict[int, Node]) -> None:
    ways = shards(nodes, [])
    sharded = {place for place, (how, _) in ways.items() if how in ("column", "keys")}
    for place, node in nodes.items():
        how, summed = ways[place]
        assert (how in ("row", "inside")) == bool(node.follows & sharded)
        assert bool(summed) == (how == "row")
        if how in ("column", "keys"):
            assert any(place in other.follows for other in nodes.values() if other.linear)
