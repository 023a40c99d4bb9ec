"""Accuracy by budget of models that differ in one argument of a method (dissertation, Fig. C.3 and Table 5.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from ...harness.specs import did_you_mean, parse
from .. import wording
from .cells import BUDGETS, sections, swept
from .curves import PERCENT, Curve, Plane, lines, spot
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ...harness.outputs import FigureRequest
    from ...harness.results import Estimate
    from ...harness.specs import Spec
    from ..ranking import Section, Standing
    from .curves import Spot

SEED = "seed"


class Place(NamedTuple):
    """Where in a spec an argument stands: the position of its call, base first, and its name."""

    call: int
    argument: str


class _Family(NamedTuple):
    """Models that are alike but for one argument.

    Attributes:
        shared: Their spec without it.
        members: Value of the argument -> cells by rising budget.
    """

    shared: str
    place: Place
    members: Mapping[str, list[Standing]]


def ablation(request: FigureRequest, *, by: str = "") -> str | bytes:
    """Draw it: a panel for each task and each family of models, a line for each value.

    Args:
        request: Runs of models at several budgets.
        by: Name of the argument; not needed if the models differ in one only.

    Raises:
        UserError: No two models differ in this argument alone.
    """
    families = [(section, family) for section in sections(request) for family in _families(section)]
    arguments = sorted({family.place.argument for _, family in families})
    if not by:
        open_ones = [name for name in arguments if name != SEED]
        if len(open_ones) > 1:
            raise UserError(
                f"the models differ in {wording.listed(open_ones)}",
                where="ablation",
                todo=f"say ablation(by={open_ones[0]})",
            )
        by = open_ones[0] if open_ones else SEED
    chosen = [(section, family) for section, family in families if family.place.argument == by]
    if not chosen:
        hint = did_you_mean(by, arguments) if by != SEED else ""
        what = f"no two models at several budgets differ in {by!r} alone{hint}" if by != SEED or arguments else (
            "no two models at several budgets differ in one argument alone"
        )  # fmt: skip
        raise UserError(what, where="ablation", todo=f"run such models, and each at several budgets ({BUDGETS})")
    panels = [_panels(section, family) for section, family in chosen]
    columns = max(map(len, panels))
    return render(Drawing(f"By {by}", [panel for row in panels for panel in row], columns), request.form)


def without(spec: Spec, place: Place) -> str:
    """A spec without one argument."""
    calls = [spec.base, *spec.methods]
    call = calls[place.call]
    calls[place.call] = replace(call, args=tuple(arg for arg in call.args if arg[0] != place.argument))
    return str(replace(spec, base=calls[0], methods=tuple(calls[1:])))


def places(spec: Spec) -> Iterable[tuple[Place, str]]:
    """Each argument of a spec, with its value as text."""
    for number, call in enumerate((spec.base, *spec.methods)):
        for name, value in call.args:
            yield Place(number, name), str(value).lower() if isinstance(value, bool) else str(value)


def _families(section: Section) -> list[_Family]:
    models = {model: cells for model, cells in swept(section).items() if all(cell.headline for cell in cells)}
    specs = {model: parse(model) for model in models}
    every = dict.fromkeys((place, without(spec, place)) for spec in specs.values() for place, _ in places(spec))
    found = []
    for place, shared in every:
        members = {
            dict(places(spec)).get(place, "default"): models[model]
            for model, spec in specs.items()
            if place.call <= len(spec.methods) and without(spec, place) == shared
        }
        if len(members) > 1:
            found.append(_Family(shared, place, members))
    return found


def _panels(section: Section, family: _Family) -> list[Panel]:
    """The panels of a family: of the metric, and of what the budget was used for where the cells say so."""
    metric, caption = section.metric, f"{family.shared}, with 95 % intervals; lines are shifted sideways a little."
    plane = Plane("budget", wording.with_unit(metric), upwards=metric.better == "higher", apart=True)
    curves = _curves(family, lambda cell: spot(cell.headline, _budget(cell), metric))
    drawn = [_panel(f"{metric.name.capitalize()} on {section.title}", caption, curves, plane)]
    if all(_units(cell) for cells in family.members.values() for cell in cells):
        for name, title in (("success", "Answers within their budget"), ("utilisation", "Used of the budget")):
            plane = Plane("budget", f"{name}, % of {'answers' if name == 'success' else 'the budget'}", apart=True)
            curves = _curves(family, _used(name))
            drawn.append(_panel(title, "Counted in switches.", curves, plane))
    return drawn


def _panel(title: str, caption: str, curves: Sequence[Curve], plane: Plane) -> Panel:
    return Panel(title, lambda palette: lines(curves, plane, palette), caption)


def _curves(family: _Family, point: Callable[[Standing], Spot]) -> list[Curve]:
    members = sorted(family.members.items(), key=lambda item: _order(item[0]))
    return [Curve(f"{family.place.argument} = {value}", [point(cell) for cell in cells]) for value, cells in members]


def _budget(cell: Standing) -> float:
    return cell.row.result.cell.budget


def _units(cell: Standing) -> dict[str, Estimate]:
    """Success and utilisation under the dissertation's accounting, if the cell says them."""
    spending = cell.row.result.spending
    account = spending.units if spending else None
    return {"success": account.success, "utilisation": account.utilisation} if account else {}


def _used(name: str) -> Callable[[Standing], Spot]:
    return lambda cell: spot(_units(cell).get(name), _budget(cell), PERCENT)


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers by size, then the rest by name."""
    try:
        return (False, float(value), value)
    except ValueError:
        return (True, 0.0, value)
