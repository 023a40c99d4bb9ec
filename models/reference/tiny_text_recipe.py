"""``adaptbench train tiny-text``: scenes are drawn, then a text half is trained for the tower of ``tiny-llava``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tiny_llava_recipe import data_folder

if TYPE_CHECKING:
    from pathlib import Path


def train_tiny_text(out: Path, data: str = "", scenes: int = 6000, seed: int = 0, threads: int = 0) -> None:
    """Train the text half again that ships for ``tiny-llava``; what was done before is not done again.

    Args:
        out: Folder of the data, the checkpoints, ``log.jsonl`` and the folder ``model``.
        data: Folder of training data in LLaVA's format; without it, scenes of ``shapes`` are drawn into ``out/data``.
        scenes: How many to draw.
        seed: Of scenes and weights.
        threads: Processor cores to use; 0 for all.

    Raises:
        UserError: ``data`` holds no training data.
    """
    folder = data_folder(out, data, scenes, seed)

    import torch

    from .tiny_llava_batches import Conversations
    from .train_tiny_text import Recipe, train

    if threads:
        torch.set_num_threads(threads)
    train(Recipe(seed=seed), Conversations(folder), out)
