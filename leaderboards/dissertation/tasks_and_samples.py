"""Accuracy against the tasks that an encoder was finetuned on, and their samples (dissertation, Figs. 3.3 and A.3)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .. import wording
from ..figures.cells import sections
from ..figures.curves import Curve, Plane, Spot, lines
from ..figures.files import render
from ..figures.panels import Drawing, Panel
from .contrasts import contrast
from .trainings import SAMPLES, Place, clusters, groups, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...harness.outputs import FigureRequest
    from ..ranking import Section
    from .trainings import Group

_TASKS, _SHOTS = "tasks", "shots"
_FREE = (_TASKS, SAMPLES, _SHOTS)
_TITLES = {_TASKS: "tasks, M", SAMPLES: "samples of a task, m", _SHOTS: "shots of a task"}
_LINES: dict[str, Callable[[Group], tuple[float, str]]] = {
    _TASKS: lambda group: (number(group.recipe[SAMPLES]), f"m = {group.recipe[SAMPLES]}"),
    SAMPLES: lambda group: (number(group.recipe[_TASKS]), f"M = {group.recipe[_TASKS]}"),
    _SHOTS: lambda group: (total(group), f"M m = {total(group):,.0f}"),
}
"""What stands on the horizontal axis -> the order and the name of the line that a training is on."""


def tasks_and_samples(request: FigureRequest, *, x: str = _TASKS) -> str | bytes:
    """Draw it: a panel for each encoder and target, with intervals over episodes and trainings.

    Args:
        request: Runs of one method on one encoder, trained on several numbers of tasks.
        x: ``tasks``: a line for each number of samples. ``samples``: a line for each number of tasks. ``shots``: a line
            for each number of samples in all.

    Raises:
        UserError: No line has two points, or there is no such axis.
    """
    if x not in _LINES:
        raise UserError(f"there is no axis {x!r}", where="tasks-and-samples", todo=f"use x={', x='.join(_LINES)}")
    found = sections(request)
    every, names = groups(found, request.plugins.registry), clusters(found)
    panels = []
    for model in dict.fromkeys(group.model for group in every):
        for section in found:
            at = functools.partial(_spot, section, names)
            own = _alike([group for group in every if group.model == model and _place(section) in group.cells])
            curves = _curves(own, x, at)
            if any(len({spot.x for spot in curve.spots}) > 1 for curve in curves):
                base = [group for group in every if group.model == own[0].base and _place(section) in group.cells]
                title = f"{model} on {section.title}"
                panels.append(_panel(title, [*curves, *_levels(base, curves, at)], x, section))
    if not panels:
        raise UserError(
            f"no method of these runs was trained with several {x}",
            where="tasks-and-samples",
            todo="run checkpoints of `adaptbench train multitask-ft` with several --tasks and --queries",
        )
    return render(Drawing("Tasks and samples of multitask finetuning", panels), request.form)


def total(group: Group) -> float:
    """The samples of all tasks together."""
    return number(group.recipe[_TASKS]) * number(group.recipe[SAMPLES])


def _alike(found: Sequence[Group]) -> list[Group]:
    """Those that differ in tasks and samples only; the most there are."""
    rows: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in found:
        if set(_FREE) <= group.recipe.keys():
            same = tuple(sorted(item for item in group.recipe.items() if item[0] not in _FREE))
            rows.setdefault(same, []).append(group)
    return max(rows.values(), key=len, default=[])


def _curves(found: Sequence[Group], x: str, at: Callable[[Group, float], Spot]) -> list[Curve]:
    rows: dict[tuple[float, str], list[Spot]] = {}
    for group in sorted(found, key=lambda group: number(group.recipe[x])):
        rows.setdefault(_LINES[x](group), []).append(at(group, number(group.recipe[x])))
    return [Curve(name, spots) for (_, name), spots in sorted(rows.items())]


def _levels(base: Sequence[Group], curves: Sequence[Curve], at: Callable[[Group, float], Spot]) -> list[Curve]:
    """The base itself, which was trained on nothing, from end to end."""
    places = sorted({spot.x for curve in curves for spot in curve.spots})
    return [Curve("direct adaptation", [at(group, place) for place in places], band=True) for group in base]


def _spot(section: Section, names: Mapping[str, Sequence[str]], group: Group, x: float) -> Spot:
    seeds = group.trainings([_place(section)])
    made = contrast([group.term(1.0, [section.title], seeds)], names)
    factor = wording.scale(section.metric)
    low, high = made.ends() or (made.value, made.value)
    text = f"{factor * made.value:.1f} [{factor * low:.1f}, {factor * high:.1f}] {section.metric.unit}".rstrip()
    trained = f", {len(seeds)} training{'s' if len(seeds) > 1 else ''}" if group.methods else ""
    return Spot(x, factor * made.value, factor * low, factor * high, text + trained)


def _panel(title: str, curves: Sequence[Curve], x: str, section: Section) -> Panel:
    places = [spot.x for curve in curves for spot in curve.spots]
    plane = Plane(
        x=_TITLES[x],
        y=wording.with_unit(section.metric),
        form=",~r",
        span=(min(places) / 1.15, max(places) * 1.15),
        log=True,
        apart=True,
        line="trained with",
    )
    caption = f"Means over trainings with 95 % intervals over {section.noun} and trainings."
    return Panel(title, lambda palette: lines(curves, plane, palette), caption)


def _place(section: Section) -> Place:
    return Place(1.0, section.title)
