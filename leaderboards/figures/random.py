"""A learned scheduler beside random ones: their mean and range over several seeds (dissertation, Fig. C.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import parse
from .. import wording
from .ablation import SEED, places, without
from .cells import BUDGETS, sections
from .curves import Curve, Plane, Spot, lines, spot
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.cards import Metric
    from ...harness.outputs import FigureRequest
    from ...harness.specs import Spec
    from ..ranking import Section, Standing

    Seeds = Mapping[float, Sequence[Standing]]
    """Budget -> the cells of one model with several seeds, or with one."""


def random(request: FigureRequest) -> str | bytes:
    """Draw it: a panel for each task, a band for what was run with several seeds, a line for the rest.

    Raises:
        UserError: No random scheduler was run with several seeds at several budgets.
    """
    panels = [
        _panel(task, metric, families)
        for task, (metric, families) in _by_task(sections(request)).items()
        if any(_repeated(cells) and "random" in dict(places(parse(name))).values() for name, cells in families.items())
    ]
    if not panels:
        raise UserError(
            "no random scheduler of these runs has several seeds at several budgets",
            where="random",
            todo=f"run adallava-l(scheduler=random,seed=N) with several N, or with several --seed, and {BUDGETS}",
        )
    return render(Drawing("Learned and random schedulers", panels), request.form)


def _by_task(found: Sequence[Section]) -> dict[str, tuple[Metric, dict[str, Seeds]]]:
    """Task -> its metric, and model without its seed -> budget -> cells, of those at several budgets."""
    tasks: dict[str, tuple[Metric, dict[str, dict[float, list[Standing]]]]] = {}
    for section in found:
        _, families = tasks.setdefault(section.task, (section.metric, {}))
        for standing in section.standings:
            cell = standing.row.result.cell
            if standing.headline and not standing.baseline:
                budgets = families.setdefault(_seedless(parse(cell.model)), {})
                budgets.setdefault(cell.budget, []).append(standing)
    return {
        task: (metric, {name: dict(sorted(cells.items())) for name, cells in families.items() if len(cells) > 1})
        for task, (metric, families) in tasks.items()
    }


def _seedless(spec: Spec) -> str:
    """A model without the seeds of its methods."""
    for place, _ in places(spec):
        if place.argument == SEED:
            return _seedless(parse(without(spec, place)))
    return str(spec)


def _repeated(cells: Seeds) -> bool:
    return any(len(found) > 1 for found in cells.values())


def _panel(task: str, metric: Metric, families: Mapping[str, Seeds]) -> Panel:
    curves = [
        Curve(name, [_spot(found, budget, metric) for budget, found in cells.items()], band=_repeated(cells))
        for name, cells in sorted(families.items(), key=lambda item: _repeated(item[1]))
    ]
    plane = Plane("budget", wording.with_unit(metric), upwards=metric.better == "higher", apart=True)
    seeds = max(len(found) for cells in families.values() for found in cells.values())
    caption = f"Bands: mean and range over up to {seeds} seeds. Whiskers: 95 % intervals over the samples of one."
    return Panel(task, lambda palette: lines(curves, plane, palette), caption)


def _spot(found: Sequence[Standing], budget: float, metric: Metric) -> Spot:
    """A cell's score, or the mean and the range of several."""
    if len(found) == 1:
        return spot(found[0].headline, budget, metric)
    values = [spot(standing.headline, budget, metric).y for standing in found]
    low, mean, high = min(values), sum(values) / len(values), max(values)
    return Spot(budget, mean, low, high, f"{mean:.4g} [{low:.4g}, {high:.4g}] over {len(found)} seeds")
