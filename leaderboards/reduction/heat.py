"""``adaptbench figure retained``: what models keep of the whole one's score, a row for each and a column per task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import parse
from .. import vega, wording
from ..collect import collect
from ..figures import Drawing, Panel, render
from .lines import CORRECTED, LOYALTY, RETAINED, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...harness.outputs import FigureRequest
    from ...harness.results import Estimate

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


def retained(request: FigureRequest, *, baseline: str = "", of: str = "retained", blind: str = "") -> str | bytes:
    """Draw it: models from the one that keeps most on average to the one that keeps least.

    Args:
        request: Runs of a whole model and of others.
        baseline: Spec of the whole model; default the only one without methods.
        of: ``retained``, ``corrected``, which is what is kept of what images add, or ``loyalty``, the share of the
            samples with the whole model's very text.
        blind: Spec of the model that sees no image, for ``corrected``; default BASELINE+blind.

    Raises:
        UserError: There is no such measure or model, or nothing can be held against the whole one.
    """
    if of not in MEASURES:
        raise UserError(f"nothing is drawn of {of!r}", where="retained", todo=f"use {', '.join(MEASURES)}")
    collected = collect(request.runs)
    whole = baseline or _only_base({row.result.cell.model for row in collected.rows})
    found, measure = find(collected, whole, blind), MEASURES[of][0]
    wanted = {wording.budgeted(str(spec.without_budget()), spec.budget or 1) for spec in map(parse, request.models)}
    lines = [line for line in found.lines if not wanted or line.label in wanted]
    titles = [task.title for task in found.tasks if request.task in (None, task.title, task.base.row.result.cell.task)]
    if not (lines and titles):
        raise UserError("no such model or task is held against the whole model", todo="leave --model or --task out")
    averaged = [title for title in found.averaged if title in titles]
    rows: dict[str, dict[str, Estimate | None]] = {}
    for line in lines:
        rows[line.label] = {title: measure.of(line.tasks[title]) if title in line.tasks else None for title in titles}
        if len(averaged) > 1:
            rows[line.label][_MEAN] = line.mean(averaged, measure)
    most_first = dict(sorted(rows.items(), key=lambda row: -_last(row[1])))
    caption = f"In {MEASURES[of][1]}, with 95 % intervals."
    width = _NAMES + _WIDE * len(rows[lines[0].label])
    panel = Panel(measure.name.capitalize(), lambda _: _chart(most_first), caption, width, grows=False)
    return render(Drawing(f"What is kept of {found.tasks[0].base.label}", [panel], columns=1), request.form)


def _only_base(models: set[str]) -> str:
    whole = sorted(model for model in models if "+" not in model)
    if len(whole) == 1:
        return whole[0]
    what = f"several models have no methods: {', '.join(whole)}" if whole else "every model of these runs has a method"
    raise UserError(what, where="retained", todo="name the whole one: retained(baseline=MODEL)")


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
