"""From what the user asks for to the cells that will run. What can be refused is refused before anything loads."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from . import specs
from .abilities import HasCard, HasName
from .budgets import checked
from .cards import ModelCard, TaskCard
from .contracts import DualEncoder, Embedder, Generator, LanguageModel, MaskedModel
from .errors import UserError
from .faults import blamed_on
from .planned_models import PlannedModel, Step, plan_model, takes_budget
from .registry import OBJECT_OWNER, Entry
from .results import CellId
from .sizing import Sized, base_architecture, check_sized, model_at_sizes
from .suites import filled, load_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .plugins import Plugins
    from .registry import Registry
    from .sizes import Size
    from .suites import Suite

CONTRACTS = {
    "embed": Embedder,
    "dual": DualEncoder,
    "generate": Generator,
    "language": LanguageModel,
    "masked": MaskedModel,
}
"""Capability -> what a model that has it must be."""


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task spec whose name is known."""

    step: Step

    @property
    def card(self) -> TaskCard:
        """Card of the task."""
        card: TaskCard = self.step.entry.card
        if card.by_arguments:
            return self._told()
        rule = dict(self.step.call.args).get("rule")
        if rule is None or not card.rules:
            return card
        if rule not in card.rules:
            raise UserError(
                f"no rule {rule!r}{specs.did_you_mean(str(rule), card.rules)}",
                where=f"task {self.step.call}",
                todo=f"choose rule= from {', '.join(card.rules)}",
            )
        return card.model_copy(update={"rule": rule, "rule_version": card.rules[rule]})

    def _told(self) -> TaskCard:
        """What the factory tells for these arguments."""
        factory: Any = self.step.entry.factory()
        arguments = self.step.entry.bind(self.step.call)
        with blamed_on("its card", f"task {self.step.call}"):
            card: TaskCard = factory.card_for(**arguments)
        return card


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell to run."""

    model: PlannedModel
    task: PlannedTask
    seed: int

    @property
    def id(self) -> CellId:
        """The cell as a value."""
        spec = self.model.spec
        return CellId(
            model=str(spec.without_budget()), task=str(self.task.step.call), budget=self.model.budget, seed=self.seed
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a run, grouped by model.

    Attributes:
        left_out: Pairs that do not fit, with the reason.
        sized: Models whose size was asked for, and not written in their spec.
    """

    cells: tuple[PlannedCell, ...]
    left_out: tuple[str, ...]
    sized: tuple[Sized, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for: models x tasks x budgets x seeds. A model or a task is a spec, or a Python object.

    Attributes:
        only: Pattern of model specs -> the only task that models which fit it are asked.
        sizes: Of every model that has one method whose size can be set; each makes a model of its own.
    """

    models: Sequence[Any]
    tasks: Sequence[Any]
    budgets: Sequence[float] = ()
    seeds: Sequence[int] = (0,)
    only: Mapping[str, str] = field(default_factory=dict)
    sizes: Sequence[Size] = ()


def plan(registry: Registry, request: Request) -> Plan:
    """Cross models with tasks wherever the capability fits.

    All that the cards can tell is checked first. Only a plan that passes has its factories imported, for their
    arguments.

    Raises:
        UserError: A name is unknown, methods exclude each other, a model or a task has no counterpart at all, or an
            argument is unknown or missing.
    """
    _check_numbers(request)
    requested = _requested(registry, request)
    sized = tuple(one for one in requested if isinstance(one, Sized) and one.size)
    check_sized(sized, request.sizes)
    models, tasks = list(_models(registry, requested, request.budgets)), plan_tasks(registry, request)
    only = _only(request, models, tasks)
    cells = [
        PlannedCell(model.seeded(seed), task, seed)
        for model in models
        for task in tasks
        if not _misfit(model.card, task.card) and only.get(str(model.spec), str(task.step.call)) == str(task.step.call)
        for seed in request.seeds
    ]
    left_out = _left_out(models, tasks)
    if not cells:
        reason = left_out[0] if left_out else "name at least one model and one task"
        raise UserError(f"there is nothing to run: {reason}", todo="`adaptbench list` shows models and tasks")
    asked = {str(cell.model.spec) for cell in cells}, {str(cell.task.step.call) for cell in cells}
    for model in models:
        if str(model.spec) not in asked[0]:
            _refuse_idle(f"model {model.spec}", "task", _left_out([model], tasks))
    for task in tasks:
        if str(task.step.call) not in asked[1]:
            _refuse_idle(f"task {task.step.call}", "model", _left_out(models, [task]))
    _refuse_doubles(cells)
    for model in models:
        model.bind(seed=0, device="cpu")
    for task in tasks:
        task.step.entry.bind(task.step.call, seed=0)
    return Plan(tuple(cells), tuple(left_out), sized)


def find_suite(plugins: Plugins, name: str) -> Suite:
    """Read a suite by its name, or a suite file, and load its plugins; its variables are those of the environment.

    Raises:
        UserError: There is no such suite, it is malformed, or one of its plugins is broken or not there.
    """
    is_file = name.endswith((".yaml", ".yml"))
    path = name if is_file else plugins.registry.find("suite", name).make()
    suite = load_suite(path)
    try:
        plugins.require(suite.plugins)
    except UserError as error:
        raise UserError(f"{error.what} ({error.where})", where=f"plugins of {path}", todo=error.todo) from error
    return filled(suite, os.environ)


def plan_tasks(registry: Registry, request: Request) -> list[PlannedTask]:
    """Look up the tasks of a request."""
    return list(_tasks(registry, request.tasks))


def _misfit(model: ModelCard, task: TaskCard) -> str:
    """Why a model cannot be asked a task, as far as their cards tell; empty if it can."""
    if task.capability not in model.capabilities:
        return f"the task needs {task.capability}, the model has {', '.join(model.capabilities)}"
    if lacking := sorted(task.needs & model.lacks):
        return f"the task needs {', '.join(lacking)}, which the model does not take"
    if missing := sorted(model.needs - task.offers):
        return f"the model needs {', '.join(missing)}, which the task does not offer"
    return ""


def _left_out(models: Sequence[PlannedModel], tasks: Sequence[PlannedTask]) -> list[str]:
    """Say which pairs do not fit: a line for all models that are alike and all tasks that do not fit them for a reason.

    The reason stands last, so that a line about one pair begins with the pair.
    """
    alike: dict[tuple[object, ...], list[PlannedModel]] = {}
    for model in models:
        alike.setdefault((model.card.capabilities, model.card.lacks, model.card.needs), []).append(model)
    lines = []
    for some in alike.values():
        asking: dict[str, list[str]] = {}
        for task in tasks:
            asking.setdefault(_misfit(some[0].card, task.card), []).append(str(task.step.call))
        who = ", ".join(str(model.spec) for model in some)
        lines += [f"{who} x {', '.join(names)}: {reason}" for reason, names in asking.items() if reason]
    return lines


def _only(request: Request, models: Sequence[PlannedModel], tasks: Sequence[PlannedTask]) -> dict[str, str]:
    """Model spec -> the only task that it is asked, of models that may not be asked all."""
    found: dict[str, str] = {}
    for pattern, text in request.only.items():
        task = str(specs.parse_call(text))
        fit = [str(model.spec) for model in models if fnmatchcase(str(model.spec), pattern)]
        if not fit or task not in (str(one.step.call) for one in tasks):
            what = f"{task} is not one of the tasks" if fit else "no model fits it"
            raise UserError(what, where=f"only {pattern}", todo="see the suite's lists")
        found |= dict.fromkeys(fit, task)
    return found


def _check_numbers(request: Request) -> None:
    for budget in request.budgets:
        checked(budget, "budgets")
    for seed in request.seeds:
        if not 0 <= seed < 2**64:
            what = f"seed {seed} is negative" if seed < 0 else f"seed {seed} is not below 2^64"
            raise UserError(what, where="seeds", todo="give 0 or more, and less than 2^64")


def _requested(registry: Registry, request: Request) -> list[Any]:
    """The models of a request: Python objects, and specs at each of its sizes."""
    found: list[Any] = []
    architecture_of = functools.cache(functools.partial(base_architecture, registry))
    for model in request.models:
        if not isinstance(model, str):
            found.append(model)
        elif request.sizes:
            found += model_at_sizes(registry, specs.parse(model), request.sizes, architecture_of)
        else:
            found.append(Sized(specs.parse(model)))
    return found


def _models(registry: Registry, requested: Sequence[Any], budgets: Sequence[float]) -> Iterator[PlannedModel]:
    """What is requested, at each of the budgets where a method takes one and the spec does not say which."""
    swept = False
    for model in requested:
        if not isinstance(model, Sized):
            step = _object_step("model", model, _model_card)
            yield PlannedModel(specs.Spec(step.call), step)
            continue
        spec = model.spec
        is_open = spec.budget is None and takes_budget(registry, spec)
        swept |= is_open
        for budget in (is_open and budgets) or (spec.budget,):
            planned = plan_model(registry, spec if budget is None else spec.with_budget(budget))
            for one in planned.methods:
                if not one.method.can_run():
                    todo = "use `adaptbench cost`, or leave it out"
                    raise UserError("it can be priced, not run", where=f"method {one.call}", todo=todo)
            yield planned
    if requested and len(budgets) > 0 and not swept:
        raise UserError("no model of this run leaves its budget open", where="budgets", todo="leave the budgets out")


def _tasks(registry: Registry, tasks: Sequence[Any]) -> Iterator[PlannedTask]:
    for task in tasks:
        if isinstance(task, str):
            call = specs.parse_call(task)
            yield PlannedTask(Step(registry.find("task", call.name), call))
        else:
            yield PlannedTask(_object_step("task", task, _task_card))


def _object_step(kind: Literal["model", "task"], value: Any, card_of: Callable[[Any], Any]) -> Step:
    """A Python object, under its attribute ``name`` or the name of its class."""
    if isinstance(value, type):
        raise UserError(f"{value.__name__} is a class", where=kind, todo=f"give an object: {value.__name__}(...)")
    name = specs.check_name(str(value.name if isinstance(value, HasName) else type(value).__name__), kind)
    entry = Entry(kind, name, lambda: value, OBJECT_OWNER, card=card_of(value))
    return Step(entry, specs.Call(name))


def _model_card(model: Any) -> ModelCard:
    if isinstance(model, HasCard) and isinstance(model.card, ModelCard):
        return model.card
    capabilities = tuple(name for name, contract in CONTRACTS.items() if isinstance(model, contract))
    if not capabilities:
        raise UserError(
            f"a model needs a method embed(images) or generate(prompts); {type(model).__name__} has neither",
            todo="see docs/plugins.md",
        )
    return ModelCard(summary="A Python object", capabilities=capabilities)


def _task_card(task: Any) -> TaskCard:
    if isinstance(task, HasCard) and isinstance(task.card, TaskCard):
        return task.card
    raise UserError(
        f"a task needs an attribute card, a TaskCard; {type(task).__name__} has none", todo="see docs/plugins.md"
    )


def _refuse_idle(name: str, other: str, reasons: Sequence[str]) -> NoReturn:
    why = f" ({reasons[0]})" if reasons else ""
    raise UserError(f"no {other} of this run fits it{why}", where=name, todo=f"add a {other} that does or leave it out")


def _refuse_doubles(cells: Sequence[PlannedCell]) -> None:
    seen: set[CellId] = set()
    for cell in cells:
        if cell.id in seen:
            raise UserError(
                f"asked for twice: {cell.id.model} on {cell.id.task}",
                todo="name each model, task, budget and seed once; give objects different `name` attributes",
            )
        seen.add(cell.id)
