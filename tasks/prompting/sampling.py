"""The 16-shot samples of LM-BFF, bit for bit (Gao et al., 2021: ``generate_k_shot_data.py``; dissertation A.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

T = TypeVar("T", bound="Hashable")
SEEDS = (13, 21, 42, 87, 100)


def few_shot(labels: Sequence[T], k: int, seed: int, where: str) -> tuple[list[int], list[int]]:
    """Return the rows of the training samples and of the development samples.

    The rows are shuffled once; then the first k of each class, in the order in which classes first appear, are for
    training, and the next k for development.

    Args:
        labels: Of all training rows, in their order.
        k: Samples of each class.
        seed: Of NumPy's global generator as it was then.
        where: What messages call the data.

    Raises:
        UserError: The seed is too large for that generator, or a class has too few rows.
    """
    import numpy as np

    if seed >= 2**32:
        raise UserError(f"seed {seed} is not below 2^32", where=where, todo="choose from 13, 21, 42, 87, 100")
    if k < 1:
        raise UserError(f"k={k} is not at least 1", where=where)
    order = list(range(len(labels)))
    np.random.RandomState(seed).shuffle(order)
    of_class: dict[T, list[int]] = {}
    for row in order:
        of_class.setdefault(labels[row], []).append(row)
    for label, rows in of_class.items():
        if len(rows) < 2 * k:
            raise UserError(
                f"class {label!r} has {len(rows)} rows, and {2 * k} are needed", where=where, todo="choose a smaller k"
            )
    return [row for rows in of_class.values() for row in rows[:k]], [
        row for rows in of_class.values() for row in rows[k : 2 * k]
    ]
