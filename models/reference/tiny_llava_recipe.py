"""``adaptbench train tiny-llava``: scenes are drawn into the folder, then the model is trained there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...harness.errors import UserError


def train_tiny_llava(out: Path, data: str = "", scenes: int = 24_000, seed: int = 0, threads: int = 0) -> None:
    """Train the shipped LLaVA again; what was done before is not done again.

    Args:
        out: Folder of the data, the checkpoint, ``log.jsonl`` and the folder ``model``.
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
    from .train_tiny_llava import Recipe, train

    if threads:
        torch.set_num_threads(threads)
    train(Recipe(seed=seed), Conversations(folder), out)


def data_folder(out: Path, data: str, scenes: int, seed: int) -> Path:
    """Return the folder of training data that is named, or else ``out/data``, into which scenes are drawn.

    Raises:
        UserError: It holds no training data.
    """
    folder = Path(data).expanduser() if data else out / "data"
    if not data:
        draw_scenes(folder, scenes, seed)
    if not (folder / "instruct.json").exists():
        raise UserError("no instruct.json", where=str(folder), todo="name a folder in LLaVA's format")
    return folder


def draw_scenes(folder: Path, scenes: int, seed: int) -> None:
    """Draw scenes of ``shapes`` into a folder, with what is said of them in LLaVA's format, unless it is done.

    Args:
        folder: Which is made.
        scenes: How many.
        seed: Of them.

    Raises:
        UserError: There are none to draw.
    """
    if scenes < 1:
        raise UserError(f"scenes={scenes} is not a positive number", todo="give 1 or more")
    if (folder / "classes.json").exists():  # written last
        return
    # Tasks and models do not import each other; the data are a file format between two programs.
    drawing = [sys.executable, "-m", "adaptbench.tasks.multimodal.shapes_data", "--out", str(folder)]
    subprocess.run([*drawing, "--scenes", str(scenes), "--seed", str(seed)], check=True)  # noqa: S603 - our own words
