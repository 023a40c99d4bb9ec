"""GGUF files, written with the library that llama.cpp writes them with: answers are those of the same weights."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters import gguf_files
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from tokenizers import pre_tokenizers

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [Prompt(text, max_new_tokens=6) for text in ("the cat", "a", "no: it is 1, 2, 3")]


@pytest.fixture(scope="module")
def stock() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = hf.Qwen2Config(**sizes, num_key_value_heads=2, vocab_size=260, max_position_embeddings=128)
    model = hf.Qwen2ForCausalLM(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.fixture(scope="module")
def files(stock: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Type of the tensors -> file."""
    folder = tmp_path_factory.mktemp("gguf")
    kinds = ("F32", "Q8_0")
    for kind in kinds:
        write(stock, folder / f"{kind}.gguf", gguf.GGMLQuantizationType[kind])
    return {kind: folder / f"{kind}.gguf" for kind in kinds}


def write(model: Any, file: Path, kind: gguf.GGMLQuantizationType) -> None:
    config, writer = model.config, gguf.GGUFWriter(file, "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    letters = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(letters)
    writer.add_token_types([3, *[1] * (len(letters) - 1)])
    writer.add_token_merges(["t h", "th e"])
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        stem, _, suffix = name.rpartition(".")
        own = kind if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        values = gguf.quants.quantize(tensor.numpy().astype(np.float32), own)
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", values, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def answers(model: Any, tokenizer: Any) -> list[str]:
    said = []
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt.text).input_ids])
        out = model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=0, pad_token_id=0)[0, ids.shape[1] :]
        said.append(tokenizer.decode(out, skip_special_tokens=True))
    return said


def test_answers_and_likelihoods_are_those_of_the_weights(stock: Any, files: dict[str, Path], capfd: Any) -> None:
    model = HFCausalLM(str(files["F32"]))
    assert capfd.readouterr().err == ""
    tokenizer = model._loaded.tokenizer
    assert len(tokenizer("the").input_ids) == 1
    assert (model.context, model.notes) == (128, ())
    assert model.generate(PROMPTS) == answers(stock, tokenizer)
    with torch.inference_mode():
        logits = stock(torch.tensor([tokenizer("the cat").input_ids])).logits[0, -2].log_softmax(-1)
    [(found, _)] = model.loglikelihood([("the ca", "t")])
    assert found == pytest.approx(logits[tokenizer("t").input_ids[0]].item(), rel=1e-4)


def test_quantised_weights_are_dequantised_and_it_is_said(stock: Any, files: dict[str, Path]) -> None:
    model = HFCausalLM(str(files["Q8_0"]))
    assert model.notes == ("GGUF weights (Q8_0) dequantised to float32",)
    rounded, kind = copy.deepcopy(stock), gguf.GGMLQuantizationType.Q8_0
    for weight in rounded.parameters():
        if weight.ndim == 2:
            codes = gguf.quants.quantize(weight.detach().numpy(), kind)
            weight.data = torch.from_numpy(gguf.quants.dequantize(codes, kind))
    assert model.generate(PROMPTS) == answers(rounded, model._loaded.tokenizer)
    pair = ("the cat", " sat")
    [(whole, _)], [(found, _)] = HFCausalLM(str(files["F32"])).loglikelihood([pair]), model.loglikelihood([pair])
    assert found != whole
    assert math.isclose(found, whole, rel_tol=0.02)


def test_another_file_has_another_fingerprint(files: dict[str, Path]) -> None:
    prints = [HFCausalLM.fingerprint(str(file)) for file in files.values()]
    assert len(set(prints)) == 2
    assert prints[0] == HFCausalLM.fingerprint(str(files["F32"]))


def test_what_cannot_be_read_is_told(files: dict[str, Path], tmp_path: Path, monkeypatch: Any) -> None:
    content = files["F32"].read_bytes()
    for spoilt, why in (
        (b"", "cannot load it"),
        (b"hello" * 20, "magic"),
        (content[:3000], "cannot load it"),
        (content[:-20000], "cannot load it"),
        (content.replace(b"qwen2", b"other"), "architecture other is not supported"),
    ):
        file = tmp_path / "spoilt.gguf"
        file.write_bytes(spoilt)
        with pytest.raises(UserError, match=f"{why}.*; give a whole GGUF file of an architecture that transformers"):
            HFCausalLM(str(file))
    with pytest.raises(UserError, match="there is no such file"):
        HFCausalLM(str(tmp_path / "gone.gguf"))
    monkeypatch.setattr(gguf_files, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"pip install 'adaptbench\[gguf\]'"):
        HFCausalLM(str(files["F32"]))
