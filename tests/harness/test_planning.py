"""From what is asked for to cells: what can be refused is refused before anything loads."""

from __future__ import annotations

import sys

import pytest
from adaptbench import MethodCard, ModelCard, TaskCard, UserError
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.registry import Registrar, Registry

FACTORIES = """
from adaptbench import Budget, Method
def model(size=1, seed=0): ...
def needs_seed(seed, device): ...
def needs_path(path): ...
class Kept(Method):
    keep: int = 1
    seed: int = 0
    def apply(self, model): return model
class Budgeted(Method):
    budget: Budget = 1.0
    def apply(self, model): return model
class Half(Budgeted):
    budget: Budget = 0.5
class Strict(Budgeted):
    budget: Budget
class Priced(Method):
    def leaves(self, work): return work
def task(ways=5, seed=0): ...
class Told:
    def __init__(self, name): ...
    def card_for(name):
        return open(name)
"""


def cards(name, **fields):
    return {name: MethodCard(**{key: frozenset(value) for key, value in fields.items()})}


METHODS = {
    **cards("free"),
    **cards("cut", needs={"layers"}, modifies={"layers"}),
    **cards("thin", needs={"layers"}, modifies={"layers", "width"}),
    **cards("friend", modifies={"layers"}, combines_with={"cut"}),
}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    (tmp_path / "planned_factories.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "planned_factories", raising=False)
    registrar = Registrar("mine")
    embed = ModelCard(capabilities=("embed",))
    registrar.model("plain", "planned_factories:model", card=embed)
    registrar.model("seeded", "planned_factories:needs_seed", card=embed)
    registrar.model("at-path", "planned_factories:needs_path", card=embed)
    layered = ModelCard(capabilities=("embed",), offers=frozenset({"layers"}))
    registrar.model("layered", "planned_factories:model", card=layered)
    registrar.model("talker", "planned_factories:model", card=ModelCard(capabilities=("generate",)))
    for name, card in METHODS.items():
        registrar.method(name, "planned_factories:Kept", card=card)
    registrar.method("priced", "planned_factories:Priced", card=MethodCard())
    takes = MethodCard(takes_budget=True)
    for name, kind in (("spend", "Budgeted"), ("half", "Half"), ("strict", "Strict"), ("liar", "Kept")):
        registrar.method(name, f"planned_factories:{kind}", card=takes)
    registrar.task("look", "planned_factories:task", card=TaskCard(capability="embed"))
    registrar.task("look5", "planned_factories:task", card=TaskCard(capability="embed"), args={"ways": 5})
    registrar.task("told", "planned_factories:Told", card=TaskCard(capability="generate", by_arguments=True))
    registrar.task("ask", "planned_factories:task", card=TaskCard(capability="generate"))
    reader = ModelCard(capabilities=("generate",), lacks=frozenset({"images"}))
    registrar.model("reader", "planned_factories:model", card=reader)
    told = ModelCard(capabilities=("generate",), needs=frozenset({"readings"}))
    registrar.model("told-all", "planned_factories:model", card=told)
    show = TaskCard(capability="generate", needs=frozenset({"images"}))
    registrar.task("show", "planned_factories:task", card=show)
    tells = TaskCard(capability="generate", offers=frozenset({"readings"}))
    registrar.task("tell", "planned_factories:task", card=tells)
    registry = Registry()
    registry.adopt(registrar.entries)
    return registry


def cells(registry, models, tasks, **more):
    made = plan(registry, Request(models, tasks, **more))
    return [(c.id.model, c.id.task, c.id.budget, c.id.seed) for c in made.cells]


def test_models_cross_tasks_and_seeds_grouped_by_model(registry):
    assert cells(registry, ["plain", "layered"], ["look", "look(ways=3)"], seeds=(0, 4)) == [
        ("plain", "look", 1.0, 0),
        ("plain", "look", 1.0, 4),
        ("plain", "look(ways=3)", 1.0, 0),
        ("plain", "look(ways=3)", 1.0, 4),
        ("layered", "look", 1.0, 0),
        ("layered", "look", 1.0, 4),
        ("layered", "look(ways=3)", 1.0, 0),
        ("layered", "look(ways=3)", 1.0, 4),
    ]


def test_what_does_not_fit_is_left_out_with_the_reason(registry):
    made = plan(registry, Request(["plain", "talker"], ["look", "ask"]))
    assert [(c.id.model, c.id.task) for c in made.cells] == [("plain", "look"), ("talker", "ask")]
    assert made.left_out == (
        "plain x ask: the task needs generate, the model has embed",
        "talker x look: the task needs embed, the model has generate",
    )


def test_a_model_is_not_asked_what_it_does_not_take(registry):
    made = plan(registry, Request(["talker", "reader", "told-all"], ["ask", "show", "tell"]))
    pairs = [(c.id.model, c.id.task) for c in made.cells]
    assert pairs == [
        *(("talker", task) for task in ("ask", "show", "tell")),
        ("reader", "ask"),
        ("reader", "tell"),
        ("told-all", "tell"),
    ]
    assert made.left_out == (
        "reader x show: the task needs images, which the model does not take",
        "told-all x ask, show: the model needs readings, which the task does not offer",
    )


def test_some_models_are_asked_one_task_only(registry):
    models, tasks = ["plain", "plain+spend", "layered"], ["look", "look5"]
    assert [(model, task) for model, task, *_ in cells(registry, models, tasks, only={"*+sp*": "look5"})] == [
        ("plain", "look"),
        ("plain", "look5"),
        ("plain+spend", "look5"),
        ("layered", "look"),
        ("layered", "look5"),
    ]
    wrong = (({"x*": "look"}, r"only x\*: no model fits it"), ({"*": "ask"}, "ask is not one of the tasks"))
    for only, message in wrong:
        with pytest.raises(UserError, match=message):
            plan(registry, Request(models, tasks, only=only))


class TestBudgets:
    def test_they_go_to_models_that_leave_theirs_open(self, registry):
        assert cells(registry, ["plain", "plain+spend", "plain+spend@0.3"], ["look"], budgets=(0.5, 1.0)) == [
            ("plain", "look", 1.0, 0),
            ("plain+spend", "look", 0.5, 0),
            ("plain+spend", "look", 1.0, 0),
            ("plain+spend", "look", 0.3, 0),
        ]

    def test_the_spec_of_a_cell_does_not_hold_its_budget(self, registry):
        made = plan(registry, Request(["plain+spend@0.5"], ["look"]))
        assert (made.cells[0].id.model, made.cells[0].id.budget) == ("plain+spend", 0.5)

    def test_a_required_budget_is_missing_only_without_one(self, registry):
        with pytest.raises(UserError, match="argument 'budget' is missing"):
            plan(registry, Request(["plain+strict"], ["look"]))

    @pytest.mark.parametrize(
        ("spec", "name", "budget"),
        [
            ("plain+spend", "plain+spend", 1.0),
            ("plain+spend@1", "plain+spend", 1.0),
            ("plain+half", "plain+half", 0.5),
            ("plain+half@0.50", "plain+half", 0.5),
            ("plain+half@1", "plain+half@1", 1.0),
        ],
    )
    def test_none_is_the_methods_own_and_writing_it_out_says_nothing_new(self, registry, spec, name, budget):
        (cell,) = plan(registry, Request([spec], ["look"])).cells
        assert (str(cell.model.spec), cell.id.budget) == (name, budget)
        assert cell.model.methods[0].method.budget == budget

    def test_methods_that_spend_differently_need_one_to_be_said(self, registry):
        with pytest.raises(UserError, match=r"without a budget its methods spend 0.5 and 1; say one budget for all"):
            plan(registry, Request(["plain+spend+half"], ["look"]))
        assert cells(registry, ["plain+spend+half@0.7"], ["look"]) == [("plain+spend+half", "look", 0.7, 0)]

    @pytest.mark.parametrize("models", [["plain"], ["plain", "plain+spend@0.5"]])
    def test_a_budget_that_no_method_takes_is_refused(self, registry, models):
        with pytest.raises(UserError, match="no model of this run leaves its budget open"):
            plan(registry, Request(models, ["look"], budgets=(0.5,)))

    @pytest.mark.parametrize("budget", [0.0, 1.5, 1.0000001, -1.0, float("nan")])
    def test_one_out_of_range_is_refused(self, registry, budget):
        with pytest.raises(UserError, match=r"is not in \(0, 1\]"):
            plan(registry, Request(["plain+spend"], ["look"], budgets=(budget,)))
        with pytest.raises(UserError, match=r"is not in \(0, 1\]"):
            plan(registry, Request(["plain"], ["look"], budgets=(budget,)))

    def test_one_after_a_model_that_takes_none_is_refused(self, registry):
        with pytest.raises(UserError, match=r"none of its methods takes a budget, so '@0.5' means nothing"):
            plan(registry, Request(["plain+free@0.5"], ["look"]))

    def test_one_in_parentheses_is_refused(self, registry):
        with pytest.raises(UserError, match=r"a budget is written after '@'; write it as in spend@0.5"):
            plan(registry, Request(["plain+spend(budget=0.5)"], ["look"]))

    def test_a_method_that_claims_to_take_one_must_have_the_field(self, registry):
        with pytest.raises(UserError, match="it has no field 'budget'; fix plugin 'mine'"):
            plan(registry, Request(["plain+liar@0.5"], ["look"]))


class TestRefusedBeforeAnythingLoads:
    @pytest.mark.parametrize(
        ("models", "tasks", "why"),
        [
            (["plian"], ["look"], "unknown model 'plian' .did you mean 'plain'"),
            (["plain+fere"], ["look"], "unknown method 'fere' .did you mean 'free'"),
            (["plain"], ["lok"], "unknown task 'lok' .did you mean 'look'"),
            (["plain+cut"], ["look"], "method 'cut' needs layers; 'plain' offers nothing that a method can act on"),
            (["layered+cut+thin"], ["look"], "'cut' and 'thin' exclude each other: both change layers"),
            (["layered+thin+friend"], ["look"], "'thin' and 'friend' exclude each other: both change layers"),
            (["layered+free+free"], ["look"], "'free' and 'free' exclude each other: it is named twice"),
            (["plain", "layered+cut+thin"], ["look"], "exclude each other"),
            (["plain"], ["ask"], "there is nothing to run: plain x ask: the task needs generate"),
            ([], ["look"], "there is nothing to run: name at least one model and one task"),
            (["plain"], [], "there is nothing to run: name at least one model and one task"),
            (["plain", "talker"], ["look"], "model talker: no task of this run fits it"),
            (["plain"], ["look", "ask"], "task ask: no model of this run fits it"),
            (
                ["reader"],
                ["show"],
                "nothing to run: reader x show: the task needs images, which the model does not take",
            ),
            (
                ["talker", "reader"],
                ["show"],
                "model reader: no task of this run fits it .reader x show: the task needs",
            ),
            (["told-all"], ["ask"], "told-all x ask: the model needs readings, which the task does not offer"),
            (["plain", "plain()"], ["look"], "asked for twice: plain on look"),
            (["plain+spend", "plain+spend@1"], ["look"], "asked for twice: plain.spend on look"),
            (["plain"], ["look(ways=3)", "look(ways = 3)"], "asked for twice"),
        ],
    )
    def test_impossible(self, registry, models, tasks, why):
        with pytest.raises(UserError, match=why):
            plan(registry, Request(models, tasks))
        assert "planned_factories" not in sys.modules or any("+" in model for model in models)

    def test_numbers(self, registry):
        with pytest.raises(UserError, match="seed -1 is negative"):
            plan(registry, Request(["plain"], ["look"], seeds=(0, -1)))
        with pytest.raises(UserError, match=r"is not below 2\^64"):
            plan(registry, Request(["plain"], ["look"], seeds=(2**64,)))
        with pytest.raises(UserError, match="asked for twice"):
            plan(registry, Request(["plain"], ["look"], seeds=(1, 1)))
        assert "planned_factories" not in sys.modules


def test_a_method_with_only_a_cost_model_is_not_run(registry):
    with pytest.raises(UserError, match=r"^method priced: it can be priced, not run; use `adaptbench cost`"):
        plan(registry, Request(["plain+priced"], ["look"]))


class TestArguments:
    @pytest.mark.parametrize(
        ("model", "task", "why"),
        [
            ("plain(szie=1)", "look", "unknown argument 'szie' .did you mean 'size'"),
            ("layered+cut(kep=1)", "look", "unknown argument 'kep' .did you mean 'keep'"),
            ("plain", "look(way=3)", "unknown argument 'way' .did you mean 'ways'"),
            ("at-path", "look", "argument 'path' is missing; write at-path:VALUE"),
            ("plain:x(size=1)", "look", "takes nothing after ':'"),
        ],
    )
    def test_are_checked_against_the_factory(self, registry, model, task, why):
        with pytest.raises(UserError, match=why):
            plan(registry, Request([model], [task]))

    def test_what_the_run_provides_is_not_missing(self, registry):
        assert cells(registry, ["seeded", "layered+cut+friend"], ["look5(ways=3)"])[1][0] == "layered+cut+friend"

    def test_of_a_model_are_bound_in_order(self, registry):
        made = plan(registry, Request(["plain(size=2)+free(keep=3)+spend@0.5"], ["look"]))
        model = made.cells[0].model.seeded(7)
        assert model.bind(seed=7, device="cpu") == {"size": 2, "seed": 7}
        free, spend = (planned.method for planned in model.methods)
        assert (free.keep, free.seed, spend.budget) == (3, 7, 0.5)


def test_a_card_that_cannot_be_told_names_its_task(registry):
    with pytest.raises(UserError, match=r"^task told\(name=nowhere\): its card failed with FileNotFoundError"):
        plan(registry, Request(["talker"], ["told(name=nowhere)"]))


class Embeds:
    def embed(self, images): ...


class Named(Embeds):
    name = "my-model"
    card = ModelCard(capabilities=("embed",), licence="MIT")


class Looks:
    card = TaskCard(capability="embed")


class TestObjects:
    def test_are_planned_under_their_name_or_class(self, registry):
        made = plan(registry, Request([Embeds(), Named(), "plain"], [Looks()]))
        assert [(c.id.model, c.id.task) for c in made.cells] == [
            ("Embeds", "Looks"),
            ("my-model", "Looks"),
            ("plain", "Looks"),
        ]
        assert made.cells[1].model.card.licence == "MIT"
        assert made.cells[0].model.card.capabilities == ("embed",)
        model = made.cells[0].model
        assert isinstance(model.base.entry.factory()(**model.bind(seed=0, device="cpu")), Embeds)

    @pytest.mark.parametrize(
        ("models", "tasks", "why"),
        [
            ([object()], ["look"], r"needs a method embed\(images\) or generate\(prompts\); object has neither"),
            ([Embeds], ["look"], r"Embeds is a class; give an object: Embeds\(...\)"),
            (["plain"], [object()], "a task needs an attribute card"),
            (["plain"], [Looks], r"Looks is a class"),
            ([Embeds(), Embeds()], ["look"], "asked for twice: Embeds on look.*`name` attributes"),
        ],
    )
    def test_that_cannot_be_planned(self, registry, models, tasks, why):
        with pytest.raises(UserError, match=why):
            plan(registry, Request(models, tasks))

    def test_need_a_name_that_a_spec_can_say(self, registry):
        model = Embeds()
        model.name = "my model"
        with pytest.raises(UserError, match="'my model' is not a valid name for a model"):
            plan(registry, Request([model], ["look"]))
