"""``adaptbench figure retained``: what models keep of their whole one's score, a row for each and a column per task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import parse
from .. import vega, wording
from ..collect import collect
from ..figures import Drawing, Panel, render
from .lines import CORRECTED, LOYALTY, RETAINED, Named, find
from .scatter import AXES
from .scatter import panels as plane_panels
from .wholes import own_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...harness.outputs import FigureRequest
    from ...harness.results import Estimate
    from .lines import Family, Measure

MEASURES = {
    "retained": (RETAINED, "% of the whole model's score"),
    "corrected": (CORRECTED, "% of what images add to the whole model's score"),
    "loyalty": (LOYALTY[0], "% of the samples"),
}
"""Name -> the measure, and its unit."""
_MEAN = "mean"
_WIDE, _HIGH, _NAMES = 140, 34, 320
"""Width and height of a cell, and the width of models' names, in pixels."""
_DARK, _PALE, _FROM = "#1c2126", "#ffffff", 62
"""Colours of numbers, and the share in % from which they are pale."""


def retained(
    request: FigureRequest, *, baseline: str = "", of: str = "retained", blind: str = "", against: str = ""
) -> str | bytes:
    """Draw it: a panel for each whole model; below it others from the one that keeps most on average to the least.

    Args:
        request: Runs of whole models and of others.
        baseline: Spec of the whole model of all others; by default specs tell, as in the report.
        of: ``retained``, ``corrected``, which is what is kept of what images add, or ``loyalty``, the share of the
            samples with the whole model's very text.
        blind: Spec of the model that sees no image, for ``corrected``; default WHOLE+blind.
        against: ``tokens`` or ``flops``: draw the means against them instead, a point for each model.

    Raises:
        UserError: There is no such measure or model, or nothing can be held against the whole one.
    """
    if of not in MEASURES:
        raise UserError(f"nothing is drawn of {of!r}", where="retained", todo=f"use {', '.join(MEASURES)}")
    if against not in ("", *AXES):
        raise UserError(f"nothing is drawn against {against!r}", where="retained", todo=f"use {', '.join(AXES)}")
    found, (measure, unit) = find(collect(request.runs), Named(baseline, blind)), MEASURES[of]
    wanted = {wording.budgeted(str(spec.without_budget()), spec.budget or 1) for spec in map(parse, request.models)}
    if against:
        panels = plane_panels(found, measure, unit, against, wanted)
    else:
        panels = list(filter(None, (_panel(family, measure, unit, wanted, request.task) for family in found.families)))
    if not panels:
        why = f", or none tells its {against}" if against else ""
        what = f"no such model or task is held against a whole model{why}"
        raise UserError(what, todo="leave --model or --task out")
    wholes = wording.listed([family.whole for family in found.families])
    return render(Drawing(f"What is kept of {wholes}", panels, columns=1), request.form)


def _panel(family: Family, measure: Measure, unit: str, wanted: set[str], wished: str | None) -> Panel | None:
    lines = [line for line in family.lines if not wanted or line.label in wanted]
    titles = [task.title for task in family.tasks if wished in (None, task.title, task.base.row.result.cell.task)]
    if not (lines and titles):
        return None
    averaged = [title for title in family.averaged if title in titles]
    rows: dict[str, dict[str, Estimate | None]] = {}
    for line in lines:
        name = own_part(line.label, family.whole)
        rows[name] = {title: measure.of(line.tasks[title]) if title in line.tasks else None for title in titles}
        if len(averaged) > 1:
            rows[name][_MEAN] = line.mean(averaged, measure)
    most_first = dict(sorted(rows.items(), key=lambda row: -_last(row[1])))
    caption = f"In {unit}, with 95 % intervals."
    width = _NAMES + _WIDE * len(next(iter(rows.values())))
    title = f"{measure.name.capitalize()}: {family.whole}"
    return Panel(title, lambda _: _chart(most_first), caption, width, grows=False)


def _last(row: Mapping[str, Estimate | None]) -> float:
    """What a model is ordered by: its mean, or what it keeps on the last task that says anything."""
    return next((one.value for one in reversed([*row.values()]) if one is not None), 0.0)


def _chart(rows: Mapping[str, Mapping[str, Estimate | None]]) -> vega.Spec:
    values = [
        {"model": model, "task": task, "share": 100 * one.value, "text": wording.share(one).split(" ", 1)}
        for model, row in rows.items()
        for task, one in row.items()
        if one is not None
    ]
    tasks = list(next(iter(rows.values())))
    look = {"title": None, "domain": False, "ticks": False, "grid": False}
    place = {
        "x": vega.name("task", sort=tasks, axis={**look, "orient": "top", "labelAngle": 0, "labelLimit": _WIDE - 4}),
        "y": vega.name("model", sort=list(rows), axis={**look, "labelLimit": _NAMES}),
    }
    colour = vega.number("share", scale={"scheme": "blues", "domain": [0, 100], "clamp": True}, legend=None)
    told = {"tooltip": [vega.name("model"), vega.name("task"), vega.number("share", title="%", format=".1f")]}
    ink = {"condition": {"test": f"datum.share > {_FROM}", "value": _PALE}, "value": _DARK}
    parts = [
        vega.mark("rect", place | told | {"color": colour}),
        vega.mark(
            "text",
            place | {"text": vega.name("text"), "color": ink},
            fontSize=10,
            lineHeight=12,
            baseline="line-bottom",
            dy=-1,
        ),
    ]
    return vega.layers(parts, _WIDE * len(tasks), _HIGH * len(rows), values)
