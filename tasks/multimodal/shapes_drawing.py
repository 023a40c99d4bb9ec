"""How a scene of ``shapes`` is drawn: integer arithmetic only, so that the pixels are the same on every platform."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from ..dice import Dice
from .shapes_world import GRID

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from .shapes_world import Scene, Sign, Thing

    Ints = npt.NDArray[np.int64]

CELL = 24
"""Side of a cell in pixels."""
SIDE = GRID * CELL
"""Side of an image in pixels."""

_HUES = {
    "red": (215, 35, 40), "blue": (45, 75, 225), "green": (35, 160, 55), "yellow": (235, 220, 45),
    "purple": (140, 50, 180), "orange": (240, 130, 20), "cyan": (60, 205, 220), "pink": (250, 150, 190),
}  # fmt: skip
_RADII = {"small": (10, 12), "large": (17, 20)}
"""Least and largest radius in half pixels."""
_FINE = 4
"""Sub-pixels along a side of a pixel."""
_POLYGONS = {
    "triangle": ((0, -1000), (1000, 850), (-1000, 850)),
    "star": (
        (0, -1000), (225, -309), (951, -309), (363, 118), (588, 809),
        (0, 382), (-588, 809), (-363, 118), (-951, -309), (-225, -309),
    ),
}  # fmt: skip
_FONT = {
    "A": "01110 10001 10001 11111 10001 10001 10001", "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01111 10000 10000 10000 10000 10000 01111", "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000", "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001", "L": "10000 10000 10000 10000 10000 10000 11111",
    "P": "11110 10001 10001 11110 10000 10000 10000", "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100", "X": "10001 10001 01010 00100 01010 10001 10001",
    "0": "01110 10001 10011 10101 11001 10001 01110", "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111", "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010", "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110", "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110", "9": "01110 10001 10001 01111 00001 00010 01100",
}  # fmt: skip


def draw_scene(scene: Scene) -> Image:
    """Draw a scene.

    Returns:
        Mode RGB, ``SIDE`` x ``SIDE`` pixels.
    """
    from PIL import Image

    dice = Dice(*scene.look)
    shade = 25 + dice.below(40)
    ground = [shade + dice.below(16) for _ in range(3)]
    pixels = np.empty((SIDE, SIDE, 3), dtype=np.int64)
    pixels[:] = ground
    for thing in scene.things:
        _paint(pixels, _cover(thing, dice), _tint(thing.colour, dice), thing.row, thing.column)
    for sign in scene.signs:
        _paint(pixels, _written(sign, dice), np.array([200 + dice.below(55)] * 3), sign.row, sign.column)
    return Image.fromarray(pixels.astype(np.uint8))


def _paint(pixels: Ints, cover: Ints, colour: Ints, row: int, column: int) -> None:
    """Lay a colour over a cell; cover [CELL, CELL] in 0 ... 255 is positive where it shows, negative where darkened."""
    box = pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    ink = np.where(cover[..., None] < 0, colour // 3, colour)
    share = np.abs(cover)[..., None]
    box[:] = (share * ink + (255 - share) * box) // 255


def _tint(colour: str, dice: Dice) -> Ints:
    return np.array([min(255, max(0, part + dice.below(25) - 12)) for part in _HUES[colour]])


def _cover(thing: Thing, dice: Dice) -> Ints:
    least, largest = _RADII[thing.size]
    radius = least + dice.below(largest - least + 1)
    room = (CELL - radius) // 2
    shift = [dice.below(2 * min(room, 3) + 1) - min(room, 3) for _ in range(2)]
    cover = np.roll(_mask(thing.shape, radius), shift, axis=(0, 1))
    phase = dice.below(6)
    return np.where(_pattern(thing.texture, phase), -cover, cover)


def _written(sign: Sign, dice: Dice) -> Ints:
    scale = 2 + dice.below(2)
    dots = np.array([[int(dot) for dot in row] for row in _FONT[sign.char].split()])
    ink = np.kron(dots, np.full((scale, scale), 255))
    height, width = ink.shape
    top, left = 1 + dice.below(CELL - height - 1), 1 + dice.below(CELL - width - 1)
    cover = np.zeros((CELL, CELL), dtype=np.int64)
    cover[top : top + height, left : left + width] = ink
    return cover


@functools.cache
def _pattern(texture: str, phase: int) -> npt.NDArray[np.bool_]:
    """Where a texture darkens a cell."""
    y, x = np.indices((CELL, CELL)) + phase
    dark: npt.NDArray[np.bool_] = {
        "plain": np.zeros((CELL, CELL), dtype=bool),
        "striped": (x + y) // 2 % 3 == 0,
        "dotted": (x % 5 < 2) & (y % 5 < 2),
    }[texture]
    return dark


@functools.cache
def _mask(shape: str, radius: int) -> Ints:
    """Coverage [CELL, CELL] in 0 ... 255 of a shape in the middle of a cell; the radius is in half pixels."""
    fine = CELL * _FINE
    # Middles of the sub-pixels as thousandths of the radius, which is radius * _FINE / 2 sub-pixels.
    steps = (2 * np.arange(fine, dtype=np.int64) + 1 - fine) * 1000 // (radius * _FINE)
    inside = _inside(shape, steps[None, :], steps[:, None]).reshape(CELL, _FINE, CELL, _FINE)
    cover: Ints = inside.sum(axis=(1, 3), dtype=np.int64) * 255 // (_FINE * _FINE)
    return cover


def _inside(shape: str, x: Ints, y: Ints) -> npt.NDArray[np.bool_]:
    """Whether points, in thousandths of the radius, lie in a shape."""
    round_ = x * x + y * y
    square = np.maximum(abs(x), abs(y))
    found: npt.NDArray[np.bool_]
    if shape in _POLYGONS:
        found = _in_polygon(_POLYGONS[shape], x, y)
    elif shape == "heart":
        lobes = (abs(x) - 470) ** 2 + (y + 400) ** 2 <= 530**2
        found = lobes | _in_polygon(((-930, -150), (930, -150), (0, 1000)), x, y)
    else:
        found = {
            "circle": round_ <= 1_000_000,
            "ring": (round_ <= 1_000_000) & (round_ >= 360_000),
            "square": square <= 860,
            "diamond": abs(x) + abs(y) <= 1000,
            "cross": (square <= 1000) & (np.minimum(abs(x), abs(y)) <= 300),
        }[shape]
    return found


def _in_polygon(corners: tuple[tuple[int, int], ...], x: Ints, y: Ints) -> npt.NDArray[np.bool_]:
    """Even-odd rule: how many edges does a ray to the right cross?"""
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        crosses = (y0 > y) != (y1 > y)
        side = (x - x0) * (y1 - y0) - (x1 - x0) * (y - y0)
        inside ^= crosses & ((side < 0) == (y1 > y0))
    return inside
