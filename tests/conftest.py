"""What holds for every test."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Before NumPy and torch are imported: matrices are small here, and threads that wait for each other burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


settings.register_profile("campaign", max_examples=2000, deadline=None)  # for ci/campaigns.py
# How long an example takes depends on what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a file to one worker, and those of packaging, so that what they share is made once."""
    for item in items:
        name = "packaging" if item.path.parent.name == "packaging" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session", autouse=True)
def timed_briefly() -> Iterator[None]:
    """Repeat what is timed twice, not for 0.4 s: the tests of timing itself say how often."""
    from adaptbench.harness.measure.timing import Effort

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Effort.__init__, "__defaults__", (2, 0.0, float("inf")))
        yield


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> None:
    """Keep what is there for good out of collections: whatever is timed collects first, again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_deprecated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test makes transformers say that something is deprecated; it says so once, in a log that is often silenced.

    What it warns of is an error by the settings of pytest.
    """
    if "transformers" not in sys.modules:
        yield
        return
    said: list[str] = []

    def note(_: Any, message: str, *__: Any, **___: Any) -> None:
        said.append(str(message))

    monkeypatch.setattr(logging.Logger, "warning_once", note)
    yield
    assert not [message for message in said if "deprecated" in message]


@pytest.fixture(scope="session")
def duals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family, ``clip`` or ``siglip`` -> folder of a tiny model of images and texts, with a tokenizer of words."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = "a photo of the itap bad origami large small in video game art . red green blue yellow cyan magenta".split()
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *words])}
    tower = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32}
    vision = tower | {"image_size": 16, "patch_size": 8}
    text = tower | {"vocab_size": len(vocabulary), "max_position_embeddings": 16}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    square = {"height": 16, "width": 16}
    made: dict[str, Path] = {}

    def save(family: str) -> Path:
        if family in made:
            return made[family]
        torch.manual_seed(0)
        reader = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        reader.normalizer, reader.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        if family == "clip":
            reader.post_processor = processors.TemplateProcessing(
                single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
            )
            config = hf.CLIPConfig(vision_config=vision, text_config=text, projection_dim=32)
            network, images = hf.CLIPModel(config), hf.CLIPImageProcessorPil(size=square, crop_size=square)
        else:
            network = hf.SiglipModel(hf.SiglipConfig(vision_config=vision, text_config=text))
            images = hf.SiglipImageProcessorPil(size=square)
        for parameter in network.parameters():  # as they are made, all texts are nearly one
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        torch.nn.init.constant_(network.logit_scale, 2.5)
        folder = made[family] = tmp_path_factory.mktemp(family)
        network.save_pretrained(folder)
        images.save_pretrained(folder)
        hf.PreTrainedTokenizerFast(
            tokenizer_object=reader, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
        ).save_pretrained(folder)
        return folder

    return save
