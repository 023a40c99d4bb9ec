"""``adaptbench train tiny-icl``: the lessons are written into the folder, then the model is trained there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ...harness.errors import UserError


def train_tiny_icl(out: Path, data: str = "", steps: int = 0, seed: int = 0, threads: int = 0) -> None:
    """Train the shipped in-context learner again; what was done before is not done again.

    Args:
        out: Folder of the lessons, the checkpoint, ``log.jsonl`` and the folder ``model``.
        data: File of lessons; without it, those of the logical suite are written to ``out/lessons.json``.
        steps: How many; 0 for as many as the shipped model had.
        seed: Of prompts and weights.
        threads: Processor cores to use; 0 for all.

    Raises:
        UserError: ``data`` is not a file.
    """
    lessons = Path(data).expanduser() if data else out / "lessons.json"
    if not data:
        write_lessons(lessons)
    if not lessons.is_file():
        raise UserError("no lessons", where=str(lessons), todo="name a file that tasks.compositional.lessons wrote")

    import torch

    from .tiny_icl_prompts import Lessons
    from .train_tiny_icl import Recipe, train

    if threads:
        torch.set_num_threads(threads)
    train(Recipe(steps=steps or Recipe.steps, seed=seed), Lessons.read(lessons), out)


def write_lessons(path: Path) -> None:
    """Write what there is to learn, unless it is written.

    Args:
        path: File to write.
    """
    if not path.exists():
        # Tasks and models do not import each other; the lessons are a file format between two programs.
        writing = [sys.executable, "-m", "adaptbench.tasks.compositional.lessons", "--out", str(path)]
        subprocess.run(writing, check=True)  # noqa: S603 - our own words
