"""Which trainings a claim compares: those that it names, or all that differ in what it is about and in nothing else."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .trainings import SAMPLES, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .trainings import Group, Recipe

    Pair: TypeAlias = tuple[Recipe, Recipe]

_TASKS, _WAYS, _SHOTS, _CLASSES = "tasks", "ways", "shots", "classes"


class _Order(NamedTuple):
    """What trainings are put in order by.

    Attributes:
        by: A number of their recipes; ``none`` is above all.
        free: What else may differ.
        total: Whether the number of images of all tasks must be the same.
    """

    by: str
    free: tuple[str, ...] = ()
    total: bool = False


ALONG = {
    "tasks": _Order(_TASKS),
    "samples": _Order(SAMPLES, (_SHOTS,)),
    "split": _Order(SAMPLES, (_SHOTS, _TASKS), total=True),
    "classes": _Order(_CLASSES, (_WAYS, SAMPLES, _TASKS), total=True),
}
"""What a claim may go along; ``split`` is from many small tasks to few large ones. Few classes may have fewer ways."""


def steps(along: str, found: Iterable[Group]) -> list[Pair]:
    """Return what tells two neighbours of trainings of one method from all others, the larger number first.

    Args:
        along: One of ``ALONG``.
        found: The trainings.
    """
    order = ALONG[along]
    rows: dict[tuple[object, ...], list[Group]] = {}
    for group in found:
        recipe = group.recipe
        if {order.by, _TASKS, SAMPLES} <= recipe.keys():
            same = {name: value for name, value in recipe.items() if name not in (order.by, *order.free)}
            total = number(recipe[_TASKS]) * number(recipe[SAMPLES]) if order.total else 0
            rows.setdefault((total, *sorted(same.items())), []).append(group)
    pairs = []
    for row in rows.values():
        row.sort(key=lambda group: number(group.recipe[order.by]))
        neighbours = itertools.pairwise(row)
        pairs += [(high.told, low.told) for low, high in neighbours if high.recipe[order.by] != low.recipe[order.by]]
    return pairs


def matched(
    of: Mapping[str, str], against: Mapping[str, str], found: Sequence[Group], others: Sequence[Group]
) -> list[Pair]:
    """Return pairs of recipes of which an asterisk stands for any text without ``;``, the same on both sides.

    Args:
        of: Field of the recipe -> value, with or without asterisks.
        against: The same of the other side.
        found: Trainings of the method of ``of``.
        others: Trainings of the method of ``against``.

    Returns:
        All that were trained on both sides; as they were given if there is none, or no asterisk in ``of``.
    """
    pairs: list[Pair] = []
    for recipe in (group.recipe for group in found if any("*" in value for value in of.values())):
        texts = [_texts(value, recipe.get(name, "")) for name, value in of.items()]
        if None in texts:
            continue
        pair = {name: recipe[name] for name in of}, _filled(against, [text for each in texts for text in each or ()])
        if pair not in pairs and any(fits(group.recipe, pair[1]) for group in others):
            pairs.append(pair)
    return pairs or [(dict(of), dict(against))]


def fits(recipe: Recipe, wanted: Mapping[str, str]) -> bool:
    """Whether a recipe has the values that are wanted of it, in which an asterisk stands for any text without ``;``."""
    return all(_texts(value, recipe.get(name, "")) is not None for name, value in wanted.items())


def _filled(wanted: Mapping[str, str], texts: Iterable[str]) -> Recipe:
    """The same with the asterisks replaced, in their order, as far as there are texts."""
    left = iter(texts)
    return {name: re.sub(r"\*", lambda _: next(left, "*"), value) for name, value in wanted.items()}


def _texts(pattern: str, value: str) -> tuple[str, ...] | None:
    """What the asterisks of a pattern stand for; ``None`` if it does not fit."""
    fit = re.fullmatch("([^;]*?)".join(map(re.escape, pattern.split("*"))), value)
    return fit.groups() if fit else None
