"""What prompt-based finetuning trains, and on what: the logits of the label words at the mask (dissertation A.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from .trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...adapters.transformers_masked import Encoded, HFMaskedLM

_TOGETHER = 32
"""Examples of a validation that are read at once."""


class Shown(NamedTuple):
    """An example to learn from: a prompt as the model reads it, and which of its label words is right."""

    prompt: Encoded
    label: int


class Masked(Trainee):
    """A masked language model with the loss of its label words.

    Args:
        module: See `adapters.transformers_masked.at_mask`.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def logits(self, words: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of the label words, float32 [n, words]; minus infinity where a row has fewer.

        Args:
            words: Their ids, int64 [n, words]; -1 where a row has fewer.
            inputs: Of the module.
        """
        found: torch.Tensor = self.module(**inputs).float().gather(1, words.clamp(min=0))
        return found.masked_fill(words < 0, -torch.inf)

    def forward(self, words: torch.Tensor, labels: torch.Tensor, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean cross-entropy over the label words."""
        return {"loss": cross_entropy(self.logits(words, **inputs), labels)}

    def outputs(self, model: HFMaskedLM, shown: Sequence[Shown]) -> list[list[float]]:
        """Return the logits of the label words of each example of a task, without gradients."""
        found: list[list[float]] = []
        self.eval()
        with torch.no_grad():
            for start in range(0, len(shown), _TOGETHER):
                batch = padded(model, shown[start : start + _TOGETHER])
                del batch["labels"]
                found += self.logits(**batch).tolist()
        self.train()
        return found


class Draws:
    """The batches of a training; one depends on the seed and on its number alone.

    Args:
        model: Which reads them.
        sources: The examples of each task.
        steps: How many batches.
        size: Examples in a batch.
        seed: Of the draws.
        epochs: Go through all examples again and again, each time in another order, instead of drawing a task, then
            one of its examples.
    """

    def __init__(
        self, model: HFMaskedLM, sources: Sequence[Sequence[Shown]], steps: int, size: int, seed: int, *, epochs: bool
    ) -> None:
        self._model, self._sources, self._steps, self._size, self._seed = model, sources, steps, size, seed
        self._epochs = epochs

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        """Return what `Masked` takes."""
        return padded(self._model, self._in_turn(number) if self._epochs else self._drawn(number))

    def _in_turn(self, number: int) -> list[Shown]:
        every = [one for source in self._sources for one in source]
        places = range(number * self._size, (number + 1) * self._size)
        orders = {n: np.random.default_rng([self._seed, n]) for n in {place // len(every) for place in places}}
        order = {n: dice.permutation(len(every)) for n, dice in orders.items()}
        return [every[order[place // len(every)][place % len(every)]] for place in places]

    def _drawn(self, number: int) -> list[Shown]:
        dice = np.random.default_rng([self._seed, number])
        tasks = [self._sources[place] for place in dice.integers(len(self._sources), size=self._size)]
        return [task[int(dice.integers(len(task)))] for task in tasks]


def padded(model: HFMaskedLM, shown: Sequence[Shown]) -> dict[str, torch.Tensor]:
    """Return a batch: the inputs of the module, ``words`` [n, words] and ``labels`` [n]."""
    most = max(len(one.prompt.words) for one in shown)
    words = [one.prompt.words + [-1] * (most - len(one.prompt.words)) for one in shown]
    inputs = model.padded([one.prompt for one in shown])
    device = inputs["input_ids"].device
    labels = torch.tensor([one.label for one in shown], device=device)
    return {**inputs, "words": torch.tensor(words, device=device), "labels": labels}


def show(model: HFMaskedLM, task: Any) -> list[Shown]:
    """Return the examples of a prompt task as a model reads them.

    Raises:
        UserError: A label word is not one token to it.
    """
    asked = [task.inputs[sample.inputs[0]].load() for sample in task.samples]
    return [Shown(model.encode(prompt), sample.target) for prompt, sample in zip(asked, task.samples, strict=True)]
