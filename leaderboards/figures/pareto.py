"""Accuracy against what a prefill costs, a line for each model over its budgets (dissertation, Fig. 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.stats import pareto as frontier
from .. import wording
from ..axes import flops_plot
from ..frame import frame
from .cells import BUDGETS, by_model, sections, swept
from .curves import Curve, Plane, lines, spot
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...harness.outputs import FigureRequest
    from ..board import Board
    from ..ranking import Section, Standing

AGAINST = ("flops", "share", "budget")


def pareto(request: FigureRequest, *, against: str = "flops") -> str | bytes:
    """Draw it: a panel for each task.

    Args:
        request: Runs with models at several budgets.
        against: ``flops``: of the whole prefill. ``share``: of the language model's, over those with every switch on.
            ``budget``: what was asked for.

    Raises:
        UserError: No model was run at several budgets, or its cost is not known.
    """
    if against not in AGAINST:
        raise UserError(f"nothing is drawn against {against!r}", where="pareto", todo=f"use {', '.join(AGAINST)}")
    found = [section for section in sections(request) if swept(section)]
    if not found:
        raise UserError("no model of these runs was run at several budgets", where="pareto", todo=BUDGETS)
    panels = [panel for section in found if (panel := pareto_panel(section, against)) is not None]
    if not panels:
        raise UserError(
            f"no cell of these runs says its {against}", where="pareto", todo="use pareto(against=budget), or run again"
        )
    return render(Drawing("Accuracy against cost", panels), request.form)


def pareto_panel(section: Section, against: str = "flops") -> Panel | None:
    """The panel of a task; ``None`` if no model's cost is known at several budgets."""
    costs = _costs(section, against)
    models = by_model(standing for standing in section.standings if standing.name in costs)
    if not any(len(cells) > 1 for cells in models.values()):
        return None
    metric, sign = section.metric, 1 if section.metric.better == "higher" else -1
    curves = [
        Curve(model, [spot(cell.headline, costs[cell.name], metric) for cell in cells])
        for model, cells in models.items()
    ]
    rivals = {s.name: s for cells in models.values() for s in cells if not s.landmark}
    scores = {name: (costs[name], sign * _value(standing)) for name, standing in rivals.items()}
    best = sorted((costs[name], wording.scale(metric) * _value(rivals[name])) for name in frontier(scores))
    title, form, span, log = _axis(section, against)
    plane = Plane(
        x=title,
        y=wording.with_unit(metric),
        form=form,
        span=span,
        log=log,
        upwards=sign > 0,
        ceiling=best,
        apart=against == "budget",
    )
    caption = "Each line is a model over its budgets, with 95 % intervals. Dashed: the best that a cost has bought."
    return Panel(section.title, lambda palette: lines(curves, plane, palette), caption)


def on_board(board: Board) -> list[Panel]:
    """The panels of a board."""
    return list(filter(None, map(pareto_panel, board.sections)))


def _costs(section: Section, against: str) -> Mapping[str, float]:
    """Cell -> where it stands on the axis; a cell whose cost or score is not known is left out."""
    if against == "flops":
        return {point.standing.name: point.cost.value for point in flops_plot(section).points}
    known = [standing for standing in section.standings if standing.comparable and standing.headline]
    if against == "budget":
        return {standing.name: standing.row.result.cell.budget for standing in known}
    return {standing.name: share for standing in known if (share := _share(standing)) is not None}


def _share(standing: Standing) -> float | None:
    spending = standing.row.result.spending
    account = spending.accounts.get("flops") if spending else None
    return account.share.value if account else None


def _value(standing: Standing) -> float:
    return standing.headline.value if standing.headline else 0.0


def _axis(section: Section, against: str) -> tuple[str, str, tuple[float, float] | None, bool]:
    """Title, number format, span, and whether the axis is logarithmic."""
    if against == "budget":
        return "budget", "~%", None, False
    if against == "share":
        return "share of the language model's FLOPs with every switch on", "~%", None, False
    axes = frame(flops_plot(section))
    return axes.title, "~s", (axes.left, axes.right), axes.log
