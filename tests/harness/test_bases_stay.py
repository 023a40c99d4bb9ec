"""A base stays in memory for the next spec if nothing has changed it, and nothing of what is written tells."""

from __future__ import annotations

import dataclasses

import pytest
from adaptbench import Method, MethodCard, ModelCard, UserError, hookimpl
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.runner import RunSpec, execute
from adaptbench.harness.store import RunDirectory
from pydantic import Field

WORDS = ["toy-words(samples=20)", "toy-words(samples=20,seed=5)"]
SPECS = ["kept", *(f"kept+louder(times={times})" for times in (1, 2, 3))]


@dataclasses.dataclass
class Weights:
    """Stands for what takes memory and time to load."""

    sound: str = "a"


@dataclasses.dataclass(frozen=True)
class Fresh:
    """Answers by its weights and its methods."""

    weights: Weights
    louder: int = 0

    def generate(self, prompts):
        return [self.weights.sound * (1 + self.louder) for _ in prompts]


class Kept(Fresh):
    """Stays in memory for the next spec."""

    def as_loaded(self):
        return dataclasses.replace(self) if self.weights == Weights() else None

    def shares_weights(self, other):
        return other.weights is self.weights


class Louder(Method):
    """Changes nothing of what it is given."""

    times: int = Field(1, ge=1)

    def apply(self, model):
        return dataclasses.replace(model, louder=self.times)


class Own(Method):
    """Brings weights of its own."""

    def apply(self, model):
        return dataclasses.replace(model, weights=Weights("own"))


class Spoiling(Method):
    """Changes the weights that it is given, which it must not."""

    def apply(self, model):
        model.weights.sound = "spoilt"
        return model


class Failing(Method):
    """Fails when it is put on a model."""

    def apply(self, model):
        raise UserError("it does not fit")


class Plugin:
    """Registers a model that stays, one that does not, and methods; counts loads."""

    def __init__(self):
        self.loads = []

    @hookimpl
    def register(self, registry):
        def factory(kind):
            def load():
                self.loads.append(kind.__name__)
                return kind(Weights())

            load.fingerprint = lambda **_: kind.__name__
            return load

        offers = ModelCard(capabilities=("generate",), offers=frozenset({"all"}))
        for name, kind in (("kept", Kept), ("fresh", Fresh)):
            registry.model(name, factory(kind), card=offers)
        for name, kind in (("louder", Louder), ("own", Own), ("spoiling", Spoiling), ("failing", Failing)):
            registry.method(name, kind, card=MethodCard(needs=frozenset({"all"}), modifies=frozenset({name})))


@pytest.fixture
def plugin():
    return Plugin()


@pytest.fixture
def sweep(run, plugin):
    def go(out, models, tasks=WORDS, **options):
        return run(models, tasks, out=out, plugins=[plugin], **options)

    return go


def sounds(result, path):
    """What each cell answered first, in order."""
    return [next(RunDirectory(path).journal(cell.key).records()).output[0] for cell in result.results]


def test_specs_of_one_base_load_it_once(sweep, plugin, tmp_path, written):
    result = sweep(tmp_path / "together", SPECS)
    assert plugin.loads == ["Kept"]
    assert sounds(result, tmp_path / "together") == ["a", "a", "aa", "aa", "aaa", "aaa", "aaaa", "aaaa"]
    for spec in SPECS:
        sweep(tmp_path / "one-by-one", [spec])
    assert plugin.loads == ["Kept"] * 5
    cells = {name: text for name, text in written(tmp_path / "together").items() if name.startswith("cells")}
    assert cells == {n: text for n, text in written(tmp_path / "one-by-one").items() if n.startswith("cells")}


def test_a_base_that_does_not_say_that_it_can_stay_is_loaded_for_each_spec(sweep, plugin, tmp_path):
    sweep(tmp_path, ["fresh", "fresh+louder", "fresh+louder(times=2)"])
    assert plugin.loads == ["Fresh"] * 3


def test_another_base_takes_the_place_of_the_first(sweep, plugin, tmp_path):
    sweep(tmp_path, ["kept", "fresh", "kept+louder"])
    assert plugin.loads == ["Kept", "Fresh", "Kept"]


@pytest.mark.parametrize("spec", ["kept+own", "kept+spoiling"])
def test_weights_that_a_method_changes_do_not_reach_the_next_spec(spec, sweep, plugin, tmp_path):
    result = sweep(tmp_path, ["kept+louder", spec, "kept", "kept+louder(times=2)"], WORDS[:1])
    assert sounds(result, tmp_path) == ["aa", {"kept+own": "own", "kept+spoiling": "spoilt"}[spec], "a", "aaa"]
    assert plugin.loads == ["Kept"] * 2


def test_a_spec_that_fails_fails_alone(sweep, plugin, toys, tmp_path):
    specs, plugins = ["kept+louder", "kept+failing", "kept+louder(times=2)"], load_plugins([toys, plugin])
    cells = plan(plugins.registry, Request(specs, WORDS[:1]))
    result = execute(plugins, RunSpec(cells, tmp_path / "run", timing=False, fail_fast=False))
    assert [cell.cell.model for cell in result.failed] == ["kept+failing"]
    assert sounds(result, tmp_path / "run") == ["aa", "aaa"]
    assert plugin.loads == ["Kept"]
    with pytest.raises(UserError, match=r"kept\+failing.*does not fit"):
        sweep(tmp_path / "first", specs, WORDS[:1])
    assert len(RunDirectory(tmp_path / "first").journals()) == 2


def test_a_run_goes_on_after_half_of_the_specs(sweep, plugin, tmp_path, written):
    sweep(tmp_path / "run", SPECS[:2])
    plugin.loads.clear()
    sweep(tmp_path / "run", SPECS)
    assert plugin.loads == ["Kept"]
    sweep(tmp_path / "whole", SPECS)
    assert written(tmp_path / "run") == written(tmp_path / "whole")
