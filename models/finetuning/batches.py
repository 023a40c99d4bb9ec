"""The steps of a finetuning: which tasks each of them sees, and how many images all of them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...harness.errors import UserError

if TYPE_CHECKING:
    from .sources import Tasks


@dataclass(frozen=True)
class Budget:
    """What a training sees; every recipe of chapter 3 sees the same.

    Attributes:
        tasks: Distinct tasks, M.
        images: In a task, m: ways x (shots + queries).
        epochs: How often each task is seen.
    """

    tasks: int
    images: int
    epochs: int

    @property
    def seen(self) -> int:
        """Images seen in all, those that are seen again included."""
        return self.tasks * self.images * self.epochs

    def __str__(self) -> str:
        return f"{self.tasks} tasks x {self.images} images x {self.epochs} epochs = {self.seen:,} images seen"


class Steps:
    """The tasks of each step: every epoch goes through all of them, in an order of its own.

    Args:
        tasks: What there is.
        epochs: How often.
        together: Tasks in a step; the last step of an epoch may have fewer.
        seed: Of the orders.
    """

    def __init__(self, tasks: Tasks, epochs: int, together: int, seed: int) -> None:
        self.tasks = tasks
        self.per_epoch = -(-len(tasks) // together)
        orders = [np.random.default_rng([seed, epoch]).permutation(len(tasks)) for epoch in range(epochs)]
        self._steps = [order[i : i + together] for order in orders for i in range(0, len(order), together)]

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return ``inputs`` and ``labels`` of the tasks' images: task by task, class by class, the support first."""
        rows = self.tasks.rows[self._steps[number]].ravel()
        return {"inputs": self.tasks.images[rows], "labels": torch.from_numpy(self.tasks.labels[rows])}

    def check(self, budget: Budget) -> None:
        """Refuse to train on more or less than the budget.

        Raises:
            UserError: The steps see another number of images.
        """
        seen = sum(self.tasks.rows[step].size for step in self._steps)
        if seen != budget.seen:
            raise UserError(f"its steps see {seen:,} images, not {budget.seen:,}", where="budget", todo="report it")
