"""Multitask finetuning (dissertation, Algorithm 2): every step is a few-shot task, solved by the nearest centroid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, normalize

from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sources import Shape


class Multitask(Trainee):
    """An encoder and the temperature of its cosines; centroids replace the inner minimum over heads of Equation 3.2.

    Args:
        encoder: Inputs -> embeddings [n, d].
        shape: Of each task.
        temperature: To begin with; it is learned.
    """

    def __init__(self, encoder: torch.nn.Module, shape: Shape, temperature: float) -> None:
        super().__init__()
        self.encoder, self._shape = encoder, shape
        self.temperature = torch.nn.Parameter(torch.tensor(float(temperature)))

    def forward(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss``: cross-entropy of the queries of all tasks.

        Args:
            inputs: Of the encoder; see `batches.Steps`.
            labels: Unused: a task does not know which classes it has.
        """
        ways, shots, queries = self._shape
        vectors = self.encoder(**inputs).float().unflatten(0, (-1, ways, shots + queries))
        centroids = normalize(vectors[:, :, :shots].mean(dim=2), dim=-1)
        asked = normalize(vectors[:, :, shots:], dim=-1).flatten(1, 2)
        logits = self.temperature * asked @ centroids.mT
        right = torch.arange(ways, device=labels.device).repeat_interleave(queries).expand(len(logits), -1)
        return {"loss": cross_entropy(logits.flatten(0, 1), right.flatten())}
