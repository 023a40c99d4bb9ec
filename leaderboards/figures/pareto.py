"""Accuracy against what prefills cost or read: lines over budgets or values of an option (dissertation, Fig. 5.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.spending import visual_tokens
from ...harness.stats import pareto as frontier
from .. import wording
from ..axes import flops_plot
from ..families import by_model, lines
from ..frame import frame
from . import curves
from .cells import sections
from .curves import Curve, Plane, Spot, spot
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.cards import Metric
    from ...harness.outputs import FigureRequest
    from ...harness.spending import VisualTokens
    from ..axes import Plot
    from ..board import Board
    from ..ranking import Section, Standing

AGAINST = ("flops", "tokens", "share", "budget")
_MOST = 24
"""Lines of a panel."""
_TODO = "run several: --budget 0.5 --budget 1, or --model 'BASE+fastv(r=0.25)' --model 'BASE+fastv(r=0.5)'"


def pareto(request: FigureRequest, *, against: str = "flops") -> str | bytes:
    """Draw it: a panel for each task; of many models one for each base.

    Args:
        request: Runs with a model at several budgets, or with several values of a method's option.
        against: ``flops``: of the whole prefill. ``tokens``: visual ones, on average over the language model's blocks;
            here a model that is on no line with others is drawn too. ``share``: of the language model's, of the base
            model without any method. ``budget``: what was asked for.

    Raises:
        UserError: No two cells are on one line, or their cost is not known.
    """
    if against not in AGAINST:
        raise UserError(f"nothing is drawn against {against!r}", where="pareto", todo=f"use {', '.join(AGAINST)}")
    parts = [part for section in sections(request) for part in _by_base(section, against)]
    found = {title: section for title, section in parts if _lines(section.standings, against)}
    if not found:
        what = "no model of these runs was run at several budgets or with several values of an option"
        raise UserError(what, where="pareto", todo=_TODO)
    panels = [panel for title, section in found.items() if (panel := pareto_panel(section, against, title)) is not None]
    if not panels:
        raise UserError(
            f"no cell of these runs says its {against}", where="pareto", todo="use pareto(against=budget), or run again"
        )
    return render(Drawing("Accuracy against cost", panels), request.form)


def _by_base(section: Section, against: str) -> list[tuple[str, Section]]:
    """A section as it is, with its title; or, of more lines than a panel shows, the parts of its models' bases."""
    parts: dict[str, list[Standing]] = {}
    for standing in section.standings:
        parts.setdefault(standing.row.result.cell.model.partition("+")[0], []).append(standing)
    if len(_lines(section.standings, against)) <= _MOST or len(parts) == 1:
        return [(section.title, section)]
    return [(f"{section.title}: {base}", replace(section, standings=tuple(own))) for base, own in sorted(parts.items())]


def pareto_panel(section: Section, against: str = "flops", title: str = "") -> Panel | None:
    """The panel of a task; ``None`` if there are no two cells on one line whose costs are known."""
    plot = flops_plot(section)
    costs = _costs(section, against, plot)
    priced = [standing for standing in section.standings if standing.name in costs]
    metric, sign = section.metric, 1 if section.metric.better == "higher" else -1
    every = _lines(priced, against)
    if not every:
        return None
    leading = sorted(every, key=lambda name: -max(sign * _value(cell) for cell in every[name]))[:_MOST]
    named = {name: every[name] for name in every if name in leading}
    drawn = [
        Curve(name, sorted(_spot(cell, costs[cell.name], metric) for cell in cells)) for name, cells in named.items()
    ]
    rivals = {standing.name: standing for standing in priced if not standing.baseline}
    scores = {name: (costs[name], sign * _value(standing)) for name, standing in rivals.items()}
    best = sorted((costs[name], wording.scale(metric) * _value(rivals[name])) for name in frontier(scores))
    axis, form, span, log = _axis(against, plot)
    plane = Plane(
        x=axis,
        y=wording.with_unit(metric),
        form=form,
        span=span,
        log=log,
        upwards=sign > 0,
        ceiling=best,
        apart=against in ("budget", "tokens"),
    )
    caption = (
        "Each line is a model over its budgets, or over the values of one option (...), with 95 % intervals. "
        "Dashed: the best score at each cost."
    )
    if len(every) > _MOST:
        caption += f" Of {len(every):,} lines the {_MOST} with the best scores."
    return Panel(title or section.title, lambda palette: curves.lines(drawn, plane, palette), caption)


def on_board(board: Board) -> list[Panel]:
    """The panels of a board."""
    return [panel for section in board.sections if (panel := pareto_panel(section)) is not None]


def _spot(cell: Standing, cost: float, metric: Metric) -> Spot:
    """A cell's score at its cost; the tooltip tells the cell of the line."""
    found = spot(cell.headline, cost, metric)
    return found._replace(text=f"{found.text}, {cell.row.label}")


def _lines(standings: Sequence[Standing], against: str) -> Mapping[str, Sequence[Standing]]:
    """Name -> cells, if any line has several, which tokens do not ask for.

    Against budgets, options make no line: those models have one budget.
    """
    named = by_model(standings) if against == "budget" else lines(standings)
    return named if against == "tokens" or any(len(cells) > 1 for cells in named.values()) else {}


def _costs(section: Section, against: str, plot: Plot) -> Mapping[str, float]:
    """Cell -> its position on the axis; a cell whose cost or score is not known is left out."""
    if against == "flops":
        return {point.standing.name: point.cost.value for point in plot.points}
    known = [standing for standing in section.standings if standing.comparable and standing.headline]
    if against == "budget":
        return {standing.name: standing.row.result.cell.budget for standing in known}
    if against == "tokens":
        read = {standing.name: _tokens(standing) for standing in known}
        return {name: tokens.average for name, tokens in read.items() if tokens}
    return {standing.name: share for standing in known if (share := _share(standing)) is not None}


def _tokens(standing: Standing) -> VisualTokens | None:
    return visual_tokens(standing.row.journal.records(), standing.row.result.language)


def _share(standing: Standing) -> float | None:
    spending = standing.row.result.spending
    return spending.of_base if spending else None


def _value(standing: Standing) -> float:
    return standing.headline.value if standing.headline else 0.0


def _axis(against: str, plot: Plot) -> tuple[str, str, tuple[float, float] | None, bool]:
    """Title, number format, span, and whether the axis is logarithmic."""
    if against == "budget":
        return "budget", "~%", None, False
    if against == "tokens":
        return "visual tokens, on average over the language model's blocks", "~r", None, False
    if against == "share":
        return "language model's FLOPs, of the base model", "~%", None, False
    axes = frame(plot)
    return axes.title, "~s", (axes.left, axes.right), axes.log
