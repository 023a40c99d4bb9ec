"""Locked-text tuning (dissertation, A.7.1): images learn to lie near the texts of their classes, which stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, normalize

from .named_classes import among_classes
from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sources import Shape


class LockedText(Trainee):
    """The image side of a model; the rest of it stays as it is, the scale of its logits too.

    Args:
        encoder: Inputs -> embeddings [n, d].
        scale: Of the cosines.
        centroids: Of the classes' texts, [classes, d], of length one.
        shape: Of each task; ``None`` to classify among all classes.
    """

    centroids: torch.Tensor

    def __init__(self, encoder: torch.nn.Module, scale: float, centroids: torch.Tensor, shape: Shape | None) -> None:
        super().__init__()
        self.encoder, self._scale, self._shape = encoder, scale, shape
        self.register_buffer("centroids", centroids, persistent=False)

    def forward(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss``: cross-entropy among the classes of a task, or all.

        Args:
            inputs: Of the encoder; see `batches.Steps`.
            labels: Class of each image.
        """
        cosines = normalize(self.encoder(**inputs).float(), dim=-1) @ self.centroids.T
        if self._shape is not None:
            cosines, labels = among_classes(cosines, labels, self._shape)
        return {"loss": cross_entropy(self._scale * cosines, labels)}


def freeze_unreached(encoder: torch.nn.Module, inputs: Mapping[str, Any]) -> None:
    """Let learn what the embeddings of images depend on, and nothing else."""
    learns = [part for part in encoder.parameters() if part.requires_grad]
    reached = torch.autograd.grad(encoder(**inputs).sum(), learns, allow_unused=True)
    for part, gradient in zip(learns, reached, strict=True):
        part.requires_grad_(gradient is not None)
