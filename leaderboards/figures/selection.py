"""Which tasks were selected and why: similarity, and coverage up to where it stops growing (dissertation, Fig. A.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.specs import Call, parse_call
from ..board import need
from ..frame import HEIGHT, WIDTH
from .files import render
from .panels import Drawing, Panel, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.outputs import FigureRequest
    from ...harness.selecting import Selected
    from ..charts import Palette


_NAMED = 12
"""Up to this number of candidates the axis has their names."""
_DOTTED = 150
"""Up to this number each has a mark."""
_CHOICE, _SOUND = ("chosen", "not chosen"), ("has an inverse", "singular or negative")


@dataclass(frozen=True, slots=True)
class _Line:
    """A value of each candidate, the most similar first.

    Attributes:
        marks: What each is, as one of two ``kinds``.
        stop: Where the walk stopped; 0 for no rule there.
    """

    title: str
    caption: str
    values: Sequence[float]
    marks: Sequence[str]
    kinds: tuple[str, str] = _CHOICE
    stop: int = 0


def selection(request: FigureRequest) -> str | bytes:
    """Draw the selection of a request.

    Raises:
        UserError: It has none.
    """
    if request.selection is None:
        raise UserError("this figure shows a selection, not runs", where="selection", todo="adaptbench select --figure")
    return render(drawing(request.selection), request.form)


def drawing(found: Selected) -> Drawing:
    """The figure: a panel of similarities, one of coverages, and one of the plain formula where it was computed."""
    result, order = found.result, found.result.order.tolist()
    labels = _labels([found.pool[position].name for position in order])
    marks = [_CHOICE[position not in result.chosen] for position in order]
    alike = "means" if found.asked.options.similarity == "mean" else "first principal components"
    stopped = f"Of the first 1, 2, ... candidates together. Algorithm 1 selects {result.stop}: {result.reason}."
    lines = [
        _Line("Similarity", f"Cosine of the {alike}.", result.similarities.tolist(), marks),
        _Line("Coverage", stopped, result.coverages.tolist(), marks, stop=result.stop),
    ]
    if result.plain is not None:
        caption = "The dissertation's formula: the inverse of the whole covariance. The axis is linear about zero only."
        marks = [_SOUND[bool(fault)] for fault in result.plain.faults]
        lines.append(_Line("Plain coverage", caption, result.plain.values.tolist(), marks, _SOUND))
    panels = [_panel(line, labels) for line in lines]
    title = f"Tasks for {', '.join(found.asked.targets)}, as {found.asked.encoder} sees them"
    return Drawing(title, panels, columns=len(panels))


def _labels(names: Sequence[str]) -> list[str]:
    """Names of a few candidates, without the arguments that all share; numbers of many."""
    if len(names) > _NAMED:
        return [str(place) for place in range(1, len(names) + 1)]
    calls = [parse_call(name.partition(" episode-")[0]) for name in names]
    shared = set.intersection(*(set(call.args) for call in calls)) if len(calls) > 1 else set()
    brief = [str(Call(call.name, call.target, tuple(set(call.args) - shared))) for call in calls]
    tails = [name.partition(" episode-")[2].lstrip("0") for name in names]
    return [shown(f"{text} {tail}".strip(), 48) for text, tail in zip(brief, tails, strict=True)]


def _panel(line: _Line, labels: Sequence[str]) -> Panel:
    return Panel(line.title, lambda palette: _curve(line, labels, palette), line.caption)


def _curve(line: _Line, labels: Sequence[str], palette: Palette) -> Any:
    """A line over the candidates, a mark each where they are few, and a rule where the walk stopped."""
    alt = need("altair")
    named = 1 < len(labels) <= _NAMED
    rows = [
        {"place": place, "label": f"{place}  {label}" if named else label, "value": value, "mark": mark}
        for place, (value, label, mark) in enumerate(zip(line.values, labels, line.marks, strict=True), 1)
        if math.isfinite(value)
    ]
    base = alt.Chart(alt.Data(values=rows))
    if named:
        axis = alt.Axis(title=None, labelAngle=-40, labelLimit=320, grid=False, ticks=False)
        x = alt.X("label:N", sort=[row["label"] for row in rows], axis=axis)
    else:
        axis = alt.Axis(title="candidates, the most similar first", grid=False, tickMinStep=1, format="d")
        x = alt.X("place:Q", axis=axis, scale=alt.Scale(nice=False, zero=False))
    sizes = [abs(value) for value in line.values if value and math.isfinite(value)]
    signed = line.kinds == _SOUND
    scale = alt.Scale(type="symlog", constant=min(sizes, default=1.0)) if signed else alt.Scale(zero=False)
    y = alt.Y("value:Q", title=None, scale=scale, axis=alt.Axis(domain=False, ticks=False, tickCount=6, format="~g"))
    colours = [palette.muted, "#c84b4b"] if signed else [palette.accent, palette.muted]
    colour = alt.Color("mark:N", scale=alt.Scale(domain=list(line.kinds), range=colours))
    tooltip = [
        alt.Tooltip("label:N", title="candidate"),
        alt.Tooltip("value:Q", format=".4g"),
        alt.Tooltip("mark:N", title="is"),
    ]
    layers = [base.mark_line(strokeWidth=1.4, color=palette.muted, opacity=0.7).encode(x=x, y=y)]
    if len(rows) <= _DOTTED:
        layers.append(base.mark_point(size=46, filled=True, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip))
    else:
        layers.append(base.mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour))
    if line.stop:
        at = alt.Chart(alt.Data(values=[row for row in rows if row["place"] == line.stop]))
        layers.append(at.mark_rule(strokeDash=[4, 3], color=palette.ink).encode(x=x, tooltip=tooltip))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
