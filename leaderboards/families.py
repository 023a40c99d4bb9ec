"""Which cells of a task are one line: a model at several budgets, or models that differ in one number of a method."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.specs import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..harness.specs import Spec
    from .ranking import Standing


def by_model(standings: Iterable[Standing]) -> dict[str, list[Standing]]:
    """Model spec -> its cells, by rising budget."""
    found: dict[str, list[Standing]] = {}
    for standing in sorted(standings, key=lambda s: (s.row.result.cell.model, s.row.result.cell.budget)):
        found.setdefault(standing.row.result.cell.model, []).append(standing)
    return found


def lines(standings: Iterable[Standing]) -> dict[str, list[Standing]]:
    """Name of a line -> its cells; a cell that is on no line with others is a line of its own.

    Models at one budget whose specs differ only in one number of one method are a family, named by what they share:
    ``tiny-llava+fastv(k=2,r=...)``. Seeds make no family: they have no order. A model of several families is in the
    largest.
    """
    models = by_model(standings)
    found = {model: cells for model, cells in models.items() if len(cells) > 1}
    single = {cells[0].row.label: cells[0] for cells in models.values() if len(cells) == 1}
    families: dict[str, list[str]] = {}
    for label in single:
        with suppress(UserError):  # a run that others made may hold any name
            for family in _families(parse(label)):
                families.setdefault(family, []).append(label)
    for family, members in sorted(families.items(), key=lambda item: (-len(item[1]), item[0])):
        free = [label for label in members if label in single]
        if len(free) > 1:
            found[family] = [single.pop(label) for label in free]
    return dict(sorted((found | {label: [cell] for label, cell in single.items()}).items()))


def _families(spec: Spec) -> Iterator[str]:
    """What a model shares with those that differ from it in one number of one method."""
    for place, call in enumerate(spec.methods):
        for name, value in call.args:
            if isinstance(value, int | float) and not isinstance(value, bool) and name != "seed":
                shared = replace(call, args=tuple({**dict(call.args), name: "..."}.items()))
                yield str(replace(spec, methods=(*spec.methods[:place], shared, *spec.methods[place + 1 :])))
