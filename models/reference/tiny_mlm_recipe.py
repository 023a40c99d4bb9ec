"""``adaptbench train tiny-mlm``: the texts are written into the folder, then the model is trained there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...harness.errors import UserError


def train_tiny_mlm(out: Path, data: str = "", steps: int = 0, seed: int = 0, threads: int = 0) -> None:
    """Train the shipped masked language model again; what was done before is not done again.

    Args:
        out: Folder of the texts, the checkpoints, ``log.jsonl`` and the folder ``model``.
        data: File with a text per line; without it, those of the small world are written to ``out/texts.txt``.
        steps: How many; 0 for as many as the shipped model had.
        seed: Of batches and weights.
        threads: Processor cores to use; 0 for all.

    Raises:
        UserError: ``data`` cannot be read, or holds fewer than two texts.
    """
    place = Path(data).expanduser() if data else out / "texts.txt"
    if not data and not place.exists():
        # Tasks and models do not import each other; the texts are a file format between two programs.
        writing = [sys.executable, "-m", "adaptbench.tasks.prompting.words_corpus", "--out", str(place)]
        subprocess.run(writing, check=True)  # noqa: S603 - our own words
    try:
        texts = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read it: {error}", where=str(place), todo="give a file with a text per line"
        ) from error

    if len(texts) < 2:
        raise UserError("it holds fewer than two texts", where=str(place), todo="give a file with a text per line")
    import torch

    from .train_tiny_mlm import Recipe, train

    if threads:
        torch.set_num_threads(threads)
    train(Recipe(steps=steps or Recipe.steps, seed=seed), texts, out)
