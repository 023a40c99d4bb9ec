"""Tiny LLaVAs with random weights, on disk as ``save_pretrained`` writes them, and prompts for them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.methods import Method, bind
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import Call
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
WORDS = (
    "A chat between a curious user and an artificial intelligence assistant . The gives helpful , detailed polite "
    "answers to the ' s questions USER : ASSISTANT Is there dog cat in image ? yes no What colour is this how many"
).split()
VOCABULARY = {word: index for index, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS]))}
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 48,
    "patch_size": 8,
}  # fmt: skip
PATCHES = 36


def _llava(tower: str) -> tuple[Any, Any]:
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    size, square = {"shortest_edge": 48}, {"height": 48, "width": 48}
    if tower == "clip":
        text, vision = hf.LlamaConfig(**TEXT), hf.CLIPVisionConfig(**VISION)
        images = hf.CLIPImageProcessorPil(size=size, crop_size=square)
    else:
        text, vision = hf.PhiConfig(**TEXT), hf.SiglipVisionConfig(**VISION)
        images = hf.SiglipImageProcessorPil(size=square)
    strategy = "default" if tower == "clip" else "full"
    config = hf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, vision_feature_select_strategy=strategy
    )
    processor = hf.LlavaProcessor(images, tokenizer, patch_size=8, vision_feature_select_strategy=strategy)
    return hf.LlavaForConditionalGeneration(config), processor


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tower, ``clip`` or ``siglip`` -> folder of a checkpoint: four decoder blocks, 36 patches."""
    known: dict[str, Path] = {}

    def get(tower: str = "clip") -> Path:
        if tower not in known:
            known[tower] = tmp_path_factory.mktemp("llava") / tower
            torch.manual_seed(0)
            model, processor = _llava(tower)
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
            model.lm_head.weight.data[: len(SPECIAL)] = 0  # special tokens are never the most probable
            logging.disable_progress_bar()
            model.save_pretrained(known[tower])
            processor.save_pretrained(known[tower])
        return known[tower]

    return get


@pytest.fixture(scope="session")
def llava(llava_folder: Callable[[str], Path]) -> Callable[..., HFMultimodal]:
    """(Tower, options) -> a LLaVA, asked in the conversation ``plain``; loaded once and not to be changed."""

    @functools.cache
    def get(tower: str = "clip", **options: Any) -> HFMultimodal:
        model = HFMultimodal(str(llava_folder(tower)), conversation="plain", **options)
        model.answer([Prompt("no", max_new_tokens=1)])  # what is counted by now is not counted again for each method
        return model

    return get


@pytest.fixture(scope="session")
def ask() -> Callable[..., Prompt]:
    """(Text, seeds of images) -> a prompt; ``known`` tells whether its images may be shared."""

    def make(text: str, *seeds: int, known: bool = True, tokens: int = 6) -> Prompt:
        images = tuple(_image(seed) for seed in seeds)
        return Prompt(text, images, tuple(map(image_digest, images)) if known else (), tokens)

    return make


def _image(seed: int) -> Image.Image:
    """Noise with a brighter square in it, so that some patches stand out."""
    of = np.random.default_rng(seed)
    pixels = of.integers(0, 120, (48, 48, 3), dtype=np.uint8)
    top, left, side = of.integers(0, 32), of.integers(0, 32), of.integers(8, 17)
    pixels[top : top + side, left : left + side] = of.integers(180, 256, 3)
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def method() -> Callable[..., Method]:
    """(Name, options) -> a registered method; its options are checked as those of a spec are."""
    registry = load_plugins().registry
    return lambda name, **options: bind(registry.find("method", name), Call(name, None, tuple(options.items())))


@pytest.fixture
def without_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer collects garbage before it begins, which takes longer than a training of a few steps."""
    monkeypatch.setattr("accelerate.utils.memory.clear_device_cache", lambda garbage_collection=False: None)


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)
