"""From what the user asks for to the cells that will run. What can be refused is refused before anything loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from . import specs
from .abilities import Described, HasCard, HasName
from .budgets import checked
from .cards import ModelCard, TaskCard
from .contracts import Embedder, Generator, LanguageModel
from .errors import UserError
from .faults import blamed_on
from .measure.architecture import read_architecture
from .measure.work import Work
from .methods import STAGES, bind
from .registry import OBJECT_OWNER, Entry
from .results import CellId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from .cards import MethodCard
    from .methods import Method
    from .registry import Registry
    from .specs import Call, Spec


@dataclass(frozen=True, slots=True)
class Step:
    """A registered name with the arguments that the user gave it."""

    entry: Entry
    call: Call


@dataclass(frozen=True, slots=True)
class PlannedMethod:
    """A registered method with its options, checked."""

    entry: Entry
    call: Call
    method: Method

    def seeded(self, seed: int) -> PlannedMethod:
        """The same with the seed of a cell, unless the user gave one."""
        if "seed" not in type(self.method).model_fields or "seed" in dict(self.call.args):
            return self
        return replace(self, method=self.method.model_copy(update={"seed": seed}))


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model spec whose every name is known, whose methods go together and whose options are checked.

    Attributes:
        spec: As the user wrote it, but without a budget that its methods spend anyway.
        base: The model that is modified.
        methods: What modifies it, in the order of the spec.
        budget: What its methods may spend: the spec's budget, or their own if it says none; 1 where none takes any.
    """

    spec: Spec
    base: Step
    methods: tuple[PlannedMethod, ...] = ()
    budget: float = 1.0

    @property
    def card(self) -> ModelCard:
        """Card of the base model."""
        card: ModelCard = self.base.entry.card
        return card

    @property
    def method_cards(self) -> dict[str, MethodCard]:
        """Cards of the methods, by name."""
        return {planned.entry.name: planned.entry.card for planned in self.methods}

    @property
    def as_applied(self) -> tuple[PlannedMethod, ...]:
        """Its methods in the order in which they modify the model: what changes its images is put around it last."""
        return tuple(sorted(self.methods, key=lambda planned: planned.method.stage == "images"))

    @property
    def takes_budget(self) -> bool:
        """Whether a method of it takes a budget."""
        return any(card.takes_budget for card in self.method_cards.values())

    def seeded(self, seed: int) -> PlannedModel:
        """The same with the seed of a cell."""
        return replace(self, methods=tuple(method.seeded(seed) for method in self.methods))

    def bind(self, **offered: Any) -> dict[str, Any]:
        """Return the arguments of the base's factory, checked against its signature.

        Args:
            offered: What it gets if it takes it and the user gave none, such as ``seed`` and ``device``.

        Raises:
            UserError: The factory cannot be imported, or an argument is unknown or missing.
        """
        return self.base.entry.bind(self.base.call, **offered)


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
    """The cells of a run, grouped by model, and the pairs that were left out with the reason."""

    cells: tuple[PlannedCell, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asks for: models x tasks x budgets x seeds. A model or a task is a spec, or a Python object."""

    models: Sequence[Any]
    tasks: Sequence[Any]
    budgets: Sequence[float] = ()
    seeds: Sequence[int] = (0,)


def plan(registry: Registry, request: Request) -> Plan:
    """Cross models with tasks wherever the capability fits.

    All that the cards can tell is checked first. Only a plan that passes has its factories imported, for their
    arguments.

    Raises:
        UserError: A name is unknown, methods exclude each other, a model or a task has no counterpart at all, or an
            argument is unknown or missing.
    """
    _check_numbers(request)
    models, tasks = list(_models(registry, request)), plan_tasks(registry, request)
    cells = [
        PlannedCell(model.seeded(seed), task, seed)
        for model in models
        for task in tasks
        if task.card.capability in model.card.capabilities
        for seed in request.seeds
    ]
    left_out = _left_out(models, tasks)
    if not cells:
        reason = left_out[0] if left_out else "name at least one model and one task"
        raise UserError(f"there is nothing to run: {reason}", todo="`adaptbench list` shows models and tasks")
    _refuse_idle([m.spec for m in models], [c.model.spec for c in cells], "model", "task")
    _refuse_idle([t.step.call for t in tasks], [c.task.step.call for c in cells], "task", "model")
    _refuse_doubles(cells)
    for model in models:
        model.bind(seed=0, device="cpu")
    for task in tasks:
        task.step.entry.bind(task.step.call, seed=0)
    return Plan(tuple(cells), tuple(left_out))


def plan_model(registry: Registry, spec: Spec) -> PlannedModel:
    """Look up every name of a model spec and check what it asks of the base model, as far as its config tells.

    Raises:
        UserError: A name or an option is unknown, methods lack a part of the model or exclude each other, or an option
            does not suit the model's architecture.
    """
    base = Step(registry.find("model", spec.base.name), spec.base)
    card: ModelCard = base.entry.card
    methods = plan_methods(registry, spec, card.offers, base.entry.factory() if spec.methods else None)
    model = _with_budget(spec, base, methods)
    if methods:
        _refuse_unfit(model)
    return model


def plan_methods(
    registry: Registry, spec: Spec, offers: Collection[str], factory: object = None
) -> tuple[PlannedMethod, ...]:
    """Look up the methods of a spec and check their options; what the cards tell is checked first.

    Args:
        registry: Where they are looked up.
        spec: The model spec.
        offers: Parts of the base that a method may act on.
        factory: Of the base model; ``None`` for an architecture, which has no weights.

    Raises:
        UserError: As `plan_model`.
    """
    steps = [Step(registry.find("method", call.name), call) for call in spec.methods]
    where = f"model spec '{spec}'"
    for step in steps:
        _refuse_lack(step, spec, offers)
    for one, two in combinations(steps, 2):
        _refuse_clash(one, two, where)
    if spec.budget is not None and not takes_budget(registry, spec):
        takers = [entry.name for entry in registry.entries("method") if entry.card.takes_budget]
        raise UserError(
            f"none of its methods takes a budget, so '@{spec.budget:g}' means nothing",
            where=where,
            todo=f"leave the budget out or add one that does: {', '.join(takers)}",
        )
    offered: dict[str, Any] = {"seed": 0} if spec.budget is None else {"seed": 0, "budget": spec.budget}
    bound = [PlannedMethod(step.entry, step.call, bind(step.entry, step.call, **offered)) for step in steps]
    if factory is None:
        return tuple(bound)
    return tuple(replace(planned, method=planned.method.for_base(factory)) for planned in bound)


def takes_budget(registry: Registry, spec: Spec) -> bool:
    """Whether a method of a spec takes a budget."""
    return any(registry.find("method", call.name).card.takes_budget for call in spec.methods)


def _with_budget(spec: Spec, base: Step, methods: tuple[PlannedMethod, ...]) -> PlannedModel:
    """A planned model under the budget that its methods spend; a spec that writes theirs out says nothing new."""
    takers = [planned.method for planned in methods if planned.entry.card.takes_budget]
    usual = {type(method).model_fields["budget"].default for method in takers}
    spent = {float(method.model_dump(include={"budget"})["budget"]) for method in takers}
    if len(spent) > 1:
        raise UserError(
            f"without a budget its methods spend {' and '.join(f'{one:g}' for one in sorted(spent))}",
            where=f"model spec '{spec}'",
            todo=f"say one budget for all, such as @{max(spent):g}",
        )
    return PlannedModel(spec.without_budget() if spent == usual else spec, base, methods, spent.pop() if spent else 1.0)


def _refuse_unfit(model: PlannedModel) -> None:
    """Refuse options that do not suit the base's architecture, where its config tells it and a closed form reads it."""
    factory: Any = model.base.entry.factory()
    if not isinstance(factory, Described):
        return
    blueprint = factory.blueprint(**model.bind(seed=0, device="cpu"))
    try:
        architecture = read_architecture(blueprint.config)
    except UserError:
        return
    priced = [planned for planned in model.methods if planned.method.has_cost_model()]
    what_is_left(priced, Work.whole(architecture, text_tokens=1))


def what_is_left(methods: Iterable[PlannedMethod], work: Work) -> Work:
    """Return what methods leave of one prompt's work, in the order in which they act.

    Raises:
        UserError: An option does not suit the architecture, or a method has no cost model.
    """

    def place(planned: PlannedMethod) -> tuple[int, bool]:
        """What switches parts of the language model off comes before what reads them."""
        return STAGES.index(planned.method.stage), not planned.entry.card.takes_budget

    for planned in sorted(methods, key=place):
        where = f"method {planned.call}"
        try:
            with blamed_on("its cost model", where):
                work = planned.method.leaves(work)
        except UserError as error:
            raise type(error)(error.what, where=where, todo=error.todo) from error
    return work


def plan_tasks(registry: Registry, request: Request) -> list[PlannedTask]:
    """Look up the tasks of a request."""
    return list(_tasks(registry, request.tasks))


def _left_out(models: Sequence[PlannedModel], tasks: Sequence[PlannedTask]) -> list[str]:
    """Say which pairs do not fit: a line for all models of some capabilities and all tasks that need another one."""
    lines = []
    for has in dict.fromkeys(model.card.capabilities for model in models):
        unfit = [str(model.spec) for model in models if model.card.capabilities == has]
        for needed in dict.fromkeys(task.card.capability for task in tasks if task.card.capability not in has):
            asking = [str(task.step.call) for task in tasks if task.card.capability == needed]
            who = f"{', '.join(unfit)} x {', '.join(asking)}"
            lines.append(f"{who}: the task needs {needed}, the model has {', '.join(has)}")
    return lines


def _check_numbers(request: Request) -> None:
    for budget in request.budgets:
        checked(budget, "budgets")
    for seed in request.seeds:
        if seed < 0:
            raise UserError(f"seed {seed} is negative", where="seeds", todo="give 0 or more")


def _models(registry: Registry, request: Request) -> Iterator[PlannedModel]:
    """The models of a request, at each of its budgets where a method takes one and the spec does not say which."""
    swept = False
    for model in request.models:
        if not isinstance(model, str):
            step = _object_step("model", model, _model_card)
            yield PlannedModel(specs.Spec(step.call), step)
            continue
        spec = specs.parse(model)
        is_open = spec.budget is None and takes_budget(registry, spec)
        swept |= is_open
        for budget in (is_open and request.budgets) or (spec.budget,):
            yield plan_model(registry, spec if budget is None else spec.with_budget(budget))
    if request.models and len(request.budgets) > 0 and not swept:
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
    capabilities = tuple(
        name
        for name, contract in (("embed", Embedder), ("generate", Generator), ("language", LanguageModel))
        if isinstance(model, contract)
    )
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


def _refuse_lack(step: Step, spec: Spec, offers: Collection[str]) -> None:
    missing = step.entry.card.needs - set(offers)
    if missing:
        has = ", ".join(sorted(offers)) or "nothing that a method can act on"
        raise UserError(
            f"method {step.call.name!r} needs {', '.join(sorted(missing))}; {spec.base.name!r} offers {has}",
            where=f"model spec '{spec}'",
            todo="choose another model or leave the method out",
        )
    if step.entry.card.takes_budget and "budget" in dict(step.call.args):
        raise UserError(
            "a budget stands after '@'", where=f"model spec '{spec}'", todo=f"write it as in {step.call.name}@0.5"
        )


def _refuse_clash(one: Step, two: Step, where: str) -> None:
    first, second = one.entry.card, two.entry.card
    shared = first.modifies & second.modifies
    declared = two.entry.name in first.combines_with or one.entry.name in second.combines_with
    if one.entry.name == two.entry.name or (shared and not declared):
        what = f"both change {', '.join(sorted(shared))}" if shared else "it is named twice"
        raise UserError(
            f"methods {one.entry.name!r} and {two.entry.name!r} exclude each other: {what}",
            where=where,
            todo="keep one of them",
        )


def _refuse_idle(asked: Sequence[object], used: Sequence[object], kind: str, other: str) -> None:
    for name in asked:
        if name not in used:
            raise UserError(
                f"no {other} of this run fits it", where=f"{kind} {name}", todo=f"add a {other} or leave it out"
            )


def _refuse_doubles(cells: Sequence[PlannedCell]) -> None:
    seen: set[CellId] = set()
    for cell in cells:
        if cell.id in seen:
            raise UserError(
                f"asked for twice: {cell.id.model} on {cell.id.task}",
                todo="name each model, task, budget and seed once; an object is told apart by its attribute name",
            )
        seen.add(cell.id)
