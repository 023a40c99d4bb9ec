"""How far a model that was shown the simple tasks stays behind itself when it is shown their composite."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from ...harness.results import Estimate
from ...harness.stats import mean_interval
from .. import wording
from .compositional import WIDTH, Row, bars
from .files import render
from .pairs import COMPOSITE, GOLD, SETTINGS, brief, find_pairs, is_baseline, pairs_of
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.cards import Metric
    from ...harness.outputs import FigureRequest
    from ..board import Board
    from .pairs import Pair, Part

    Values = Mapping[str, Sequence[float]]
    """Group of samples -> its scores."""


def gap(request: FigureRequest, *, metric: str = "") -> str | bytes:
    """Draw it: a panel for each model, a row for each pair with the difference of the two settings.

    Args:
        request: Runs of pairs in both settings, such as those of the suite ``compositional-logical``.
        metric: Default the one that ranks.

    Raises:
        UserError: No model was asked a pair in both settings, or there is no such metric.
    """
    panels = gap_panels(find_pairs(request, "gap"), metric, baselines=bool(request.models))
    if not panels:
        raise UserError(
            "no model of these runs was asked a pair in both settings, composite and composite-in-context",
            where="gap",
            todo="run both; name baselines with --model",
        )
    return render(Drawing("Composites after the simple tasks, and in context", panels), request.form)


def gap_panels(found: Sequence[Pair], metric: str = "", *, baselines: bool = False) -> list[Panel]:
    """The panels, one for each model and metric; none for baselines unless they are wanted."""
    names = brief(model for pair in found for model in pair.parts)
    kinds = Counter(pair.kind for pair in found)
    rows: dict[tuple[str, str], tuple[Metric, list[Row]]] = {}
    for pair in found:
        for model, parts in pair.parts.items():
            if COMPOSITE in parts and GOLD in parts and (baselines or not is_baseline(parts)):
                chosen, name = pair.metric(metric), pair.kind if kinds[pair.kind] == 1 and pair.kind else pair.title
                rows.setdefault((model, chosen.name), (chosen, []))[1].append(_row(name, parts, chosen))
    return [_panel(names[model], chosen, own) for (model, _), (chosen, own) in rows.items()]


def on_board(board: Board) -> list[Panel]:
    """The panels of a board."""
    return gap_panels(pairs_of(board.sections))


def difference(composite: Part, gold: Part, metric: Metric) -> tuple[Estimate, bool]:
    """The composite's score less the gold standard's, and whether it is paired.

    Where both cells asked the same questions - their samples' groups have the same names and sizes - the interval is
    that of the differences, question by question; otherwise that of two independent scores.
    """
    own, other = (_by_group(part, metric) for part in (composite, gold))
    if own and {group: len(scores) for group, scores in own.items()} == {g: len(s) for g, s in other.items()}:
        differences = np.array([np.mean(scores) - np.mean(other[group]) for group, scores in own.items()])
        scored = differences[np.isfinite(differences)]
        if scored.size:
            return _bounded(mean_interval(scored, noun="question"), metric), True
    one, two = composite.metrics[metric.name], gold.metrics[metric.name]
    value, low, high = one.value - two.value, None, None
    if one.low is not None and one.high is not None and two.low is not None and two.high is not None:
        low = value - math.hypot(one.value - one.low, two.high - two.value)
        high = value + math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(value=value, low=low, high=high, n=min(one.n, two.n), method="of two independent scores"), False


def _bounded(found: Estimate, metric: Metric) -> Estimate:
    """A difference whose interval ends where those of shares do, which a t interval of two questions is far beyond."""
    if metric.unit != "%" or found.low is None or found.high is None:
        return found
    return found.model_copy(update={"low": max(-1.0, found.low), "high": min(1.0, found.high)})


def _by_group(part: Part, metric: Metric) -> Values:
    """The scores of a cell by the groups of its samples; none if it asked in other settings too, or has no groups."""
    row = part.standing.row
    found: dict[str, list[float]] = {}
    if part.whole:
        column = row.stored.column(metric.name)
        for group, value in zip(column.groups, column.values, strict=True):
            if group is None:
                return {}
            found.setdefault(group, []).append(float(value))
    return found


def _row(name: str, parts: Mapping[str, Part], metric: Metric) -> Row:
    composite, gold = parts[COMPOSITE], parts[GOLD]
    less, paired = difference(composite, gold, metric)
    note = wording.estimate(less, metric).replace("-", "\N{MINUS SIGN}") + ("" if paired else " (unpaired)")
    shown = {SETTINGS[setting]: parts[setting].metrics[metric.name] for setting in (COMPOSITE, GOLD)}
    return Row(name, shown, note)


def _panel(model: str, metric: Metric, rows: Sequence[Row]) -> Panel:
    caption = (
        f"{wording.with_unit(metric).capitalize()}, with 95 % intervals. Behind the bars: the composite less its gold "
        "standard, paired by question where it does not say otherwise."
    )
    return Panel(f"Gap of {model}", lambda palette: bars(rows, metric, palette), caption, WIDTH)
