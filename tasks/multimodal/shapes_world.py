"""The world of ``shapes``: seeded scenes of coloured things on a grid, and what usually stands beside what.

A scene is a 4 x 4 grid. Some of its cells hold a thing (a shape with a colour, a size and a texture), some a written
letter or digit. Every scene has a theme, which makes some pairs of shape and colour likely together: the world has
statistics that a model can lean on, and that questions can be built against. Eight pairs are held out: they occur in
the split ``heldout`` only.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

from ...harness.errors import UserError
from ..dice import Dice

GRID = 4
"""Rows and columns."""
SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond", "ring", "heart")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "cyan", "pink")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted")
LETTERS = tuple("ABCEFHKLPSTX")
DIGITS = tuple("0123456789")
SPLITS = ("train", "val", "test", "heldout")
HELD_OUT = tuple((COLOURS[(3 * i + 2) % len(COLOURS)], shape) for i, shape in enumerate(SHAPES))
"""Pairs of colour and shape that no scene of another split has; each shape and each colour is in one."""

_SHAPE_WEIGHTS = (7, 6, 6, 5, 4, 4, 3, 3)
_COLOUR_WEIGHTS = (7, 6, 5, 5, 4, 4, 3, 3)
_THEMES = (
    (("star", "ring", "circle"), ("yellow", "blue", "cyan")),
    (("heart", "circle", "diamond"), ("red", "pink", "purple")),
    (("triangle", "square", "cross"), ("green", "orange", "yellow")),
    (("square", "diamond", "cross"), ("blue", "red", "green")),
    (("ring", "heart", "triangle"), ("orange", "cyan", "purple")),
)
_LIKELIER = 3
"""How much likelier a theme makes its shapes, and again its colours."""
_FEWEST, _MOST = 3, 7
_STATISTICS = 2000
"""Training scenes from which the world's statistics are counted."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape in a cell."""

    shape: str
    colour: str
    size: str
    texture: str
    row: int
    column: int

    @property
    def pair(self) -> Pair:
        """Colour and shape."""
        return self.colour, self.shape


@dataclass(frozen=True, slots=True)
class Sign:
    """A written letter or digit in a cell."""

    char: str
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen: things and signs in reading order, no two in one cell."""

    name: str
    """``split/seed/index``."""
    things: tuple[Thing, ...]
    signs: tuple[Sign, ...]
    look: tuple[int, ...]
    """Seed of what has no meaning: the exact places, sizes, hues and the ground."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The distinct pairs of colour and shape, in reading order."""
        return tuple(dict.fromkeys(thing.pair for thing in self.things))

    def at(self, row: int, column: int) -> Thing | Sign | None:
        """Return what a cell holds."""
        everything: tuple[Thing | Sign, ...] = (*self.things, *self.signs)
        return next((held for held in everything if (held.row, held.column) == (row, column)), None)


def make_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Return scene number ``index`` of a split; it depends on nothing but the arguments.

    Raises:
        UserError: There is no such split.
    """
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}", where="shapes", todo=f"choose from {', '.join(SPLITS)}")
    stream = (seed, SPLITS.index(split), index)
    dice = Dice(*stream)
    pairs, weights = _likely_pairs(dice.below(len(_THEMES)))
    things = _FEWEST + dice.below(_MOST - _FEWEST + 1)
    signs = dice.choose((0, 1, 2), (1, 2, 1))
    cells = dice.shuffled([(row, column) for row in range(GRID) for column in range(GRID)])
    placed = []
    for number, (row, column) in enumerate(cells[:things]):
        novel = split == "heldout" and (number == 0 or dice.below(4) == 0)
        colour, shape = dice.choose(HELD_OUT) if novel else dice.choose(pairs, weights)
        placed.append(Thing(shape, colour, dice.choose(SIZES), dice.choose(TEXTURES, (2, 1, 1)), row, column))
    written = [Sign(dice.choose(dice.choose((LETTERS, DIGITS))), row, column) for row, column in cells[things:][:signs]]
    return Scene(
        "/".join((split, str(seed), str(index))),
        tuple(sorted(placed, key=lambda thing: (thing.row, thing.column))),
        tuple(sorted(written, key=lambda sign: (sign.row, sign.column))),
        (*stream, 1),
    )


@functools.cache
def _likely_pairs(theme: int) -> tuple[tuple[Pair, ...], tuple[int, ...]]:
    """The pairs that are not held out, and how likely a theme makes each."""
    shapes, colours = _THEMES[theme]
    weights = {
        (colour, shape): base_colour
        * base_shape
        * (_LIKELIER if colour in colours else 1)
        * (_LIKELIER if shape in shapes else 1)
        for colour, base_colour in zip(COLOURS, _COLOUR_WEIGHTS, strict=True)
        for shape, base_shape in zip(SHAPES, _SHAPE_WEIGHTS, strict=True)
        if (colour, shape) not in HELD_OUT
    }
    return tuple(weights), tuple(weights.values())


@functools.cache
def popularity() -> dict[Pair, int]:
    """Pair -> how many training scenes show it, the most popular first."""
    counts = Counter(pair for scene in _training_scenes() for pair in scene.pairs)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@functools.cache
def company() -> dict[tuple[Pair, Pair], int]:
    """Two pairs (in both orders) -> how many training scenes show both."""
    counts: Counter[tuple[Pair, Pair]] = Counter()
    for scene in _training_scenes():
        for one, other in combinations(scene.pairs, 2):
            counts[one, other] += 1
            counts[other, one] += 1
    return dict(counts)


@functools.cache
def _training_scenes() -> tuple[Scene, ...]:
    return tuple(make_scene("train", index) for index in range(_STATISTICS))
