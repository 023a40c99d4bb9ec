"""``adaptbench train tiny-qwen-vl`` and ``tiny-internvl``: scenes are drawn, then ``tiny-llava`` teaches a pupil."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tiny_llava_recipe import data_folder

if TYPE_CHECKING:
    from pathlib import Path


def train_tiny_qwen_vl(out: Path, data: str = "", scenes: int = 6000, seed: int = 0, threads: int = 0) -> None:
    """Train the shipped Qwen2.5-VL again; what was done before is not done again.

    Args:
        out: Folder of the data, the checkpoints, the logs and the folder ``model``.
        data: Folder of training data in LLaVA's format; without it, scenes of ``shapes`` are drawn into ``out/data``.
        scenes: How many to draw.
        seed: Of scenes and weights.
        threads: Processor cores to use; 0 for all.

    Raises:
        UserError: ``data`` holds no training data.
    """
    _train("tiny-qwen-vl", out, data, scenes, seed, threads)


def train_tiny_internvl(out: Path, data: str = "", scenes: int = 6000, seed: int = 0, threads: int = 0) -> None:
    """Train the shipped InternVL again; what was done before is not done again.

    Args:
        out: Folder of the data, the checkpoints, the logs and the folder ``model``.
        data: Folder of training data in LLaVA's format; without it, scenes of ``shapes`` are drawn into ``out/data``.
        scenes: How many to draw.
        seed: Of scenes and weights.
        threads: Processor cores to use; 0 for all.

    Raises:
        UserError: ``data`` holds no training data.
    """
    _train("tiny-internvl", out, data, scenes, seed, threads)


def _train(name: str, out: Path, data: str, scenes: int, seed: int, threads: int) -> None:
    folder = data_folder(out, data, scenes, seed)

    import torch

    from .tiny_llava_batches import Conversations
    from .train_tiny_vlm import Recipe, train

    if threads:
        torch.set_num_threads(threads)
    train(name, Recipe(seed=seed), Conversations(folder), out)
