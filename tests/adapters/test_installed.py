"""The installed transformers is asked by using it, and nothing that it calls deprecated is used."""

from __future__ import annotations

import logging
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters import installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def loaded(language: Callable[[str], Path]) -> Callable[[str], Any]:
    return lambda family: hf.AutoModelForCausalLM.from_pretrained(language(family)).eval()


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral-short"])
def test_a_cache_is_taken_under_the_name_that_it_is_returned_by(loaded: Callable[[str], Any], family: str) -> None:
    model = loaded(family)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        past = installed.cache_of(model(IDS[:, :3], use_cache=True))
        assert installed.keeps_keys(past)
        assert past.get_seq_length() == 3
        last = model(IDS[:, 3:], use_cache=True, **{installed.cache_name(): past})
    assert torch.allclose(last.logits[:, -1], model(IDS).logits[:, -1], atol=1e-4)


def test_the_name_is_found_without_a_random_number() -> None:
    before = torch.get_rng_state()
    assert installed.cache_name.__wrapped__() == installed.cache_name()
    assert torch.equal(before, torch.get_rng_state())


def test_states_are_no_keys() -> None:
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 20, "state_size": 2}
    output = hf.MambaForCausalLM(hf.MambaConfig(**tiny)).eval()(IDS, use_cache=True)
    assert not installed.keeps_keys(installed.cache_of(output))
    assert installed.cache_of(hf.modeling_outputs.BaseModelOutput(IDS)) is None
    assert not installed.keeps_keys(None)


class Counting(torch.nn.Module):
    """Says what it heeds: the number at the last position."""

    device = torch.device("cpu")

    def forward(self, ids: torch.Tensor, position_ids: Any = None, **others: Any) -> Any:
        places = torch.arange(2)[None] if position_ids is None else position_ids
        return SimpleNamespace(logits=torch.nn.functional.one_hot(places + ids, 8).float())


class Strict(torch.nn.Module):
    """Takes nothing but tokens."""

    device = torch.device("cpu")

    def forward(self, ids: torch.Tensor) -> Any:
        return SimpleNamespace(logits=torch.nn.functional.one_hot(ids, 8).float())


def test_an_argument_that_is_swallowed_is_not_heeded(loaded: Callable[[str], Any]) -> None:
    assert installed.heeded(Counting()) == {"position_ids"}  # takes logits_to_keep, and returns all of them
    assert installed.heeded(Strict()) == set()
    assert installed.heeded(loaded("llama")) == {"position_ids", "logits_to_keep"}
    assert installed.heeded(loaded("mpt")) == {"logits_to_keep"}  # its places are counted from the end


def test_what_an_auto_class_builds() -> None:
    assert installed.builds("AutoModelForCausalLM", hf.LlamaConfig())
    assert not installed.builds("AutoModelForCausalLM", hf.ViTConfig())
    assert installed.builds("AutoModelForImageClassification", hf.ViTConfig())


def test_a_new_image_processor_needs_no_torchvision() -> None:
    size = {"height": 8, "width": 8}
    assert installed.pil_image_processor("ViT", size=size).size == size


def test_what_transformers_calls_deprecated_is_seen() -> None:
    with pytest.raises(FutureWarning):
        warnings.warn("`old` is deprecated and will be removed in version 9 for `f`.", FutureWarning, stacklevel=1)
    logging.getLogger("transformers").warning_once("said")  # and not that it is deprecated: that would fail this test
