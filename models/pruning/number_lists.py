"""Options that hold several numbers, such as ``8/16/24``, and shares of a number of tokens."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence


def _written(value: Any) -> Any:
    """A single number as text; anything else as it is."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


NumberList: TypeAlias = Annotated[str, BeforeValidator(_written)]
"""The field of an option that holds numbers as text; a single number is a list of one."""


def numbers(text: str, name: str, *, rising: bool = False) -> list[int]:
    """Return whole numbers above 0, such as those of ``8/16/24``.

    Args:
        text: What was given.
        name: Of the option, for the message.
        rising: Whether each must be above the one before it.

    Raises:
        UserError: It is something else.
    """
    parts = text.split("/")
    found = [int(part) for part in parts if part.isascii() and part.isdigit()]
    falls = rising and any(one >= two for one, two in pairwise(found))
    if len(found) < len(parts) or min(found) < 1 or falls:
        what = f"{name} must be {'rising ' * rising}whole numbers of at least 1, not {text}"
        raise UserError(what, todo="write them as 8/16/24")
    return found


def fractions(text: str, name: str) -> list[float]:
    """Return shares from 0 to 1 that do not rise, such as those of ``0.5/0.25/0.125``.

    Args:
        text: What was given.
        name: Of the option, for the message.

    Raises:
        UserError: It is something else.
    """
    try:
        found = [float(part) for part in text.split("/")]
    except ValueError:
        found = []
    if not found or not all(0 <= share <= 1 for share in found) or any(one < two for one, two in pairwise(found)):
        what = f"{name} must be shares from 0 to 1 that do not rise, not {text}"
        raise UserError(what, todo="write them as 0.5/0.25/0.125")
    return found


def blocks(text: str) -> list[int]:
    """Return the numbers of blocks after which something happens, from an option ``layers``."""
    return numbers(text, "layers", rising=True)


def continued(values: Sequence[float], count: int) -> list[float]:
    """Return the first ``count`` of two or more falling numbers, or more of them in the ratio of the last two."""
    ratio = values[-1] / values[-2]
    return [*values[:count], *(values[-1] * ratio**step for step in range(1, count - len(values) + 1))]


def stretched(shares: Sequence[float], least: float) -> list[float]:
    """Return shares with the same proportions of which the least above 0 is another one; none is above 1."""
    factor = least / min(filter(None, shares), default=1)
    return [min(1.0, factor * share) for share in shares]


def whole(share: float, tokens: int) -> int:
    """Return how many tokens a share of them is; halves are rounded to even, wherever tokens are counted."""
    return round(share * tokens)
