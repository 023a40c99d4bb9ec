"""How models compare over all tasks at once, a polygon each (dissertation, Fig. C.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from .. import wording
from ..board import need
from .cells import sections
from .files import render
from .panels import Drawing, Panel, series, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.outputs import FigureRequest
    from ..charts import Palette
    from ..ranking import Section

    Shares = Mapping[str, Mapping[str, float]]
    """Model -> task -> its score, over the base's."""

_SIDE, _EDGE = 380, 1.12
_LEAST, _MOST = 3, 8
_RINGS = 4


def radar(request: FigureRequest, *, base: str = "", centre: float | None = None) -> str | bytes:
    """Draw it: of every model with scores on all tasks, as shares of the base's scores.

    Args:
        request: Runs of three tasks or more.
        base: Model whose scores are 100 %; default the best of each task.
        centre: Share at the centre; default just below the lowest.

    Raises:
        UserError: There are too few tasks, too many models, or no such base.
    """
    found = [section for section in sections(request) if section.metric.better == "higher"]
    if len(found) < _LEAST:
        raise UserError(
            f"a radar takes {_LEAST} tasks whose metric goes up, and these runs have {len(found)}",
            where="radar",
            todo="run more tasks, or name more runs",
        )
    shares = _shares(found, base)
    if len(shares) > _MOST:
        raise UserError(
            f"{len(shares)} models are too many for one radar", where="radar", todo=f"name up to {_MOST} with --model"
        )
    lowest = min(share for own in shares.values() for share in own.values())
    centre = max(0.0, math.floor(10 * lowest - 0.5) / 10) if centre is None else centre
    if not centre < 1:
        raise UserError(f"the centre is {centre:g}, and the rim 1", where="radar", todo="give a centre below 1")
    units = {section.title: wording.with_unit(section.metric) for section in found}
    rim = base or "the best of each task"
    caption = f"The centre is {100 * centre:.3g} %."
    panel = Panel(
        f"Shares of {rim}", lambda palette: _polygons(shares, units, centre, palette), caption, _SIDE, grows=False
    )
    return render(Drawing("Scores across tasks", [panel], columns=1), request.form)


def _shares(found: Sequence[Section], base: str) -> Shares:
    scores = {
        section.title: {s.name: s.headline.value for s in section.standings if s.headline and not s.baseline}
        for section in found
    }
    names = [name for name in scores[found[0].title] if all(name in own for own in scores.values())]
    if not names:
        raise UserError("no model has scores on all tasks", where="radar", todo="run the same models on each task")
    if base and base not in names:
        raise UserError(f"{base!r} has no scores on all tasks", where="radar", todo=f"choose {', '.join(names)}")
    rims = {task: own[base] if base else max(own[name] for name in names) for task, own in scores.items()}
    flat = [task for task, rim in rims.items() if rim <= 0]
    if flat:
        raise UserError(f"no model scores on {flat[0]}", where="radar", todo="leave the task out")
    return {name: {task: own[name] / rims[task] for task, own in scores.items()} for name in names}


def _polygons(shares: Shares, units: Mapping[str, str], centre: float, palette: Palette) -> Any:
    alt = need("altair")
    tasks = list(units)
    outer = max(1.0, *(share for own in shares.values() for share in own.values()))
    values = [
        {"name": name, "order": order, "task": task, "text": f"{100 * own[task]:.1f} %",
         **_place(order, len(tasks), max(0.0, (own[task] - centre) / (outer - centre)))}
        for name, own in shares.items()
        for order, task in enumerate([*tasks, tasks[0]])
    ]  # fmt: skip
    names = list(shares)
    data = alt.Data(values=values)
    scale = alt.Scale(domain=[-_EDGE, _EDGE], nice=False)
    x, y = alt.X("x:Q", scale=scale, axis=None), alt.Y("y:Q", scale=scale, axis=None)
    tooltip = [alt.Tooltip(f"{field}:N") for field in ("name", "task", "text")]
    colour = series(alt, "colour", names)
    below, above = _web(alt, units, (centre, outer), palette)
    layers = [
        *below,
        alt.Chart(data).mark_line(strokeWidth=1.8, strokeJoin="round").encode(color=colour, order="order:Q"),
        alt.Chart(data).mark_point(size=55, filled=True, opacity=1).encode(
            color=colour, shape=series(alt, "shape", names), tooltip=tooltip
        ),
        *above,
    ]  # fmt: skip
    placed = [layer.encode(x=x, y=y) for layer in layers]
    return alt.layer(*placed).properties(width=_SIDE, height=_SIDE)


def _web(
    alt: Any, units: Mapping[str, str], ends: tuple[float, float], palette: Palette
) -> tuple[list[Any], list[Any]]:
    """What is drawn below the polygons: rings and spokes; and above them: shares and tasks."""
    count, (centre, outer) = len(units), ends
    steps = range(1, _RINGS + 1)
    rings = [{"of": ring, "order": i, **_place(i, count, ring / _RINGS)} for ring in steps for i in range(count + 1)]
    spokes = [{"of": task, "order": end, **_place(task, count, end)} for task in range(count) for end in (0, 1)]
    shares = [
        {"text": f"{100 * (centre + (outer - centre) * ring / _RINGS):.3g} %", **_place(0, count, ring / _RINGS)}
        for ring in steps
    ]
    lines = [
        alt.Chart(alt.Data(values=values)).mark_line(color=palette.rule, strokeWidth=1).encode(
            detail="of:N", order="order:Q"
        )
        for values in (rings, spokes)
    ]  # fmt: skip
    mark = {"align": "left", "dx": 4, "dy": 6, "fontSize": 10}
    marks = [
        alt.Chart(alt.Data(values=shares)).mark_text(**mark, **look).encode(text="text:N")
        for look in ({"stroke": palette.paper, "strokeWidth": 3, "color": palette.paper}, {"color": palette.muted})
    ]
    names = [_task_name(alt, [shown(task, 24), unit], _place(order, count, 1.08), palette)
             for order, (task, unit) in enumerate(units.items())]  # fmt: skip
    return lines, [*marks, *names]


def _task_name(alt: Any, text: list[str], place: Mapping[str, float], palette: Palette) -> Any:
    """A task at the end of its spoke, outside of the web."""
    align = "center" if abs(place["x"]) < 0.2 else ("left" if place["x"] > 0 else "right")
    mark = {"align": align, "baseline": "bottom", "fontSize": 11, "color": palette.ink, "lineHeight": 14}
    mark["dy"] = -14 if place["y"] > 0.5 else 0  # an offset is of the first line
    return alt.Chart(alt.Data(values=[{"text": text, **place}])).mark_text(**mark).encode(text="text:N")


def _place(order: int, count: int, radius: float) -> dict[str, float]:
    """Where a radius ends on a spoke; the first spoke goes up, the others follow clockwise."""
    angle = 2 * math.pi * order / count
    return {"x": radius * math.sin(angle), "y": radius * math.cos(angle)}
