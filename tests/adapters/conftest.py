"""Tiny checkpoints of real architectures, as ``save_pretrained`` writes them, with their image processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOWER = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "image_size": 32, "patch_size": 8}
WIDE = TOWER | {"intermediate_size": 32}
TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 64}
STAGES = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}

MODELS: dict[str, Callable[[], Any]] = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**WIDE)),
    "vit-classifier": lambda: hf.ViTForImageClassification(hf.ViTConfig(**WIDE)),
    "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**WIDE)),
    "beit": lambda: hf.BeitModel(hf.BeitConfig(**WIDE)),
    "beit-masked": lambda: hf.BeitForMaskedImageModeling(hf.BeitConfig(**WIDE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TOWER)),
    "dinov2-registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(**TOWER, num_register_tokens=3)
    ),
    "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**WIDE, num_register_tokens=3)),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=WIDE, text_config=TEXT, projection_dim=8)),
    "clip-vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**WIDE)),
    "clip-projected": lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**WIDE, projection_dim=8)),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(vision_config=WIDE, text_config=TEXT)),
    "siglip-vision": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**WIDE)),
    "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
    "convnext": lambda: hf.ConvNextModel(hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
    "swin": lambda: hf.SwinModel(hf.SwinConfig(**STAGES)),
}

_CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
_SQUARE = {"size": {"height": 32, "width": 32}}
PROCESSORS: dict[str, Callable[[], Any]] = {
    "dinov2": lambda: hf.BitImageProcessorPil(**_CROP),
    "clip": lambda: hf.CLIPImageProcessorPil(**_CROP),
    "siglip": lambda: hf.SiglipImageProcessorPil(**_SQUARE),
    "deit": lambda: hf.DeiTImageProcessorPil(size=_SQUARE["size"], crop_size=_SQUARE["size"]),
    "beit": lambda: hf.BeitImageProcessorPil(**_SQUARE, do_center_crop=False),
    "convnext": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}),
    "resnet": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}),
}


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk and the model that was saved."""

    folder: Path
    stock: torch.nn.Module


def save(name: str, folder: Path, seed: int = 0) -> Saved:
    torch.manual_seed(seed)
    stock = MODELS[name]().eval()
    for parameter in stock.parameters():  # biases and registers that start at zero would hide a wrong pooling
        torch.nn.init.normal_(parameter, std=0.1)
    logging.disable_progress_bar()
    stock.save_pretrained(folder)
    processor = PROCESSORS.get(name.partition("-")[0], lambda: hf.ViTImageProcessorPil(**_SQUARE))
    processor().save_pretrained(folder)
    return Saved(folder, stock)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    """Name -> checkpoint; each is written once and must not be changed."""
    known: dict[str, Saved] = {}

    def get(name: str) -> Saved:
        if name not in known:
            known[name] = save(name, tmp_path_factory.mktemp("checkpoints") / name)
        return known[name]

    return get


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Saved]:
    """Name -> checkpoint of the test's own, to be changed."""

    def get(name: str, folder: str = "own", seed: int = 0) -> Saved:
        return save(name, tmp_path / folder, seed)

    return get


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(4)]
