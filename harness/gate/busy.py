"""A plugin for the gate's self-test: a model that is as busy as it is asked to be, with real work."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from ..cards import ModelCard, TaskCard
from ..contracts import Input, Sample, Task
from ..hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..contracts import FloatArray, Json
    from ..registry import Registrar

_SIDE = 64
"""Of matrices so small that no library of matrix products divides them among threads."""


class Busy:
    """Multiplies small matrices and adds up numbers in Python, as models do both.

    Args:
        work: How much, in units of a tenth of a millisecond or so.
    """

    def __init__(self, work: int = 100) -> None:
        self._work = work
        matrix = np.random.Generator(np.random.PCG64(0)).random((_SIDE, _SIDE), dtype=np.float32)
        self._matrix = matrix / matrix.sum(
            axis=1, keepdims=True
        )  # products neither grow nor fade to slow numbers near 0

    def embed(self, images: Sequence[Any]) -> FloatArray:
        """Return float32 [n, 1], after all the work."""
        product, total = self._matrix, 0
        for _ in range(self._work):
            for _ in range(4):
                product = self._matrix @ product
            for number in range(2_000):
                total += number
        return np.full((len(images), 1), product[0, 0] + total % 2, dtype=np.float32)


class Nothing(Task):
    """Asks one thing of no meaning."""

    card = TaskCard(summary="Ask for one vector", capability="embed")

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One."""
        return [Input("0", lambda: np.zeros((1, 1), dtype=np.float32))]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One."""
        return [Sample("0", (0,), 0)]

    def outputs(self, samples: Sequence[Sample], answers: Any) -> Sequence[Json]:  # noqa: ARG002 - always right
        """Return what is right."""
        return [0 for _ in samples]


@hookimpl
def register(registry: Registrar) -> None:
    """Register the model ``busy`` and the task ``busy-nothing``."""
    registry.model("busy", Busy, card=ModelCard(summary="As busy as it is asked to be", capabilities=("embed",)))
    registry.task("busy-nothing", Nothing, card=Nothing.card)
