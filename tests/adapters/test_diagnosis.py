"""What is said of checkpoints that cannot be loaded: what they are, and what helps."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.adapters.diagnosis import diagnose, quantisation
from adaptbench.adapters.loading import load_tokenizer
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.errors import UserError
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONFIG = {"config.json": {"model_type": "llama"}}
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
CODE = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
EMPTY = b"\x02\0\0\0\0\0\0\0{}"
"""A file of safetensors that holds nothing."""


def written(folder: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


@pytest.mark.parametrize(
    ("files", "what", "todo"),
    [
        ({}, "it has no config.json", "save_pretrained"),
        ({"a.gguf": b"", "b.gguf": b""}, "no config.json but GGUF files", r"hf-lm:.*/a\.gguf"),
        ({"adapter_config.json": {}, "adapter_model.safetensors": EMPTY}, "it is an adapter", "merge"),
        ({"config.json": b"{"}, "its config.json is not a JSON object", "again"),
        ({"config.json": [1]}, "its config.json is not a JSON object", "again"),
        ({"config.json": {"hidden_size": 8}}, "names no model_type", "save it again"),
        ({"config.json": {"model_type": "own", "auto_map": CODE}}, "a own is defined by code", "-hf"),
        ({"config.json": {"model_type": "llama9"}}, r"transformers 5\S+ knows no model type 'llama9'", "newer"),
        (CONFIG, r"no model\.safetensors, and no other weights", "again"),
        ({**CONFIG, "pytorch_model.bin": b""}, r"only pickled weights \(pytorch_model\.bin\)", "trust"),
        ({**CONFIG, "pytorch_model-00001-of-00002.bin": b""}, "only pickled weights", "trust"),
        ({**CONFIG, "model.gguf": b""}, r"no model\.safetensors but GGUF files", r"hf-lm:.*/model\.gguf"),
        ({**CONFIG, "tf_model.h5": b""}, "only weights of TensorFlow", "from PyTorch"),
        ({**CONFIG, "model.fp16.safetensors": EMPTY}, r"but model\.fp16\.safetensors", "rename"),
        ({**CONFIG, "adapter_model.safetensors": EMPTY}, "only an adapter", "merge"),
        (
            {**CONFIG, "model.safetensors.index.json": INDEX, "model-00001-of-00002.safetensors": EMPTY},
            r"of its 2 files of weights model-00002-of-00002\.safetensors is missing",
            "again",
        ),
        ({**CONFIG, "model.safetensors.index.json": INDEX}, "00001.* and 1 more is missing", "again"),
        ({**CONFIG, "model.safetensors.index.json": b"{"}, "names no files", "again"),
        ({**CONFIG, "model-00001-of-00001.safetensors": EMPTY}, "1 files of weights and no .*index", "again"),
        ({**CONFIG, "model.safetensors": EMPTY[:9]}, "cut off or spoilt", "again"),
        ({**CONFIG, "model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "LFS", "lfs pull"),
        (
            {
                "config.json": {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}},
                "model.safetensors": EMPTY,
            },
            r"quantised \(gptq, 4 bits\): SAID",
            "were made of",
        ),
        ({**CONFIG, "model.safetensors": EMPTY}, "cannot load it: SAID", "transformers alone"),
    ],
)  # fmt: skip
def test_a_folder_is_told_for_what_it_is(tmp_path: Path, files: Mapping[str, Any], what: str, todo: str) -> None:
    found = diagnose(written(tmp_path, files), "SAID")
    assert re.search(what, found.what)
    assert re.search(todo, found.todo)


@pytest.mark.parametrize(
    ("config", "how"),
    [
        ({}, ""),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq, 4 bits"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes, 8 bits"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization": {"bits": 4}, "quantization_config": {"bits": 4}}, "MLX, 4 bits"),
    ],
)
def test_how_weights_were_quantised(config: Mapping[str, Any], how: str) -> None:
    assert quantisation(config) == how


@pytest.fixture
def llama(language: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(language("llama"), tmp_path / "llama")


def said(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        HFCausalLM(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(folder: Path, **fields: Any) -> Path:
    config = json.loads((folder / "config.json").read_text()) | fields
    return written(folder, {"config.json": config})


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_quantised_weights_whose_library_is_not_there(llama: Path, method: str) -> None:
    config = {"quant_method": method, "bits": 4, "load_in_4bit": True}
    message = said(changed(llama, quantization_config=config))
    assert f"its weights are quantised ({method}, 4 bits)" in message
    assert "pip install" in message
    assert "adaptbench[torch]" not in message


def test_a_library_that_a_model_needs_is_named(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_options: object) -> None:
        raise ImportError("It requires the timm library. You can install it with pip:\n`pip install timm`")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", missing)
    assert "cannot load it: It requires the timm library" in said(llama)
    assert said(llama).endswith("; install what it asks for")


@pytest.mark.parametrize("told", [True, False])
def test_codes_are_never_taken_for_weights(llama: Path, told: bool) -> None:
    """transformers would read the codes of an unknown method as if they were the weights."""
    weights, name = load_file(llama / "model.safetensors"), "model.layers.0.mlp.up_proj.weight"
    scale = weights[name].abs().max() / 448
    weights[name] = (weights[name] / scale).to(torch.float8_e4m3fn)
    save_file({**weights, f"{name}_scale": scale}, llama / "model.safetensors", {"format": "pt"})
    if told:
        changed(llama, quantization_config={"quant_method": "modelopt", "quant_algo": "FP8"})
    message = said(llama)
    assert (
        "its weights are quantised (modelopt)" in message if told else f"{name}_scale is stored beside them" in message
    )
    assert "does not know how to read them" in message


def test_weights_of_another_shape(llama: Path) -> None:
    message = said(changed(llama, intermediate_size=40))
    assert re.search(
        r"its weights model\.layers\.0\.mlp\.down_proj\.weight are \[\d+, \d+\], and \[\d+, 40\] by its", message
    )


@pytest.mark.parametrize(
    ("kind", "files", "what"),
    [
        ("gpt2", {}, "it has no tokenizer: none of tokenizer.json, tokenizer.model, vocab.json, vocab.txt"),
        ("llama", {}, "it has no tokenizer: none of tokenizer.json"),
        ("llama", {"tokenizer.json": b"{}"}, "its tokenizer cannot be loaded"),
        ("llama", {"tokenizer.model": b"x"}, "tokenizer.model cannot be read without sentencepiece; pip install"),
        ("gpt2", {"vocab.json": {"a": 0}, "merges.txt": b"#v\n"}, "its tokenizer cannot be loaded: Error while init"),
        (
            "llama",
            {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["own.Own", None]}}},
            "code that comes with",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_loaded(tmp_path: Path, kind: str, files: Mapping[str, Any], what: str) -> None:
    written(tmp_path, {"config.json": {"model_type": kind}, **files})
    with pytest.raises(UserError) as caught:
        load_tokenizer(tmp_path, "here")
    assert what in str(caught.value)


def test_a_vocabulary_of_lines_is_a_tokenizer(tmp_path: Path) -> None:
    config = {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}
    words = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"])
    tokenizer = load_tokenizer(written(tmp_path, {**config, "vocab.txt": words.encode()}), "here")
    assert tokenizer("the cat").input_ids == [2, 5, 6, 3]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_transformers_dequantises_are_read_and_it_is_said(llama: Path, dtype: str) -> None:
    """It leaves them in the type of their scales, whatever type is asked for."""
    weights = load_file(llama / "model.safetensors")
    for name in [name for name in weights if name.endswith("proj.weight")]:
        scale = weights[name].abs().max() / 448
        codes = (weights[name] / scale).to(torch.float8_e4m3fn)
        weights |= {name: codes, f"{name}_scale_inv": scale.reshape(1, 1)}
    save_file(weights, llama / "model.safetensors", {"format": "pt"})
    changed(llama, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    model = HFCausalLM(str(llama), dtype=dtype)
    assert model.notes == ("weights quantised (fp8)",)
    name = "model.layers.0.mlp.up_proj.weight"
    wanted = weights[name].float() * weights[f"{name}_scale_inv"]
    assert torch.allclose(dict(model.module.named_parameters())[name].float(), wanted, rtol=0.01)
    assert {weight.dtype for weight in model.module.parameters()} == {getattr(torch, dtype)}
