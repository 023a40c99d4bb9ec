"""What the pretraining of a small encoder of letters is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Objective = Literal["supervised", "contrastive", "random"]


@dataclass(frozen=True)
class Pretraining:
    """What is asked for.

    Attributes:
        objective: What is found among the images of a batch: ``supervised``, another image of the same letter;
            ``contrastive``, another view of the same image, without labels. ``random``: nothing is trained.
        scripts: Of the base split, separated by ``/``, such as ``latin/arabic``.
        per_class: Images of each letter.
        steps: Of the optimizer.
        batch: Pairs a step.
        rate: Greatest learning rate; warms up, then falls as a cosine.
        decay: Weight decay.
        temperature: That cosines are divided by.
        save_every: Steps between two checkpoints.
        seed: Of images, weights and batches.
        threads: Processor cores to use; 0 for all.
    """

    objective: Objective = "supervised"
    scripts: str = "latin"
    per_class: int = 16
    steps: int = 1500
    batch: int = 128
    rate: float = 3e-3
    decay: float = 0.05
    temperature: float = 0.1
    save_every: int = 500
    seed: int = 0
    threads: int = 0
