"""First-order MAML: weights that few steps on a support set make good (Finn et al. 2017; Meta-Dataset's defaults)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy, linear

from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .sources import Shape

    Weights = dict[str, torch.Tensor]


class Maml(Trainee):
    """An encoder whose weights, reset for every task, take a few steps on its support before the queries are asked.

    A task has a head of its own over its ways, which begins with zeros. Batch norms are not adapted.

    Args:
        encoder: Inputs -> embeddings [n, d].
        shape: Of each task.
        steps: Of SGD on the support.
        rate: Of them.
    """

    def __init__(self, encoder: torch.nn.Module, shape: Shape, steps: int, rate: float) -> None:
        super().__init__()
        self.encoder, self._shape, self._steps, self._rate = encoder, shape, steps, rate

    def forward(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the ``loss``: cross-entropy of the queries, after the steps on the support; the mean over the tasks.

        Args:
            inputs: Of the encoder; see `batches.Steps`.
            labels: Unused: a task does not know which classes it has.
        """
        ways, shots, queries = self._shape
        tasks = {name: part.view(-1, ways, shots + queries, *part.shape[1:]) for name, part in inputs.items()}
        classes = torch.arange(ways, device=labels.device)
        losses = []
        for task in range(len(labels) // (ways * (shots + queries))):
            own = {name: part[task] for name, part in tasks.items()}
            support = {name: part[:, :shots].flatten(0, 1) for name, part in own.items()}
            query = {name: part[:, shots:].flatten(0, 1) for name, part in own.items()}
            weights, head = self._adapted(support, classes.repeat_interleave(shots))
            logits = linear(self._embed(weights, query), *head)
            losses.append(cross_entropy(logits, classes.repeat_interleave(queries)))
        return {"loss": torch.stack(losses).mean()}

    def _adapted(
        self, support: Mapping[str, torch.Tensor], right: torch.Tensor
    ) -> tuple[Weights, tuple[torch.Tensor, torch.Tensor]]:
        """The encoder's weights and the head after the steps; gradients of the former are those of the first order."""
        start = {name: part for name, part in self.encoder.named_parameters() if part.requires_grad}
        fast = {name: part.detach().requires_grad_() for name, part in start.items()}
        head: tuple[torch.Tensor, ...] = ()
        for _ in range(self._steps):
            vectors = self._embed(fast, support)
            head = head or _zeros(vectors, self._shape.ways)
            loss = cross_entropy(linear(vectors, *head), right)
            learning = [*fast.values(), *head]
            gradients = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
            moved = [
                (part - self._rate * slope).detach().requires_grad_()
                for part, slope in zip(learning, gradients, strict=True)
            ]
            fast, head = dict(zip(fast, moved, strict=False)), tuple(moved[-2:])
        # What is added is a constant, so the slope at the adapted weights is that of the ones to begin with.
        weights = {name: part + (fast[name] - part).detach() for name, part in start.items()}
        return weights, (head[0].detach(), head[1].detach())

    def _embed(self, weights: Weights, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        vectors: torch.Tensor = functional_call(self.encoder, weights, kwargs=dict(inputs)).float()
        return vectors


def _zeros(vectors: torch.Tensor, ways: int) -> tuple[torch.Tensor, torch.Tensor]:
    weight = vectors.new_zeros(ways, vectors.shape[1]).requires_grad_()
    return weight, vectors.new_zeros(ways).requires_grad_()
