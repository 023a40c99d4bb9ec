"""The logical suite's prompts through lm-eval's own model of transformers and through ours, in one process.

The same checkpoint (3 million parameters, a token a byte), the same requests, the same batch size and the same
stop rule; answers must be equal. Prompts are about 350 tokens. With fixed demonstrations all of them begin alike, and
ours reads what they have in common once a batch. With fresh ones there is nothing to share, and both spend nine tenths
of their time in the same matrix products: what ours saves is the copying of keys and values for every token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUERIES, BATCH, ROUNDS = 36, 12, 5
SPEC = "logical-gh(k=6,queries={},replications=1,demonstrations={})"


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


@pytest.mark.parametrize(("demonstrations", "least"), [("fixed", 2.0), ("fresh", 1.0)])
def test_prompts_in_context(
    checkpoint: Path, side_by_side: Callable[..., Any], report: Callable[..., None], demonstrations: str, least: float
) -> None:
    import torch
    from adaptbench.adapters.lm_eval_export import ExportedTask
    from adaptbench.adapters.lm_eval_model import serve
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(1)
    task = ExportedTask.of(SPEC.format(QUERIES, demonstrations))
    task.build_all_requests()
    requests = task.instances
    ours = serve(f"hf-lm:{checkpoint}", batch_size=BATCH)
    theirs = HFLM(pretrained=str(checkpoint), batch_size=BATCH, device="cpu")
    times = side_by_side(
        lambda: ours.generate_until(requests),
        lambda: theirs.generate_until(requests, disable_tqdm=True),
        rounds=ROUNDS,
    )
    assert times.our_result == times.their_result
    assert len(set(times.our_result)) > QUERIES // 4
    tokens = sum(len(request.args[0].encode()) for request in requests) // len(requests)
    report(
        f"{len(requests)} prompts of {tokens} tokens, {demonstrations} demonstrations, lm-eval's HFLM",
        f"{min(times.ours):.2f} s",
        f"{min(times.theirs):.2f} s",
        f"{times.ratio():.2f}x",
    )
    assert times.ratio() >= least
