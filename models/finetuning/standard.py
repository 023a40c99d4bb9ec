"""Standard finetuning and its start, linear probing: one linear head over all classes (dissertation, A.5; LP-FT)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from .sources import Images, embed
from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sources import Tasks

HEAD = "head."
"""What the names of the head's parameters begin with."""


class Standard(Trainee):
    """An encoder and a linear head. The images are those of the tasks, and the labels are absolute.

    Args:
        encoder: Inputs -> embeddings [n, d].
        head: d -> classes.
    """

    def __init__(self, encoder: torch.nn.Module, head: torch.nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss``: cross-entropy of all images of the tasks.

        Args:
            inputs: Of the encoder; see `batches.Steps`.
            labels: Absolute classes, [n].
        """
        return {"loss": cross_entropy(self.head(self.encoder(**inputs).float()), labels)}


class Vectors(torch.nn.Module):
    """The encoder that embeddings have which are computed already: linear probing trains the head alone."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return them."""
        return vectors


def new_head(encoder: torch.nn.Module, tasks: Tasks, seed: int) -> torch.nn.Linear:
    """Return an untrained head for an encoder, over the classes of all sources."""
    width = embed(encoder, Images(tasks.images[slice(0, 1)])).shape[1]
    torch.manual_seed(seed)
    return torch.nn.Linear(width, tasks.classes)


def features(encoder: torch.nn.Module, tasks: Tasks) -> Tasks:
    """Return the same tasks, with the embeddings instead of the images: each is computed once."""
    return replace(tasks, images=Images({"vectors": embed(encoder, tasks.images)}))
