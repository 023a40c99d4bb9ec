"""Planned models: from a model spec to a base and methods with their options, checked before anything loads.

Runs, dry runs, costs and figures all plan models here, so they have one verdict on a spec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from .abilities import Described
from .errors import MissingArgument, UserError
from .faults import blamed_on
from .measure.architecture import read_architecture
from .measure.work import Work
from .methods import STAGES, bind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .cards import MethodCard, ModelCard
    from .methods import Method
    from .registry import Entry, Registry
    from .specs import Call, Spec


_APPLIED = {"weights": -1, "images": 1}
"""Stages whose methods are applied before or after those of the others."""


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
        """Its methods in the order in which they modify the model: what changes its weights first, its images last."""
        return tuple(sorted(self.methods, key=lambda planned: _APPLIED.get(planned.method.stage, 0)))

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
    try:
        blueprint = factory.blueprint(**model.bind(seed=0, device="cpu"))
    except MissingArgument:  # its architecture is not known unless it is named
        return
    try:
        architecture = read_architecture(blueprint.config)
    except UserError:
        return
    priced = [planned for planned in model.methods if planned.method.has_cost_model()]
    what_is_left(priced, Work.whole(architecture, text_tokens=1))


def what_is_left(methods: Iterable[PlannedMethod], work: Work) -> Work:
    """Return what methods leave of one prompt's work, in the order in which they act.

    Raises:
        UserError: An option does not suit the architecture, a method has no cost model, or one that changes the weights
            meets another that brings its own.
    """

    def place(planned: PlannedMethod) -> tuple[int, bool]:
        """What switches parts of the language model off comes before what reads them."""
        return STAGES.index(planned.method.stage), not planned.entry.card.takes_budget

    for planned in sorted(methods, key=place):
        where = f"method {planned.call}"
        if planned.method.stage == "weights" and work.own_weights:
            todo = "leave one of the two methods out"
            raise UserError("another method brings weights that it was trained with", where=where, todo=todo)
        try:
            with blamed_on("its cost model", where):
                work = planned.method.leaves(work)
        except UserError as error:
            raise type(error)(error.what, where=where, todo=error.todo) from error
    return work


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
            "a budget is written after '@'", where=f"model spec '{spec}'", todo=f"write it as in {step.call.name}@0.5"
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
