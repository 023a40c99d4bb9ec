"""Draws by a seed that come out the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Dice:
    """Draws that are the same everywhere: raw doubles of PCG64, whose distributions NumPy may change.

    Args:
        seed: Integers that name the stream.
    """

    def __init__(self, *seed: int) -> None:
        import numpy as np

        self._raw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))

    def below(self, n: int) -> int:
        """Return an integer in 0 ... n - 1."""
        return int(self._raw.random() * n)

    def choose(self, items: Sequence[T], weights: Sequence[int] = ()) -> T:
        """Return one of the items; ``weights`` default to equal ones."""
        if not weights:
            return items[self.below(len(items))]
        place = self.below(sum(weights))
        for item, weight in zip(items, weights, strict=True):
            place -= weight
            if place < 0:
                return item
        raise IndexError(place)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a new order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]
