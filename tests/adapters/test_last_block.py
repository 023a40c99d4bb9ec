"""What is not asked of the last block is not computed, and what is said and kept stays the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters import installed, last_block
from adaptbench.adapters.causal_abilities import abilities
from adaptbench.adapters.causal_reading import Reader, Reading, right_padded
from adaptbench.adapters.last_block import LastBlock
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 200, "num_attention_heads": 4, "pad_token_id": 0}
NARROW = WIDTH | {"intermediate_size": 64, "max_position_embeddings": 64}
GROUPED = NARROW | {"num_key_value_heads": 2}
SHORT: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "llama": (lambda: hf.LlamaConfig(**GROUPED), {"q_proj", "o_proj", "mlp"}),
    "gpt_neox": (lambda: hf.GPTNeoXConfig(**NARROW), {"dense", "mlp"}),
    "gpt2": (lambda: hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=200), {"c_proj", "mlp"}),
    "opt": (lambda: hf.OPTConfig(**WIDTH, ffn_dim=64, word_embed_proj_dim=32), {"q_proj", "out_proj"}),
    "gemma2": (lambda: hf.Gemma2Config(**GROUPED, head_dim=8), {"q_proj", "o_proj", "mlp"}),
    "mixtral": (lambda: hf.MixtralConfig(**GROUPED, num_local_experts=4), {"q_proj", "o_proj", "mlp"}),
    "lfm2": (lambda: hf.Lfm2Config(**GROUPED, layer_types=["full_attention", "conv"]), {"out_proj", "feed_forward"}),
}
ROWS = [[5, 60, 7, 118, 9, 31], [44, 3, 12, 80], [6, 6, 90, 2, 77]]


def reader_of(config: Any) -> Reader:
    torch.manual_seed(0)
    reader = Reader(hf.AutoModelForCausalLM.from_config(config).eval())
    for weight in reader.model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    abilities(reader, range(1, 200), "here")
    return reader


def parts(reader: Reader) -> set[str]:
    assert reader.last_block is not None
    names = {module: name.rpartition(".")[2] for name, module in reader.model.named_modules()}
    return {names[part] for part in reader.last_block.parts}


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", SHORT)
def test_what_is_asked_and_what_is_kept_are_the_same(family: str) -> None:
    config, expected = SHORT[family]
    reader = reader_of(config())
    assert parts(reader) == expected
    rows = right_padded([row[:4] for row in ROWS] if family == "lfm2" else ROWS, "cpu")
    for keep in ([[3], [2], [1]], [[1, 3], [0, 2], [2, 2]]):
        logits, past = reader.read(rows, keep=keep, cached=True)
        wanted, whole = reader.read(rows, keep=keep, cached=True, whole=True)
        everything, _ = reader.read(rows)
        places = torch.tensor(keep)[..., None].expand(-1, -1, 200)
        assert torch.allclose(wanted, everything.gather(1, places), atol=1e-4)
        assert torch.allclose(logits, wanted, atol=1e-4)
        pairs = zip(installed.states(past.cache), installed.states(whole.cache), strict=True)
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)
        steps = [Reading(reader, read).step(torch.tensor([8, 9, 10])) for read in (past, whole)]
        assert torch.allclose(*steps, atol=1e-4)
    assert not hooks(reader.model)


def test_the_last_block_runs_once_a_row_and_for_others_in_full() -> None:
    reader = reader_of(hf.LlamaConfig(**GROUPED))
    rows, keep = right_padded([ROWS[0]], "cpu"), [[5]]
    whole = flops(lambda: reader.model(rows.ids, logits_to_keep=1))
    assert flops(lambda: reader.read(rows, keep=keep, whole=True)) == whole
    # Five of six tokens: queries and output projection, 32 x 32 each, and a feed-forward of three 32 x 64.
    assert whole - flops(lambda: reader.read(rows, keep=keep)) == 5 * 2 * (2 * 32 * 32 + 3 * 32 * 64)
    assert flops(lambda: reader.model(rows.ids, logits_to_keep=1)) == whole


def test_nothing_is_left_behind_by_a_read_that_fails() -> None:
    reader = reader_of(hf.LlamaConfig(**GROUPED))
    rows = right_padded(ROWS, "cpu")
    with pytest.raises(IndexError):
        reader.read(rows, keep=[[9]] * 3)
    assert not hooks(reader.model)
    assert torch.isfinite(reader.model(rows.ids).logits).all()


class Blending(torch.nn.Module):
    """Says of a token the mean of what it and those before are."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Linear(32, 32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        count = torch.arange(1, hidden.shape[1] + 1)[:, None]
        return self.matrix(hidden).cumsum(dim=1) / count


def test_what_other_tokens_look_at_runs_for_all() -> None:
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)).eval()
    model.model.layers[-1].mlp = Blending()
    ids, places = torch.tensor([ROWS[0], ROWS[0][::-1]]), torch.tensor([[2, 5], [3, 4]])
    wanted = model(ids).logits[torch.arange(2)[:, None], places]

    def same(block: LastBlock) -> bool:
        with block.only_for(places, 6):
            return torch.allclose(model(ids).logits, wanted, atol=1e-5)

    found = last_block.find(model, lambda: model(ids), (2, 6), same)
    assert found == LastBlock(model.lm_head)  # even queries: what becomes of those of other tokens is blended
    model.set_output_embeddings(None)
    with pytest.raises(ValueError, match="its head"):
        last_block.find(model, lambda: model(ids), (2, 6), same)


def test_a_prefill_that_is_timed_runs_what_is_counted(language: Callable[[str], Path]) -> None:
    model = HFCausalLM(str(language("llama")))
    [answer] = model.answer([Prompt("input: a b", max_new_tokens=1)])
    ids = torch.ones(1, answer.cost.text_tokens, dtype=torch.long)
    assert flops(model.prefill([Prompt("input: a b")])) == flops(lambda: model.module(ids, logits_to_keep=1))
