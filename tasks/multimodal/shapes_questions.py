"""What can be asked of a scene of ``shapes``, with the answer: in the manner of VQA, POPE, MME, MMBench and TextVQA.

Whatever is asked has one answer: a thing is only spoken of by words that fit it and no other thing of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .shapes_world import (
    COLOURS,
    DIGITS,
    GRID,
    HELD_OUT,
    LETTERS,
    SHAPES,
    SIZES,
    TEXTURES,
    Sign,
    Thing,
    company,
    popularity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..dice import Dice
    from .shapes_world import Pair, Scene

SYNONYMS = {
    "small": ("little",), "large": ("big",), "plain": ("solid", "none"), "striped": ("stripes",), "dotted": ("dots",),
    "purple": ("violet",), "cyan": ("turquoise",), "circle": ("disc", "disk"), "cross": ("plus",),
    "diamond": ("rhombus",),
    "top left": ("upper left",), "top right": ("upper right",),
    "bottom left": ("lower left",), "bottom right": ("lower right",),
}  # fmt: skip
"""Answer -> what else is right."""
POPE_SPLITS = ("random", "popular", "adversarial")
MME_TASKS = ("existence", "count", "position", "color", "OCR")
OPEN_KINDS = ("color", "shape", "size", "pattern", "count", "place", "neighbor", "relation", "exists", "verify")
CHOICE_KINDS = ("color", "shape", "size", "pattern", "count", "place", "neighbor")

_QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
_PLURALS = {shape: f"{shape}es" if shape == "cross" else f"{shape}s" for shape in SHAPES}
_SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
"""Side -> step in rows and columns."""
_FORMS = ("s", "cs", "cs", "zs", "ts", "zcs", "tcs", "co", "zco", "tco", "zo", "to", "ztcs")
"""What a description tells: size (z), texture (t), colour (c), shape (s) or just "object" (o)."""
_ALIKE = {"0": "8", "1": "7", "2": "7", "3": "8", "5": "S", "6": "8", "8": "B", "9": "5", "B": "8", "C": "0",
          "E": "F", "F": "P", "H": "A", "K": "X", "L": "1", "P": "F", "S": "5", "T": "1", "X": "K"}  # fmt: skip
"""What a bad reader reads instead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer."""

    kind: str
    text: str
    answer: str
    options: tuple[str, ...] = ()
    ocr: tuple[str, ...] = ()


class Words(NamedTuple):
    """A description: what it tells of a thing; empty where it tells nothing."""

    size: str = ""
    texture: str = ""
    colour: str = ""
    shape: str = ""

    def fits(self, thing: Thing) -> bool:
        """Whether the thing is one of those that are described."""
        return all(
            said in {"", held}
            for said, held in zip(self, (thing.size, thing.texture, thing.colour, thing.shape), strict=True)
        )

    def among(self, scene: Scene) -> list[Thing]:
        """Return the things of a scene that it fits."""
        return [thing for thing in scene.things if self.fits(thing)]

    def singular(self) -> str:
        """Return ``small red circle`` or ``striped object``."""
        return " ".join(filter(None, (*self[:3], self.shape or "object")))

    def plural(self) -> str:
        """Return ``small red circles`` or ``striped objects``."""
        return " ".join(filter(None, (*self[:3], _PLURALS.get(self.shape, "objects"))))


def words_for(thing: Thing, form: str) -> Words:
    """Return the description of a thing that tells what the form says."""
    return Words(
        thing.size if "z" in form else "",
        thing.texture if "t" in form else "",
        thing.colour if "c" in form else "",
        thing.shape if "s" in form else "",
    )


def refer(scene: Scene, thing: Thing, dice: Dice, hidden: str = "") -> Words | None:
    """Return words that fit this thing alone, or ``None`` if there are none.

    Args:
        scene: Where the thing is.
        thing: What to speak of.
        dice: Chooses among the possible ones.
        hidden: Letter of what must not be told: ``s``, ``c``, ``z`` or ``t``.
    """
    forms = [form for form in _FORMS if not hidden or hidden not in form]
    found = [words for words in (words_for(thing, form) for form in forms) if len(words.among(scene)) == 1]
    return dice.choose(found) if found else None


def quadrant(held: Thing | Sign) -> str:
    """Return where a thing is: ``top left``, ``top right``, ``bottom left`` or ``bottom right``."""
    return f"{'top' if held.row < GRID // 2 else 'bottom'} {'left' if held.column < GRID // 2 else 'right'}"


def beside(scene: Scene, thing: Thing, side: str) -> Thing | None:
    """Return the thing in the next cell on a side."""
    down, right = _SIDES[side]
    held = scene.at(thing.row + down, thing.column + right)
    return held if isinstance(held, Thing) else None


def lies(one: Thing, side: str, other: Thing) -> bool:
    """Whether one thing is on a side of another, however far."""
    down, right = _SIDES[side]
    return (one.row - other.row) * down + (one.column - other.column) * right > 0


def article(words: str) -> str:
    """Return the words with ``a`` or ``an`` before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def ask_open(scene: Scene, kind: str, dice: Dice) -> Asked | None:
    """Ask an open question of a kind in `OPEN_KINDS`; ``None`` if the scene has no answer to one that was tried."""
    thing = dice.choose(scene.things)
    return _ASKERS[kind](scene, thing, dice)


def _color(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice, "c")
    return words and Asked("color", f"What color is the {words.singular()}?", thing.colour)


def _shape(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice, "s")
    return words and Asked("shape", f"What shape is the {words.singular()}?", thing.shape)


def _size(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice, "z")
    return words and Asked("size", f"What size is the {words.singular()}?", thing.size)


def _pattern(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice, "t")
    return words and Asked("pattern", f"What pattern does the {words.singular()} have?", thing.texture)


def _count(scene: Scene, thing: Thing, dice: Dice) -> Asked:
    form = dice.choose(("s", "s", "cs", "co", "to", "zo"))
    if dice.below(5) == 0:  # now and then of what may not be there
        thing = _any_thing(dice)
    words = words_for(thing, form)
    return Asked("count", f"How many {words.plural()} are there?", str(len(words.among(scene))))


def _place(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice)
    return words and Asked("place", f"Where is the {words.singular()}?", quadrant(thing))


def _neighbor(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    words = refer(scene, thing, dice)
    near = [(side, other) for side in _SIDES if (other := beside(scene, thing, side))]
    if not words or not near:
        return None
    side, other = dice.choose(near)
    if dice.below(2):
        return Asked("neighbor", f"Which shape is directly {side} the {words.singular()}?", other.shape)
    return Asked("neighbor", f"What color is the object directly {side} the {words.singular()}?", other.colour)


def _relation(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    side = dice.choose(tuple(_SIDES))
    wanted = dice.below(2) == 1
    others = [o for o in scene.things if lies(thing, side, o) == wanted and (wanted or lies(o, side, thing))]
    if not others:
        return None
    other = dice.choose(others)
    one, two = refer(scene, thing, dice), refer(scene, other, dice)
    if not one or not two:
        return None
    return Asked("relation", f"Is the {one.singular()} {side} the {two.singular()}?", "yes" if wanted else "no")


def _exists(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    form = dice.choose(("s", "cs", "cs", "zcs", "tcs"))
    wanted = dice.below(2) == 1
    if not wanted:
        thing = _any_thing(dice, dice.choose(("", thing.shape)))
    words = words_for(thing, form)
    if bool(words.among(scene)) != wanted:
        return None
    return Asked("exists", f"Is there {article(words.singular())}?", "yes" if wanted else "no")


def _verify(scene: Scene, thing: Thing, dice: Dice) -> Asked | None:
    hidden, held, known = dice.choose((("c", thing.colour, COLOURS), ("t", thing.texture, TEXTURES)))
    words = refer(scene, thing, dice, hidden)
    wanted = dice.below(2) == 1
    said = held if wanted else dice.choose(_other_than(held, known, thing.shape))
    return words and Asked("verify", f"Is the {words.singular()} {said}?", "yes" if wanted else "no")


def _any_thing(dice: Dice, shape: str = "") -> Thing:
    """Return a thing that may be there or not. Held-out pairs are not spoken of: each would be a "no" to be learned."""
    colour, found = dice.choose([pair for pair in popularity() if shape in {"", pair[1]}])
    return Thing(found, colour, dice.choose(SIZES), dice.choose(TEXTURES), 0, 0)


def _other_than(held: str, known: Sequence[str], shape: str) -> list[str]:
    return [other for other in known if other != held and (other, shape) not in HELD_OUT]


_ASKERS: dict[str, Callable[[Scene, Thing, Dice], Asked | None]] = {
    "color": _color, "shape": _shape, "size": _size, "pattern": _pattern, "count": _count, "place": _place,
    "neighbor": _neighbor, "relation": _relation, "exists": _exists, "verify": _verify,
}  # fmt: skip


def ask_pope(scene: Scene, split: str, dice: Dice, most: int = 3) -> list[Asked]:
    """Ask for pairs that are there and, as often, for pairs that are not, chosen as POPE chooses them.

    Args:
        scene: The image.
        split: How the absent ones are chosen: ``random``; ``popular``, the most frequent of the world; ``adversarial``,
            those that most often stand beside what is there.
        dice: Chooses the rest.
        most: Greatest number of present and of absent pairs.

    Returns:
        Yes and no by turns.
    """
    present = dice.shuffled(scene.pairs)[:most]
    absent = [pair for pair in popularity() if pair not in scene.pairs]
    if split == "random":
        absent = dice.shuffled(absent)
    elif split == "adversarial":
        beside_them = company()
        absent.sort(key=lambda pair: -sum(beside_them.get((held, pair), 0) for held in scene.pairs))
    asked = []
    for there, missing in zip(present, absent, strict=False):
        asked += [_is_there(split, there, "yes"), _is_there(split, missing, "no")]
    return asked


def _is_there(split: str, pair: Pair, answer: str) -> Asked:
    return Asked(split, f"Is there {article(' '.join(pair))} in the image?", answer)


def ask_mme(scene: Scene, task: str, dice: Dice) -> tuple[Asked, Asked] | None:
    """Ask two questions of one task in `MME_TASKS`: the answer to one is yes, to the other no.

    Returns:
        ``None`` if the scene, or what was tried of it, does not allow it.
    """
    texts = _MME_TEXTS[task](scene, dice.choose(scene.things), dice)
    return texts and (Asked(task, texts[0], "yes"), Asked(task, texts[1], "no"))


def _mme_existence(scene: Scene, thing: Thing, dice: Dice) -> tuple[str, str]:
    absent = [pair for pair in popularity() if pair not in scene.pairs]
    pairs = thing.pair, dice.choose(absent)
    one, two = (f"Is there {article(' '.join(pair))} in this image?" for pair in pairs)
    return one, two


def _mme_count(scene: Scene, thing: Thing, dice: Dice) -> tuple[str, str]:
    words = words_for(thing, dice.choose(("s", "s", "co", "cs")))
    number = len(words.among(scene))
    wrong = number + 1 if number == 1 or dice.below(2) else number - 1
    one, two = (
        f"Is there exactly 1 {words.singular()} in this image?"
        if said == 1
        else f"Are there exactly {said} {words.plural()} in this image?"
        for said in (number, wrong)
    )
    return one, two


def _mme_position(scene: Scene, thing: Thing, dice: Dice) -> tuple[str, str] | None:
    pairs = [(side, other) for side in _SIDES for other in scene.things if lies(thing, side, other)]
    if not pairs:
        return None
    side, other = dice.choose(pairs)
    one, two = refer(scene, thing, dice), refer(scene, other, dice)
    if not one or not two:
        return None
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[side]
    return (
        f"Is the {one.singular()} {side} the {two.singular()}?",
        f"Is the {one.singular()} {opposite} the {two.singular()}?",
    )


def _mme_color(scene: Scene, thing: Thing, dice: Dice) -> tuple[str, str] | None:
    words = refer(scene, thing, dice, "c")
    if not words:
        return None
    wrong = dice.choose(_other_than(thing.colour, COLOURS, thing.shape))
    return f"Is the {words.singular()} {thing.colour}?", f"Is the {words.singular()} {wrong}?"


def _mme_ocr(scene: Scene, thing: Thing, dice: Dice) -> tuple[str, str] | None:
    del thing
    if len(scene.signs) != 1:
        return None
    (sign,) = scene.signs
    known = DIGITS if sign.char in DIGITS else LETTERS
    noun = "digit" if sign.char in DIGITS else "letter"
    wrong = dice.choose([char for char in known if char != sign.char])
    return f"Is the {noun} in the image {sign.char}?", f"Is the {noun} in the image {wrong}?"


_MME_TEXTS: dict[str, Callable[[Scene, Thing, Dice], tuple[str, str] | None]] = {
    "existence": _mme_existence, "count": _mme_count, "position": _mme_position, "color": _mme_color, "OCR": _mme_ocr,
}  # fmt: skip


def ask_choice(scene: Scene, kind: str, dice: Dice) -> Asked | None:
    """Ask a question of a kind in `CHOICE_KINDS` with two to four options; the answer is the right one's letter."""
    asked = ask_open(scene, kind, dice)
    if asked is None:
        return None
    known: Sequence[str] = next(
        (answers for answers in (COLOURS, SHAPES, SIZES, TEXTURES, _QUADRANTS) if asked.answer in answers),
        tuple(str(number) for number in range(6)),
    )
    wrong = dice.shuffled([answer for answer in known if answer != asked.answer])[: 2 + dice.below(2)]
    options = dice.shuffled([asked.answer, *wrong])
    return Asked(kind, asked.text, "ABCD"[options.index(asked.answer)], tuple(options))


def circular(asked: Asked) -> list[Asked]:
    """Return the passes of MMBench's circular evaluation: the options, rotated once a pass."""
    right = asked.options["ABCD".index(asked.answer)]
    turned = [asked.options[turn:] + asked.options[:turn] for turn in range(len(asked.options))]
    return [Asked(asked.kind, asked.text, "ABCD"[options.index(right)], options) for options in turned]


def ask_reading(scene: Scene, dice: Dice) -> Asked | None:
    """Ask what is written, with what an imperfect reader of words would find in the image."""
    if not scene.signs:
        return None
    sign = dice.choose(scene.signs)
    meant = {
        "What letter is written in the image?": [other for other in scene.signs if other.char in LETTERS],
        "What digit is written in the image?": [other for other in scene.signs if other.char in DIGITS],
        f"What is written in the {quadrant(sign)}?": [o for o in scene.signs if quadrant(o) == quadrant(sign)],
    }
    texts = [text for text, signs in meant.items() if signs == [sign]]
    return Asked("reading", dice.choose(texts), sign.char, ocr=_read_badly(scene.signs, dice)) if texts else None


def _read_badly(signs: Iterable[Sign], dice: Dice) -> tuple[str, ...]:
    read = []
    for sign in signs:
        luck = dice.below(10)
        if luck:
            read.append(_ALIKE.get(sign.char, sign.char) if luck == 1 else sign.char)
    return tuple(read)


def ask_region(scene: Scene, dice: Dice) -> Asked | None:
    """Ask for a description of one thing, named by some of what it is, or of one cell."""
    what = dice.choose(("thing", "cell", "sign", "absent"), (5, 2, 1, 2))
    if what == "cell":
        row, column = dice.below(GRID), dice.below(GRID)
        return Asked(what, f"Describe row {row + 1}, column {column + 1}.", _cell(scene, row, column))
    if what == "sign":
        if not scene.signs:
            return None
        sign = dice.choose(scene.signs)
        alone = sum((other.char in DIGITS) == (sign.char in DIGITS) for other in scene.signs) == 1
        noun = "digit" if sign.char in DIGITS else "letter"
        return Asked(what, f"Describe the {noun}.", f"{sign.char}, {_address(sign)}") if alone else None
    thing = dice.choose(scene.things) if what == "thing" else _any_thing(dice)
    words = refer(scene, thing, dice) if what == "thing" else words_for(thing, dice.choose(_FORMS))
    if not words or (what == "absent" and words.among(scene)):
        return None
    told = f"{words_for(thing, 'ztcs').singular()}, {_address(thing)}" if what == "thing" else "none"
    return Asked(what, f"Describe the {words.singular()}.", told)


def _address(held: Thing | Sign) -> str:
    return f"row {held.row + 1}, column {held.column + 1}"


def describe(scene: Scene) -> str:
    """Tell what every cell holds, row by row."""
    rows = [", ".join(_cell(scene, row, column) for column in range(GRID)) for row in range(GRID)]
    return "; ".join(f"row {number + 1}: {row}" for number, row in enumerate(rows)) + "."


def _cell(scene: Scene, row: int, column: int) -> str:
    held = scene.at(row, column)
    if held is None:
        return "empty"
    if isinstance(held, Sign):
        return f"{'digit' if held.char in DIGITS else 'letter'} {held.char}"
    return words_for(held, "ztcs").singular()
