"""Adapters that peft saved: equal to peft's own answers, and never put on what they do not fit."""

from __future__ import annotations

import copy
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import peft
import pytest
import torch
import transformers as hf
from adaptbench.adapters.peft_folder import adapted, fingerprint, read_adapter
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QV = ["q_proj", "v_proj"]
LORA = {
    "plain": peft.LoraConfig(target_modules=QV, r=4),
    "patterns": peft.LoraConfig(
        target_modules=QV, r=4, use_rslora=True, rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 3}
    ),
    "dora": peft.LoraConfig(target_modules=QV, r=4, use_dora=True, bias="all"),
    "head": peft.LoraConfig(target_modules=QV, r=4, modules_to_save=["lm_head"]),
    "ia3": peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
}
MERGED = {
    "oft": peft.OFTConfig(target_modules=QV, r=0, oft_block_size=4),
    "vera": peft.VeraConfig(target_modules=["q_proj", "o_proj"], r=4),
    "tokens": peft.TrainableTokensConfig(token_indices=[3, 4]),
}
IDS = torch.tensor([[4, 9, 2, 31, 7, 101]])
PROMPTS = [Prompt("one two", max_new_tokens=5), Prompt("The cat sat on the mat", max_new_tokens=5)]


def save(stock: Any, config: Any, folder: Path) -> Any:
    """Save an adapter that changes what a model says; return peft's model with it."""
    torch.manual_seed(1)
    model = peft.get_peft_model(stock, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "shared" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def llama(language: Callable[[str], Path]) -> HFCausalLM:
    return HFCausalLM(str(language("llama")))


@pytest.fixture(scope="module")
def stock(language: Callable[[str], Path]) -> Callable[[], Any]:
    loaded = hf.AutoModelForCausalLM.from_pretrained(language("llama")).eval()
    return lambda: copy.deepcopy(loaded)


@pytest.fixture
def lora(stock: Callable[[], Any], tmp_path: Path) -> Path:
    """A LoRA of the llama's, to be changed."""
    save(stock(), LORA["plain"], tmp_path / "lora")
    return tmp_path / "lora"


@pytest.mark.parametrize("name", [*LORA, *MERGED])
def test_logits_are_those_of_peft_and_the_base_keeps_its_own(
    name: str, llama: HFCausalLM, stock: Callable[[], Any], tmp_path: Path
) -> None:
    theirs = save(stock(), (LORA | MERGED)[name], tmp_path)
    with torch.inference_mode():
        before = llama.network(IDS).logits
        expected = theirs(IDS).logits
        merged = adapted(llama.network, read_adapter(str(tmp_path)), merged=True)
        said = merged(IDS).logits
        assert torch.equal(said.argmax(-1), expected.argmax(-1))
        torch.testing.assert_close(said, expected, rtol=0, atol=2e-5)
        assert {type(module) for module in merged.modules()} == {type(module) for module in llama.network.modules()}
        if name in LORA:
            live = adapted(llama.network, read_adapter(str(tmp_path)), merged=False)
            assert torch.equal(live(IDS).logits, expected)
        assert torch.equal(llama.network(IDS).logits, before)
        assert not torch.equal(before, expected)


def test_answers_are_those_of_peft(llama: HFCausalLM, stock: Callable[[], Any], lora: Path) -> None:
    theirs = peft.PeftModel.from_pretrained(stock(), lora)
    for merged in (True, False):
        model = llama.with_network(adapted(llama.network, read_adapter(str(lora)), merged=merged))
        assert model.generate(PROMPTS) != llama.generate(PROMPTS)
        for prompt, answer in zip(PROMPTS, model.generate(PROMPTS), strict=True):
            ids = torch.tensor([model._ids(prompt.text)])
            said = theirs.generate(input_ids=ids, do_sample=False, max_new_tokens=5)[0, ids.shape[1] :]
            assert answer == model._loaded.decoding.text(said.tolist(), prompt)


def test_a_gpt2_and_a_vit(
    language: Callable[[str], Path], saved: Callable[[str], Any], images: Any, tmp_path: Path
) -> None:
    gpt2 = hf.AutoModelForCausalLM.from_pretrained(language("gpt2")).eval()
    theirs = save(gpt2, peft.LoraConfig(target_modules=["c_attn"], r=4, fan_in_fan_out=True), tmp_path / "gpt2")
    model = HFCausalLM(str(language("gpt2")))
    vit = HFVisionEncoder(str(saved("vit").folder))
    before = vit.embed(images)
    peft_vit = save(hf.AutoModel.from_pretrained(saved("vit").folder).eval(), LORA["plain"], tmp_path / "vit")
    pixels = vit.prepare(images)["pixel_values"]
    with torch.inference_mode():
        expected = theirs(IDS).logits
        vectors = peft_vit(pixel_values=pixels).last_hidden_state[:, 0].numpy()
        for merged in (False, True):
            found = adapted(model.network, read_adapter(str(tmp_path / "gpt2")), merged=merged)(IDS).logits
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 if merged else 0)
            network = adapted(vit.network, read_adapter(str(tmp_path / "vit")), merged=merged)
            np.testing.assert_allclose(
                vit.with_network(network).embed(images), vectors, atol=1e-5 if merged else 0, rtol=0
            )
    assert np.array_equal(vit.embed(images), before)
    assert np.abs(before - vectors).max() > 1e-3


def change(lora: Path, tensors: Callable[[dict[str, Any]], Any] | None = None, **fields: Any) -> None:
    """Change the files of an adapter."""
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(config | fields))
    if tensors:
        save_file(tensors(load_file(lora / "adapter_model.safetensors")), lora / "adapter_model.safetensors")


def without(part: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("tensors", "fields", "said"),
    [
        (without("layers.1"), {}, r"lacks model\.layers\.1\.self_attn\.q_proj\.lora_A\.default\.weight and 3 more"),
        (renamed("layers.1", "layers.7"), {}, r"has model\.layers\.7\..* and 3 more, for which this Llama"),
        (lambda tensors: {name: 0 * tensor for name, tensor in tensors.items()}, {}, "it changes nothing"),
        (
            lambda tensors: {name: tensor[:2] for name, tensor in tensors.items()},
            {},
            "peft cannot put .* size mismatch",
        ),
        (None, {"target_modules": ["query", "value"]}, "peft cannot put it on this LlamaForCausalLM: Target modules"),
        (None, {"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING puts tokens of its own before the prompt"),
        (None, {"peft_type": "XLORA"}, "no adapter of kind XLORA can be used"),
        (None, {"peft_type": None}, "adapter_config.json names no peft_type"),
        (None, {"alora_invocation_tokens": [3]}, "it acts from some token of the prompt on only"),
        (None, {"r": "four"}, "peft cannot put it on this LlamaForCausalLM"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    tensors: Any, fields: dict[str, Any], said: str, llama: HFCausalLM, lora: Path
) -> None:
    change(lora, tensors, **fields)
    with pytest.raises(UserError, match=said) as caught:
        adapted(llama.network, read_adapter(str(lora)), merged=False)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("adapter /")


def test_files_that_are_not_an_adapter_are_refused(lora: Path, language: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"it has no adapter_config\.json"):
        read_adapter(str(language("llama")))
    with pytest.raises(UserError, match="there is no such folder"):
        read_adapter(str(lora / "missing"))
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    with pytest.raises(UserError, match="only pickled weights, which are never opened"):
        read_adapter(str(lora))
    (lora / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="cut off or spoilt"):
        read_adapter(str(lora))
    (lora / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_adapter(str(lora))


def test_weights_that_two_layers_share_are_not_merged_into(language: Callable[[str], Path], tmp_path: Path) -> None:
    tied = hf.AutoModelForCausalLM.from_pretrained(language("llama-tied")).eval()
    network = hf.AutoModelForCausalLM.from_pretrained(language("llama-tied")).eval()
    theirs = save(tied, peft.LoraConfig(target_modules=["embed_tokens"], r=4), tmp_path)
    with pytest.raises(UserError, match="embed_tokens shares its weights with another layer"):
        adapted(network, read_adapter(str(tmp_path)), merged=True)
    with torch.inference_mode():
        assert torch.equal(adapted(network, read_adapter(str(tmp_path)), merged=False)(IDS).logits, theirs(IDS).logits)


def test_a_fingerprint_is_of_both_files(lora: Path, tmp_path: Path) -> None:
    shutil.copytree(lora, tmp_path / "copy")
    assert fingerprint(str(tmp_path / "copy")) == fingerprint(str(lora))
    before = fingerprint(str(lora))
    change(lora, lora_alpha=3)
    assert fingerprint(str(lora)) != before == fingerprint(str(tmp_path / "copy"))


def test_of_a_classifier_the_body_is_adapted(saved: Callable[[str], Any], images: Any, tmp_path: Path) -> None:
    folder = saved("vit-classifier").folder
    config = peft.LoraConfig(target_modules=QV, r=4, modules_to_save=["classifier"])
    theirs = save(hf.AutoModelForImageClassification.from_pretrained(folder).eval(), config, tmp_path)
    model = HFVisionEncoder(str(folder))
    model = model.with_network(adapted(model.network, read_adapter(str(tmp_path)), merged=False))
    with torch.inference_mode():
        states = theirs(**model.prepare(images), output_hidden_states=True).hidden_states[-1]
        expected = theirs.get_base_model().vit.layernorm(states)[:, 0]
    np.testing.assert_allclose(model.embed(images), expected.numpy(), rtol=0, atol=1e-6)
