"""Which tasks were selected and why: similarity, and coverage up to where it stops growing (dissertation, Fig. A.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import Call, parse_call
from .. import vega
from ..frame import HEIGHT, WIDTH
from ..wording import shown
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.outputs import FigureRequest
    from ...harness.selecting import Selected
    from ..charts import Palette
    from ..vega import Spec


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


def _curve(line: _Line, labels: Sequence[str], palette: Palette) -> Spec:
    """A line over the candidates, a mark each where they are few, and a rule where the walk stopped."""
    named = 1 < len(labels) <= _NAMED
    rows = [
        {"place": place, "label": f"{place}  {label}" if named else label, "value": value, "mark": mark}
        for place, (value, label, mark) in enumerate(zip(line.values, labels, line.marks, strict=True), 1)
        if math.isfinite(value)
    ]
    if named:
        axis: Spec = {"title": None, "labelAngle": -40, "labelLimit": 320, "grid": False, "ticks": False}
        x = vega.name("label", sort=[row["label"] for row in rows], axis=axis)
    else:
        axis = {"title": "candidates, the most similar first", "grid": False, "tickMinStep": 1, "format": "d"}
        x = vega.number("place", axis=axis, scale={"nice": False, "zero": False})
    sizes = [abs(value) for value in line.values if value and math.isfinite(value)]
    signed = line.kinds == _SOUND
    scale = {"type": "symlog", "constant": min(sizes, default=1.0)} if signed else {"zero": False}
    ticks = {"domain": False, "ticks": False, "tickCount": 6, "format": "~g"}
    colours = [palette.muted, "#c84b4b"] if signed else [palette.accent, palette.muted]
    place = {"x": x, "y": vega.number("value", title=None, scale=scale, axis=ticks)}
    colour = {"color": vega.name("mark", scale={"domain": list(line.kinds), "range": colours})}
    told = {
        "tooltip": [
            vega.name("label", title="candidate"), vega.number("value", format=".4g"), vega.name("mark", title="is")
        ]
    }  # fmt: skip
    parts = [vega.mark("line", place, strokeWidth=1.4, color=palette.muted, opacity=0.7)]
    if len(rows) <= _DOTTED:
        parts.append(vega.mark("point", place | colour | told, size=46, filled=True, opacity=1))
    else:
        parts.append(vega.mark("line", place | colour, strokeWidth=2.2))
    if line.stop:
        at = [row for row in rows if row["place"] == line.stop]
        parts.append(vega.mark("rule", {"x": x} | told, at, strokeDash=[4, 3], color=palette.ink))
    return vega.layers(parts, WIDTH, HEIGHT, rows)
