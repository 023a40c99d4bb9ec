"""Pretraining of the small encoders of letters: find the partner of each image among those of a batch.

The loss is InfoNCE: the cross-entropy of cosines over a temperature. Without labels the two are views of one image, as
in MoCo v3 (Chen et al., 2021), here with neither momentum nor predictor; with labels they are two images of one letter,
as in supervised contrastive learning (Khosla et al., 2020). Cross-entropy over the 802 Latin letters with a head of its
own, tried first, had left the embedding as it was after 500 steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, max_pool2d, normalize
from transformers import ViTConfig, ViTModel

from ...adapters.installed import pil_image_processor
from ...adapters.transformers_vision import pooled_module
from ..finetuning.loop import Loop, fit

if TYPE_CHECKING:
    from pathlib import Path

    from .glyphs_pretraining import Pretraining

_SIZE, _WIDTH = 32, 48
_MEAN, _STD = 0.5, 0.5


def initial(seed: int) -> ViTModel:
    """Return a small ViT with weights drawn by a seed."""
    torch.manual_seed(seed)
    config = ViTConfig(
        image_size=_SIZE, patch_size=8, num_channels=3, hidden_size=_WIDTH, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=2 * _WIDTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=1 / math.sqrt(_WIDTH),
    )  # fmt: skip
    return ViTModel(config, add_pooling_layer=False)


def train(encoder: ViTModel, asked: Pretraining, images: Any, out: Path) -> None:
    """Train in place, or go on training.

    Args:
        encoder: What `initial` returned.
        asked: What to do.
        images: An `ImageSet` of grey images, as many of each class, class by class.
        out: Folder of the checkpoints and the log.
    """
    grey = np.stack([np.asarray(image.load(), dtype=np.float32)[:, :, 0] for image in images.images])
    pixels = ((torch.from_numpy(grey) / 255 - _MEAN) / _STD).view(len(images.classes), -1, _SIZE, _SIZE)
    loop = Loop(
        steps=asked.steps, rate=asked.rate, optimizer="adamw", decay=asked.decay, schedule="cosine", warmup=0.05,
        clip=1.0, save_every=asked.save_every, seed=asked.seed,
    )  # fmt: skip
    fit(Pairing(encoder, asked.temperature), Pairs(asked, pixels), loop, out)


class Pairing(nn.Module):
    """An encoder, and a projector that is dropped after training."""

    def __init__(self, encoder: ViTModel, temperature: float) -> None:
        super().__init__()
        self.embed = pooled_module(encoder, "mean")
        self.projector = nn.Sequential(nn.Linear(_WIDTH, 128), nn.GELU(), nn.Linear(128, 64))
        self._temperature = temperature

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss`` of pairs, the one and the other of each, both [n, 3, size, size]."""
        projected = normalize(self.projector(self.embed(torch.cat([first, second]))), dim=1)
        logits = projected[: len(first)] @ projected[len(first) :].T / self._temperature
        right = torch.arange(len(first), device=logits.device)
        return {"loss": (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2}


class Pairs:
    """The pairs of each step: views of one image, or images of one letter.

    Args:
        asked: What to do.
        pixels: Grey images in [-1, 1], [classes, images of each, size, size].
    """

    def __init__(self, asked: Pretraining, pixels: torch.Tensor) -> None:
        self._asked, self._pixels = asked, pixels

    def __len__(self) -> int:
        """One batch for each step."""
        return self._asked.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        """Return the batch of a step, which depends on seed and step alone."""
        classes, each = self._pixels.shape[:2]
        chance = torch.Generator().manual_seed(self._asked.seed * 1_000_003 + step)
        if self._asked.objective == "supervised":
            letters = torch.randperm(classes, generator=chance)[: self._asked.batch]
            places = torch.rand(len(letters), each, generator=chance).argsort(dim=1)
            first, second = (self._pixels[letters, places[:, place]] for place in (0, 1))
        else:
            chosen = torch.randint(classes * each, (self._asked.batch,), generator=chance)
            pixels = self._pixels.flatten(0, 1)[chosen]
            first, second = view(pixels, chance), view(pixels, chance)
        return {"first": _rgb(first), "second": _rgb(second)}


def view(pixels: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Turn, scale, slant, shift, thicken or thin, fade and add noise to each image, [n, size, size] in [-1, 1]."""
    share = torch.rand(len(pixels), 9, generator=chance)
    u = 2 * share - 1
    angle, scale = 0.35 * u[:, 0], 1 / (1 + 0.25 * u[:, 1])
    matrix = torch.zeros(len(pixels), 2, 3)
    matrix[:, 0, 0] = scale * angle.cos() * (1 + 0.15 * u[:, 2])
    matrix[:, 0, 1] = -scale * angle.sin() + 0.2 * u[:, 3]
    matrix[:, 1, 0] = scale * angle.sin()
    matrix[:, 1, 1] = scale * angle.cos()
    matrix[:, :, 2] = 0.2 * u[:, 4:6]
    grid = affine_grid(matrix, [len(pixels), 1, *pixels.shape[1:]], align_corners=False)
    moved = grid_sample(pixels[:, None] + 1, grid, align_corners=False) - 1
    share, u = share[..., None, None, None], u[..., None, None, None]
    thick, thin = max_pool2d(moved, 3, 1, 1), (moved - max_pool2d(-moved, 3, 1, 1)) / 2
    ink = torch.where(share[:, 6] < 0.25, thick, torch.where(share[:, 6] > 0.75, thin, moved))
    noise = torch.randn(ink.shape, generator=chance) * 0.3 * share[:, 7]
    return (ink * (1 + 0.2 * u[:, 8]) + noise)[:, 0]


def _rgb(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[:, None].expand(-1, 3, -1, -1)


def write(encoder: ViTModel, folder: Path) -> None:
    """Write a folder that transformers can load; the weights as float16."""
    encoder.half().save_pretrained(folder)
    size = {"height": _SIZE, "width": _SIZE}
    pil_image_processor("ViT", size=size, image_mean=[_MEAN] * 3, image_std=[_STD] * 3).save_pretrained(folder)
