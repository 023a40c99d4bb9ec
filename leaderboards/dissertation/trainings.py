"""Which cells are of the same method, trained several times.

`adaptbench train` notes in ``recipe.json`` what was asked for, beside the folder with the model; what ships with a
model has it inside. A method whose argument ``checkpoint`` is such a folder, or the name of one that ships, is known by
its recipe: cells whose specs differ in the checkpoint alone, and whose recipes differ in the seed alone, are trainings
of one method. Of methods on each other the recipes are put together.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...harness.abilities import ShipsCheckpoints
from ...harness.budgets import exact
from ...harness.errors import UserError
from ...harness.specs import parse
from ...harness.spending import beyond, of_full, share, units
from ..ranking import commonest
from .contrasts import Term

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from ...harness.contracts import Record
    from ...harness.registry import Registry
    from ...harness.specs import Spec
    from ...harness.spending import Accounting
    from ..ranking import Section, Standing

    Recipe = dict[str, str]
    Values = npt.NDArray[np.float64]

_CHECKPOINT, _SEED, _DATA = "checkpoint", "seed", "data"
_FOLLOWS = ("base", "budget", "method", "weights")
"""What recipes note that follows from the rest, or that the spec says."""
_EPISODE = ("ways", "shots", "queries")
_OF_TASKS, OWN = ("source", "target"), "own"
"""Fields that name tasks, and what stands there if it is the task that a model was asked."""
SAMPLES = "samples"
"""Of recipes that train on episodes: images of a task, m, which stands for the queries."""
_ACCOUNTINGS: dict[str, Accounting] = {"over": units, "utilisation": units, "flops": of_full}
MEASURES = ("accuracy", *_ACCOUNTINGS)
"""What may be asked of a cell, sample by sample: its headline metric; share of answers beyond the budget, counted in
switches; share of the budget that was used, in switches; language model's FLOPs, of the same model with all on."""


class Place(NamedTuple):
    """A method at a budget, on a task."""

    budget: float
    task: str


@dataclass(slots=True)
class Group:
    """A method with all its trainings.

    Attributes:
        model: Its spec, without the checkpoint if the recipe is known.
        recipe: What it was trained with, but for the seed; empty if that is not known, or nothing was trained.
        told: What of the recipe tells it from other trainings of the same spec.
        cells: Where -> seed of the training -> its cell; the seed is an empty text if it is not known.
    """

    model: str
    recipe: Recipe
    told: Recipe = field(default_factory=dict)
    cells: dict[Place, dict[str, Standing]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As shown, unique."""
        return ", ".join([self.model, *([f"trained with {', '.join(self.told_by)}"] if self.told else [])])

    @property
    def told_by(self) -> tuple[str, ...]:
        """What tells it from other trainings, as texts: ``scheduler=random``."""
        return tuple(f"{name}={value}" for name, value in self.told.items())

    @property
    def base(self) -> str:
        """Its model without methods."""
        return str(parse(self.model).base)

    @property
    def budgets(self) -> list[float]:
        """Falling."""
        return sorted({place.budget for place in self.cells}, reverse=True)

    @property
    def methods(self) -> tuple[str, ...]:
        """Its methods, as they are written."""
        return tuple(map(str, parse(self.model).methods))

    def trainings(self, places: Iterable[Place]) -> list[str]:
        """Seeds of the trainings that have a cell at each of some places."""
        found = [self.cells.get(place, {}) for place in places]
        return [seed for seed in found[0] if all(seed in cells for cells in found)] if found else []

    def term(self, budget: float, tasks: Sequence[str], seeds: Sequence[str], measure: str = "accuracy") -> Term:
        """What some trainings come to at a budget.

        Raises:
            KeyError: A cell does not say what is asked for.
        """
        return Term(
            self.name,
            {
                task: np.stack([measured(self.cells[Place(budget, task)][seed], measure) for seed in seeds])
                for task in tasks
            },
        )


def groups(sections: Sequence[Section], registry: Registry) -> list[Group]:
    """Put cells together, but for baselines and for what may not be compared; each method follows what it builds on.

    Args:
        sections: Of a board.
        registry: Has the models with which checkpoints ship.
    """
    standings = [
        (section.title, standing)
        for section in sections
        for standing in section.standings
        if standing.comparable and not standing.baseline
    ]
    models = dict.fromkeys(standing.row.result.cell.model for _, standing in standings)
    recipes = _recipes({model: _checkpoints(parse(model), registry) for model in models})
    found: dict[tuple[str, str], Group] = {}
    for task, standing in standings:
        cell = standing.row.result.cell
        spec = parse(cell.model)
        recipe = dict(recipes[cell.model])
        if standing.row.result.task_card.capability == "masked":  # one training for each target, by prompts
            recipe |= {name: OWN for name in _OF_TASKS if recipe.get(name) == cell.task}
        seed = recipe.pop(_SEED, "")
        model = str(_without_checkpoint(spec)) if recipe else cell.model
        group = found.setdefault((model, json.dumps(recipe, sort_keys=True)), Group(model, recipe))
        group.cells.setdefault(Place(cell.budget, task), {}).setdefault(seed, standing)
    for group in found.values():
        rivals = [other.recipe for other in found.values() if other.model == group.model]
        group.told = {
            name: value
            for name, value in sorted(group.recipe.items())
            if any(rival.get(name) != value for rival in rivals)
        }
        group.cells = {place: dict(sorted(cells.items())) for place, cells in group.cells.items()}
    return sorted(found.values(), key=lambda group: (group.base, group.methods, _order(group.told)))


def number(text: str) -> float:
    """A number of a recipe; what is not one, such as ``none``, is above all."""
    try:
        return float(text)
    except ValueError:
        return math.inf


def _order(recipe: Recipe) -> list[tuple[str, float, str]]:
    return [(name, number(value), value) for name, value in recipe.items()]


def clusters(sections: Sequence[Section]) -> dict[str, list[str]]:
    """Task -> the cluster of each sample that may be compared: its image, which several tasks may ask about."""
    found = {}
    for section in sections:
        scores = next((standing.row.scores for standing in section.standings if standing.comparable), None)
        if scores is not None:
            pairs = zip(scores.samples, scores.groups, strict=True)
            found[section.title] = [
                f"{section.title} {sample}" if group is None else f"group {group}" for sample, group in pairs
            ]
    return found


def measured(standing: Standing, measure: str) -> Values:
    """What each sample of a cell comes to, in its own unit (a share); NaN where there is nothing.

    Raises:
        KeyError: The cell's answers do not say.
    """
    if measure == "accuracy":
        return standing.row.scores.values
    budget, accounting = standing.row.result.cell.budget, _ACCOUNTINGS[measure]

    def value(record: Record) -> float:
        used = share(record, accounting)
        if used is None:
            return np.nan
        if measure == "over":
            return beyond(record, budget, accounting) / len(record.costs)
        return float(used / exact(budget) if measure == "utilisation" else used)

    values = np.array([value(record) for record in standing.row.journal.records()])
    if np.isnan(values).all():
        raise KeyError(measure)
    return values


def _recipes(checkpoints: Mapping[str, Sequence[str]]) -> dict[str, Recipe]:
    """Model -> its recipe. What a recipe of an earlier version does not name is as it is in most of the others."""
    read = {path: _read(path) for paths in checkpoints.values() for path in paths}
    known = [recipe for recipe in read.values() if recipe]
    usual = {name: commonest(r[name] for r in known if name in r) or "" for name in {n for r in known for n in r}}
    found: dict[str, Recipe] = {}
    for model, paths in checkpoints.items():
        found[model] = {name: value for path in reversed(paths) for name, value in read[path].items()}
        if found[model]:
            found[model] = {**usual, **found[model]}
    return found


def _read(checkpoint: str) -> Recipe:
    folder = Path(checkpoint).expanduser()
    for place in (folder, folder.parent):
        try:
            content = json.loads((place / "recipe.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and _SEED in content:
            break
    else:
        return {}
    if (place / _DATA).is_dir():  # drawn for this training, by its seed
        content[_DATA] = "drawn"
    ways, shots, queries = (content.get(name) for name in _EPISODE)
    if isinstance(ways, int) and isinstance(shots, int) and isinstance(queries, int):
        del content[_EPISODE[-1]]
        content[SAMPLES] = ways * (shots + queries)
    return {name: _text(value) for name, value in content.items() if name not in _FOLLOWS}


def _text(value: object) -> str:
    if value in ("", None):
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _checkpoints(spec: Spec, registry: Registry) -> list[str]:
    """The folders of what was trained, method by method."""
    found = []
    for call in spec.methods:
        if name := str(dict(call.args).get(_CHECKPOINT, "")):
            local = Path(name).expanduser().is_dir()
            found.append(name if local else _shipped(spec, registry).get(call.name, {}).get(name, name))
    return found


def _shipped(spec: Spec, registry: Registry) -> Mapping[str, Mapping[str, str]]:
    """Method -> name -> folder of the checkpoints that ship with a model."""
    try:
        factory = registry.find("model", spec.base.name).factory()
    except UserError:  # a run that others made may hold any name
        return {}
    return factory.checkpoints if isinstance(factory, ShipsCheckpoints) else {}


def _without_checkpoint(spec: Spec) -> Spec:
    calls = (replace(c, args=tuple(arg for arg in c.args if arg[0] != _CHECKPOINT)) for c in spec.methods)
    return replace(spec, methods=tuple(calls))
