"""What ships of the few-shot study is what its search chose, and what its suites ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adaptbench.harness.specs import parse
from adaptbench.harness.suites import filled, load_suite
from adaptbench.models.finetuning.shipped import shipped
from adaptbench.tasks.builtin import SUITES
from adaptbench.tasks.fewshot.glyphs import SPLITS

ROOT = Path(__file__).parents[2]
SCORES = json.loads((ROOT / "docs" / "fewshot-rates.json").read_text())
METHODS = [(base, method) for base, methods in SCORES.items() for method in methods]


def test_the_search_tried_as_many_rates_of_each_method() -> None:
    assert len(METHODS) == 12
    assert len({len(SCORES[base][method]) for base, method in METHODS}) == 1


@pytest.mark.parametrize(("base", "method"), METHODS)
def test_what_ships_has_the_rates_that_scored_best(base, method) -> None:
    scores = SCORES[base][method]
    best = dict(one.split("=") for one in max(scores, key=scores.get).split(","))
    for seed in range(3):
        recipe = json.loads((Path(shipped(base)[method][f"seed{seed}"]) / "recipe.json").read_text())
        assert {name: recipe[name] for name in best} == {name: float(value) for name, value in best.items()}


@pytest.mark.parametrize("target", SPLITS["test"])
def test_every_checkpoint_of_the_suites_ships(target) -> None:
    for file in SUITES.glob("fewshot-glyphs*.yaml"):
        for model in filled(load_suite(file), {"ADAPTBENCH_TARGET": target}).models:
            spec = parse(model)
            for method in spec.methods:
                assert dict(method.args)["checkpoint"] in shipped(spec.base.name)[method.name], model


def test_three_trainings_differ_in_their_seed_alone() -> None:
    for folder in (ROOT / "models" / "finetuning" / "weights").glob("glyphs-*/*/*seed0"):
        first, *others = (
            json.loads((folder.with_name(folder.name[:-1] + seed) / "recipe.json").read_text()) for seed in "012"
        )
        assert [{**other, "seed": 0} for other in others] == [first, first], folder


def test_all_weights_together_are_small() -> None:
    assert sum(file.stat().st_size for file in (ROOT / "models" / "finetuning" / "weights").rglob("*.*")) < 15e6
