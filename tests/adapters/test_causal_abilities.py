"""Models whose caches hold more than keys and values, or none at all: each row comes to what it comes to alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters.causal_abilities import Abilities
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 257, "eos_token_id": 0, "pad_token_id": 0}
NARROW = WIDTH | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32}
MAMBA = {"mamba_d_state": 8, "mamba_expand": 2}
MAMBA2 = MAMBA | {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_chunk_size": 8}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MIXED = ["linear_attention", "full_attention"]
LINEAR = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}

FAMILIES: dict[str, Callable[[], Any]] = {
    "lfm2": lambda: hf.Lfm2Config(**NARROW, layer_types=["conv", "full_attention"]),
    "bamba": lambda: hf.BambaConfig(**NARROW, **MAMBA2, attn_layer_indices=[1]),
    "jamba": lambda: hf.JambaConfig(
        **NARROW, **MAMBA, attn_layer_period=2, attn_layer_offset=1, num_experts=4, mamba_dt_rank=4
    ),
    "granitemoehybrid": lambda: hf.GraniteMoeHybridConfig(
        **NARROW, **MAMBA2, **EXPERTS, layer_types=MIXED, shared_intermediate_size=32
    ),
    "falcon_h1": lambda: hf.FalconH1Config(**NARROW, **MAMBA2, mamba_d_ssm=64),
    "zamba2": lambda: hf.Zamba2Config(
        **NARROW, mamba_d_state=8, n_mamba_heads=8, chunk_size=8, layers_block_type=["linear_attention", "hybrid"]
    ),
    "qwen3_next": lambda: hf.Qwen3NextConfig(
        **NARROW, **LINEAR, layer_types=MIXED, head_dim=8, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=16, shared_expert_intermediate_size=16,
    ),
    "minimax": lambda: hf.MiniMaxConfig(**NARROW, **EXPERTS, head_dim=8, layer_types=MIXED),
    "recurrent_gemma": lambda: hf.RecurrentGemmaConfig(**NARROW | {"num_hidden_layers": 3}, lru_width=32),
    "mamba": lambda: hf.MambaConfig(**WIDTH, state_size=4, time_step_rank=4),
    "rwkv": lambda: hf.RwkvConfig(**WIDTH, attention_hidden_size=32),
    "openai-gpt": lambda: hf.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=4, vocab_size=257),
    "bart": lambda: hf.BartConfig(
        d_model=32, decoder_layers=2, encoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=32, vocab_size=257,
        is_decoder=True, is_encoder_decoder=False,
    ),
}  # fmt: skip
BEGINNING = "".join(f"in: {a}\nout: {b}\n" for a, b in ("ab", "cd", "ef"))
ASKED = {
    "alike": [BEGINNING + end for end in ("in: one two", "in: é", "in: a", "in: it is so")],
    "apart": ["in: one two\nout:", "so", "what is it then?", "and now to 12", "ends"],
}


def save(config: Any, folder: Path, tokenizer: Any) -> Path:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "A_log" not in name:  # which says how long a state lasts
                weight.normal_(std=0.3)
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_says_what_the_library_says_of_each_prompt_alone(family, tokenizer, tmp_path):
    model = HFCausalLM(str(save(FAMILIES[family](), tmp_path, tokenizer)))
    for texts in ASKED.values():
        prompts, pairs = [Prompt(text, max_new_tokens=5) for text in texts], [(text, " pie") for text in texts]
        answers, wanted = model.generate(prompts), [alone(model.module, tokenizer, text) for text in texts]
        assert answers == [answer for answer, _ in wanted]
        assert len(set(answers)) > 1
        found = [logprob for logprob, _ in model.loglikelihood(pairs)]
        assert found == pytest.approx([logprob for _, logprob in wanted], rel=1e-4)


def alone(model: Any, tokenizer: Any, text: str) -> tuple[str, float]:
    """What stock ``generate`` answers, and the log-probability of " pie"."""
    ids, pie = tokenizer(text, return_tensors="pt").input_ids, tokenizer(" pie", return_tensors="pt").input_ids
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        logits = model(torch.cat([ids, pie[:, :-1]], dim=1)).logits[0, ids.shape[1] - 1 :].log_softmax(-1)
    return tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True), logits.gather(1, pie.T).sum().item()


@pytest.mark.parametrize(
    ("family", "expected", "note"),
    [
        ("lfm2", {"reads": "any", "answers": "any", "steps": True, "drops": True, "shares": False}, ""),
        ("minimax", {"reads": "equal", "answers": "equal", "steps": True, "shares": False}, "of their own length only"),
        ("rwkv", {"reads": "equal", "answers": "none", "steps": False}, "one by one"),
        ("bart", {"reads": "any", "answers": "equal", "steps": True, "shares": False}, "of their own length only"),
    ],
)
def test_what_a_model_cannot_do_together_it_does_not_and_says_so(family, expected, note, tokenizer, tmp_path):
    model = HFCausalLM(str(save(FAMILIES[family](), tmp_path, tokenizer)))
    abilities = model._loaded.abilities
    assert {name: getattr(abilities, name) for name in expected} == expected
    assert len(model.notes) == bool(note)
    assert note in "".join(model.notes)


def test_states_of_rounded_numbers_are_not_padded(tokenizer, tmp_path):
    folder = save(FAMILIES["lfm2"](), tmp_path, tokenizer)
    assert HFCausalLM(str(folder), dtype="bfloat16")._loaded.abilities.answers == "equal"


def places(found: Any) -> list[list[int]]:
    return list(found)


def test_rows_go_together_as_far_as_their_lengths_may_differ():
    able = Abilities("any", "any", steps=True, drops=True, shares=True, max_tokens=30)
    assert places(able.answered_together([10, 20, 12, 11], [5] * 4)) == [[0, 3, 2], [1]]
    assert places(able.answered_together([26, 25, 26, 28], [5] * 4)) == [[1], [0, 2], [3]]
    assert places(able.read_together([31, 31, 29, 30])) == [[2, 3], [0, 1]]
    equal = Abilities("equal", "none", steps=False, drops=False, shares=False)
    assert places(equal.read_together([3, 2, 3])) == [[1], [0, 2]]
    assert places(equal.answered_together([3, 2, 3], [1] * 3)) == [[1], [0], [2]]
    assert places(equal.read_together([])) == []


def test_a_rotation_that_turns_with_the_longest_row_is_not_met_in_a_batch(tokenizer, tmp_path):
    """LongRoPE turns all rows of a batch otherwise as soon as one is beyond the original length."""
    ropes = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [9.0] * 4, "rope_theta": 1e4}
    config = hf.Phi3Config(
        **NARROW, max_position_embeddings=256, original_max_position_embeddings=40,
        rope_parameters={**ropes, "original_max_position_embeddings": 40},
    )  # fmt: skip
    model = HFCausalLM(str(save(config, tmp_path, tokenizer)))
    texts = ["a" * 38, "b" * 39, "c" * 40, "d" * 41, "e" * 42, "f" * 30]
    wanted = [alone(model.module, tokenizer, text) for text in texts]
    assert model.generate([Prompt(text, max_new_tokens=5) for text in texts]) == [answer for answer, _ in wanted]
    found = [logprob for logprob, _ in model.loglikelihood([(text, " pie") for text in texts])]
    assert found == pytest.approx([logprob for _, logprob in wanted], rel=1e-4)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (hf.BertConfig(**WIDTH, num_attention_heads=2), "the output of a bert for a token depends on later tokens"),
        (
            hf.ReformerConfig(is_decoder=True, axial_pos_embds=False, attn_layers=["lsh", "local"], vocab_size=257),
            "a reformer gives a different answer to the same text each time",
        ),
    ],
)
def test_what_is_no_causal_language_model_is_refused(config, why, tokenizer, tmp_path):
    with pytest.raises(UserError, match=f"{why}; name a causal language model"):
        HFCausalLM(str(save(config, tmp_path, tokenizer)))


def test_what_cannot_read_a_text_by_itself_is_refused(own_language, monkeypatch):
    folder = own_language("llama")

    def forward(*_args: Sequence[Any], **_options: Any) -> None:
        raise ValueError("images are needed\nas well")

    monkeypatch.setattr(hf.LlamaForCausalLM, "forward", forward)
    with pytest.raises(UserError, match="a llama cannot read a text alone: images are needed as well; try"):
        HFCausalLM(str(folder))
