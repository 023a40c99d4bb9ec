"""How models compare over all tasks at once, a polygon each (dissertation, Fig. C.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .. import vega, wording
from ..wording import shown
from .cells import sections
from .files import render
from .panels import Drawing, Panel, series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.outputs import FigureRequest
    from ..charts import Palette
    from ..ranking import Section
    from ..vega import Spec

    Shares = Mapping[str, Mapping[str, float]]
    """Model -> task -> its score, over the base's."""

_SIDE, _EDGE = 380, 1.12
_PLACE = {axis: vega.number(axis, axis=None, scale={"domain": [-_EDGE, _EDGE], "nice": False}) for axis in "xy"}
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


def _polygons(shares: Shares, units: Mapping[str, str], centre: float, palette: Palette) -> Spec:
    tasks = list(units)
    outer = max(1.0, *(share for own in shares.values() for share in own.values()))
    values = [
        {"name": name, "order": order, "task": task, "text": f"{100 * own[task]:.1f} %",
         **_place(order, len(tasks), max(0.0, (own[task] - centre) / (outer - centre)))}
        for name, own in shares.items()
        for order, task in enumerate([*tasks, tasks[0]])
    ]  # fmt: skip
    names = list(shares)
    told = {"tooltip": [vega.name(field) for field in ("name", "task", "text")]}
    colour, shape = {"color": series("colour", names)}, {"shape": series("shape", names)}
    ordered = {"order": vega.number("order")}
    below, above = _web(units, (centre, outer), palette)
    parts = [
        *below,
        vega.mark("line", _PLACE | colour | ordered, strokeWidth=1.8, strokeJoin="round"),
        vega.mark("point", _PLACE | colour | shape | told, size=55, filled=True, opacity=1),
        *above,
    ]
    return vega.layers(parts, _SIDE, _SIDE, values)


def _web(units: Mapping[str, str], ends: tuple[float, float], palette: Palette) -> tuple[list[Spec], list[Spec]]:
    """What is drawn below the polygons: rings and spokes; and above them: shares and tasks."""
    count, (centre, outer) = len(units), ends
    steps = range(1, _RINGS + 1)
    rings = [{"of": ring, "order": i, **_place(i, count, ring / _RINGS)} for ring in steps for i in range(count + 1)]
    spokes = [{"of": task, "order": end, **_place(task, count, end)} for task in range(count) for end in (0, 1)]
    shares = [
        {"text": f"{100 * (centre + (outer - centre) * ring / _RINGS):.3g} %", **_place(0, count, ring / _RINGS)}
        for ring in steps
    ]
    ordered = {"detail": vega.name("of"), "order": vega.number("order")}
    lines = [
        vega.mark("line", _PLACE | ordered, values, color=palette.rule, strokeWidth=1) for values in (rings, spokes)
    ]
    look = {"align": "left", "dx": 4, "dy": 6, "fontSize": 10}
    halo = {"stroke": palette.paper, "strokeWidth": 3, "color": palette.paper}
    marks = [
        vega.mark("text", _PLACE | {"text": vega.name("text")}, shares, **look, **more)
        for more in (halo, {"color": palette.muted})
    ]
    names = [_task_name([shown(task, 24), unit], _place(order, count, 1.08), palette)
             for order, (task, unit) in enumerate(units.items())]  # fmt: skip
    return lines, [*marks, *names]


def _task_name(text: list[str], place: Mapping[str, float], palette: Palette) -> Spec:
    """A task at the end of its spoke, outside of the web."""
    align = "center" if abs(place["x"]) < 0.2 else ("left" if place["x"] > 0 else "right")
    look = {"align": align, "baseline": "bottom", "fontSize": 11, "color": palette.ink, "lineHeight": 14}
    look["dy"] = -14 if place["y"] > 0.5 else 0  # an offset is of the first line
    return vega.mark("text", _PLACE | {"text": vega.name("text")}, [{"text": text, **place}], **look)


def _place(order: int, count: int, radius: float) -> dict[str, float]:
    """Where a radius ends on a spoke; the first spoke goes up, the others follow clockwise."""
    angle = 2 * math.pi * order / count
    return {"x": radius * math.sin(angle), "y": radius * math.cos(angle)}
