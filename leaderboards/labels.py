"""Where a point's name fits beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_CHARACTER = 6.3
_LINE = 13.0
_MARK = 6.0
_AIR = 1.0


class Side(NamedTuple):
    """An offset from the point in pixels, downwards positive, and which end of the text is placed there."""

    dx: int
    dy: int
    align: str


_SIDES = (
    Side(9, 0, "left"),
    Side(-9, 0, "right"),
    Side(6, 12, "left"),
    Side(-6, -11, "right"),
    Side(6, -11, "left"),
    Side(-6, 12, "right"),
)
"""Tried in turn: beside the point, then below and above it."""


class Box(NamedTuple):
    """A rectangle in pixels from the upper left corner; a line is one without width or height."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have more than an edge in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Spot(NamedTuple):
    """A point to be named, in pixels from the upper left corner."""

    x: float
    y: float
    text: str


def place(spots: Sequence[Spot], lines: Sequence[Box], width: float, height: float) -> list[Side | None]:
    """Choose a side for each name such that it covers no other name, point, line or edge; ``None`` where none fits.

    Args:
        spots: The more important first: they choose first.
        lines: What else is drawn.
        width: Of the plot, in pixels.
        height: Of the plot, in pixels.
    """
    marks = [Box(s.x - _MARK, s.y - _MARK, s.x + _MARK, s.y + _MARK) for s in spots]
    drawn = [Box(b.left - _AIR, b.top - _AIR, b.right + _AIR, b.bottom + _AIR) for b in lines]
    taken = np.full((len(marks) + len(drawn) + len(spots), 4), np.nan)  # which nothing meets
    taken[: len(marks) + len(drawn)] = np.array([*marks, *drawn]).reshape(-1, 4)
    chosen: list[Side | None] = []
    for number, spot in enumerate(spots, len(marks) + len(drawn)):
        side = next((side for side in _SIDES if _fits(box(spot, side), taken, width, height)), None)
        chosen.append(side)
        if side is not None:
            taken[number] = box(spot, side)
    return chosen


def box(spot: Spot, side: Side) -> Box:
    """The rectangle of a name on that side of its point."""
    length = _CHARACTER * len(spot.text)
    anchor, middle = spot.x + side.dx, spot.y + side.dy
    left = anchor - length if side.align == "right" else anchor
    return Box(left, middle - _LINE / 2, left + length, middle + _LINE / 2)


def _fits(area: Box, taken: npt.NDArray[np.float64], width: float, height: float) -> bool:
    """Whether an area is in the plot and meets none of the boxes [n, 4]."""
    if area.left < 0 or area.top < 0 or area.right > width or area.bottom > height:
        return False
    left, top, right, bottom = taken.T
    meets = (area.left < right) & (left < area.right) & (area.top < bottom) & (top < area.bottom)
    return not meets.any()
