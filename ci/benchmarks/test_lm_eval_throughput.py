"""The logical suite's prompts through lm-eval's own model of transformers and through ours, in one process.

The same checkpoint (3 million parameters, a token a byte), the same requests, the same batch size and the same stop
rule; answers must be equal. With fixed demonstrations all prompts begin alike, and ours reads what they have in common
once. With fresh ones there is nothing to share, and both spend most of their time in the same matrix products: what
ours saves is padding, masks and the copying of keys and values for every token. Prompts of mixed length, 100 to 800
tokens, show padding most.

Beside each ratio stands its bound: what the ratio would be if ours decoded for nothing, so that only the first token of
each answer took time. With fixed demonstrations that leaves next to nothing, and the bound says little.
"""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lm_eval.api.instance import Instance

BATCH, ROUNDS = 12, 5
PROMPTS = {
    "fixed demonstrations": ["logical-gh(k=6,queries=36,replications=1,demonstrations=fixed)"],
    "fresh demonstrations": ["logical-gh(k=6,queries=36,replications=1,demonstrations=fresh)"],
    "mixed lengths": [f"logical-gh(k={k},queries=5,replications=1,demonstrations=fresh)" for k in range(2, 15, 2)],
}
"""What is asked -> the tasks that ask it; a demonstration is 50 to 60 tokens."""
LEAST = {"fixed demonstrations": 4.0, "fresh demonstrations": 1.25, "mixed lengths": 1.5}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with random weights, large enough that the most probable token stands out."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(
        hf.LlamaConfig(
            hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4, vocab_size=257,
            max_position_embeddings=2048, eos_token_id=0, bos_token_id=None,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": 0, **{letter: number for number, letter in enumerate(alphabet, start=1)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("llama")
    model.save_pretrained(folder)
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("what", PROMPTS)
def test_prompts_in_context(
    checkpoint: Path, side_by_side: Callable[..., Any], report: Callable[..., None], what: str
) -> None:
    import torch
    from adaptbench.adapters.lm_eval_export import ExportedTask
    from adaptbench.adapters.lm_eval_model import serve
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(1)
    requests = []
    for spec in PROMPTS[what]:
        task = ExportedTask.of(spec)
        task.build_all_requests()
        requests += task.instances
    random.Random(0).shuffle(requests)
    ours = serve(f"hf-lm:{checkpoint}", batch_size=BATCH)
    theirs = HFLM(pretrained=str(checkpoint), batch_size=BATCH, device="cpu")
    times = side_by_side(
        lambda: ours.generate_until(requests),
        lambda: theirs.generate_until(requests, disable_tqdm=True),
        rounds=ROUNDS,
    )
    assert times.our_result == times.their_result
    assert len(set(times.our_result)) > len(requests) // 4
    first_tokens = times.time(lambda: ours.generate_until([_first_token(request) for request in requests]))
    tokens = sorted(len(request.args[0].encode()) for request in requests)
    report(
        f"{len(requests)} prompts of {tokens[0]} to {tokens[-1]} tokens, {what}, lm-eval's HFLM",
        f"{min(times.ours):.2f} s",
        f"{min(times.theirs):.2f} s",
        f"{times.ratio():.2f}x (bound {min(times.theirs) / first_tokens:.2f})",
    )
    assert times.ratio() >= LEAST[what]


def _first_token(request: Instance) -> Instance:
    """The same request for an answer of one token."""
    short = copy.copy(request)
    text, wanted = request.args
    short.arguments = (text, {**wanted, "max_gen_toks": 1})
    return short
