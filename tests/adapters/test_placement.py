"""Models that are split over the memory of the processor and a disk answer as whole ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
import torch
from adaptbench.adapters import placement
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.adapters.transformers_image_text import HFImageTextToText
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.costs import Costs
from adaptbench.harness.errors import UserError
from adaptbench.harness.store import RunDirectory
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMergePlus
from adaptbench.models.reference.tiny_llava import WEIGHTS
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LANGUAGE = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.rotary_emb": "cpu"} | dict.fromkeys(
    ("model.layers.1", "model.norm", "lm_head"), "disk"
)
_INNER = "model.language_model"
LLAVA = {"model.vision_tower": "disk", "model.multi_modal_projector": "cpu", "lm_head": "disk"} | {
    f"{_INNER}.{name}": "cpu" for name in ("embed_tokens", "norm", "rotary_emb", *(f"layers.{n}" for n in range(6)))
} | {f"{_INNER}.layers.{n}": "disk" for n in range(6, 10)}  # fmt: skip


@pytest.fixture
def split(tmp_path: Path) -> Callable[[Any], dict[str, str]]:
    def write(devices: Any) -> dict[str, str]:
        file = tmp_path / "devices.json"
        file.write_text(json.dumps(devices))
        return {"device_map": str(file), "offload_folder": str(tmp_path / "offloaded")}

    return write


def on_disk(model: Any) -> int:
    return sum(weight.is_meta for weight in model.network.parameters())


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_split_language_model_says_what_a_whole_one_says(family, language, split):
    whole, parted = (HFCausalLM(str(language(family)), **options) for options in ({}, split(LANGUAGE)))
    assert on_disk(whole) == 0 < on_disk(parted)
    prompts = [Prompt(text, max_new_tokens=6) for text in ("the sun", "a b c d e", "x")]
    assert parted.answer(prompts) == whole.answer(prompts)
    pairs = [("the sun", " is"), ("the sun", " was hot"), (None, "a text")]
    assert parted.likelihoods(pairs) == whole.likelihoods(pairs)
    parted.prefill(prompts)()
    assert on_disk(parted) > 0  # and stays there


def images() -> list[Prompt]:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    texts = ("Is there a red circle?", "How many squares are there?")
    return [Prompt(text, (image,), max_new_tokens=2) for text in texts] + [Prompt("What is it?", max_new_tokens=2)]


def test_a_split_model_of_images_and_text_says_what_a_whole_one_says(split):
    whole, parted = (HFImageTextToText(str(WEIGHTS), **options) for options in ({"flops": False}, split(LLAVA)))
    assert on_disk(parted) > 0
    assert parted.answer(images()) == whole.answer(images())
    assert parted.uncounted == "not counted: a pass through several devices is not traced"


STEERED: dict[str, Callable[[HFMultimodal], HFMultimodal]] = {
    "plain": lambda base: base,
    "layers": AdaLlavaL(budget=0.6, scheduler="first").apply,
    "heads": AdaLlavaH(budget=0.75, scheduler="first").apply,
    "pruned": lambda base: PruMergePlus().apply(FastV(k=2, r=0.5).apply(base)),
    "read-from-disk": FastV(k=8, r=0.5).apply,
    "pruned-heads": lambda base: FastV(k=2).apply(AdaLlavaH(budget=0.6, scheduler="first").apply(base)),
}


@pytest.mark.parametrize("name", STEERED)
def test_a_split_steered_decoder_says_what_a_whole_one_says(name, split):
    whole, parted = (STEERED[name](HFMultimodal(str(WEIGHTS), **options)) for options in ({}, split(LLAVA)))
    assert on_disk(parted) > 0
    assert parted.answer(images()) == whole.answer(images())
    with torch.inference_mode():
        logits = [model.prefill(images())() for model in (whole, parted)]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)  # weights from a disk may lie otherwise in memory


def test_a_run_of_a_split_model_is_that_of_a_whole_one(split, tmp_path):
    options = ",".join(f'{name}="{value}"' for name, value in split(LLAVA).items())
    specs = [f'llava:"{WEIGHTS}"', f'llava:"{WEIGHTS}"({options})']
    run = adaptbench.run(specs, "shapes-pope", out=tmp_path / "run", limit=4, timing=False)
    whole, parted = sorted(run.results, key=lambda result: len(result.cell.model))
    recorded = [list(RunDirectory(run.path).journal(result.key).records()) for result in (whole, parted)]
    assert recorded[0] == recorded[1] != []
    assert parted.flops == whole.flops
    assert (parted.parameters, whole.parameters is None) == (None, False)


def test_where_a_split_model_is(split):
    parted = HFMultimodal(str(WEIGHTS), **split(LLAVA))
    assert placement.device_of(parted.network) == torch.device("cpu")
    assert Costs(lambda: parted).count([], "generate").parameters is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_map": "everywhere"}, "unknown device_map 'everywhere'; choose from auto"),
        ({"offload_folder": "x"}, "offload_folder is for a model that is split"),
        ({"device_map": "missing.json"}, "missing.json: cannot read it"),
    ],
)
def test_what_splits_nothing_is_refused(options, message, language):
    with pytest.raises(UserError, match=message):
        HFCausalLM(str(language("llama")), **options)


def test_a_map_is_read_before_weights_are(split, language):
    for devices in ([], {"model": None}):
        with pytest.raises(UserError):
            HFCausalLM(str(language("llama")), **split(devices))
    auto = HFCausalLM(str(language("llama")), device_map="auto")
    assert auto.generate([Prompt("a", max_new_tokens=3)]) == HFCausalLM(str(language("llama"))).generate(
        [Prompt("a", max_new_tokens=3)]
    )
