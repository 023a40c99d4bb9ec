"""A budget: the share of what a model spends with everything switched on, a decimal in (0, 1]."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

from .errors import UserError

Budget: TypeAlias = "float | Fraction"


def is_budget(value: Budget) -> bool:
    """Whether a number is in (0, 1]."""
    return 0 < value <= 1


def exact(budget: Budget, where: str = "") -> Fraction:
    """Return a budget as the decimal that it is written as, so that 0.7 of 40 is 28 in every precision.

    Args:
        budget: A fraction, or a float of Python or NumPy.
        where: What asks for it, for the message.

    Raises:
        UserError: It is not in (0, 1].
    """
    if not is_budget(budget):
        typed = str(budget).removesuffix(".0")
        raise UserError(
            f"budget {typed} is not in (0, 1]", where=where, todo="give the share of the full cost to spend"
        )
    return budget if isinstance(budget, Fraction) else Fraction(str(budget))


def checked(budget: float, where: str = "") -> float:
    """Return a budget as a plain float if it is in (0, 1]; errors as in `exact`."""
    exact(budget, where)
    return float(budget)
