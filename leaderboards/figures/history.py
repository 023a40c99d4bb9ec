"""Scores of models over many runs, a line each: what `report --table history` says in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .. import wording
from ..history import histories
from . import curves
from .cells import unknown
from .curves import Curve, Plane, spot
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.outputs import FigureRequest
    from ..history import Series


def history(request: FigureRequest) -> str | bytes:
    """Draw it: a panel for each task.

    Args:
        request: Two runs or more.

    Raises:
        UserError: No cell is in two runs, or there is no such task or model.
    """
    found = [series for series in _chosen(histories(request.runs), request) if len(series.entries) > 1]
    if not found:
        raise UserError(
            "no cell of these runs is in two of them", where="history", todo="name several runs, or a folder of runs"
        )
    tasks = dict.fromkeys(series.task for series in found)
    panels = [_panel([series for series in found if series.task == task]) for task in tasks]
    return render(Drawing("Scores from run to run", panels), request.form)


def _panel(found: Sequence[Series]) -> Panel:
    metric = found[0].metric
    drawn = [
        Curve(
            series.model,
            [
                spot(score, entry.number, metric)
                for entry in series.entries
                if (score := entry.row.result.metrics.get(metric.name)) is not None
            ],
        )
        for series in found
    ]
    runs = {entry.number: entry for series in found for entry in series.entries}
    told = [f"{number}: {runs[number].date} {runs[number].revision}".rstrip() for number in sorted(runs)]
    plane = Plane(
        "run, the oldest first",
        wording.with_unit(metric),
        form="d",
        ticks=sorted(runs),
        upwards=metric.better == "higher",
        apart=True,
    )
    return Panel(found[0].task, lambda palette: curves.lines(drawn, plane, palette), "; ".join(told))


def _chosen(found: Sequence[Series], request: FigureRequest) -> list[Series]:
    tasks = list(dict.fromkeys(name for series in found for name in (series.cell.task, series.task)))
    if request.task is not None and request.task not in tasks:
        raise unknown("task", request.task, tasks)
    models = list(dict.fromkeys(name for series in found for name in (series.cell.model, series.model)))
    for model in request.models:
        if model not in models:
            raise unknown("model", model, models)
    return [
        series
        for series in found
        if request.task in (None, series.cell.task, series.task)
        and (not request.models or {series.cell.model, series.model} & {*request.models})
    ]
