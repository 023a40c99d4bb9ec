"""Variables and wildcards of a suite file: one model for each folder that is there."""

from __future__ import annotations

import json

import pytest
from adaptbench import UserError
from adaptbench.harness.specs import parse
from adaptbench.harness.suites import Suite, filled
from hypothesis import given
from hypothesis import strategies as st


def suite(*models, tasks=("digits",)):
    return Suite(name="mine", models=models, tasks=tasks)


def checkpoints(models):
    return [dict(call.args)["checkpoint"] for model in models for call in parse(model).methods]


@pytest.fixture
def folder(tmp_path):
    for name in ("L10", "L0", "L1", "HP0", "H0"):
        (tmp_path / "my [study]" / name / "model").mkdir(parents=True)
    (tmp_path / "my [study]" / "L2").mkdir()
    return tmp_path / "my [study]"


def test_a_wildcard_is_a_model_for_each_match_in_order(folder):
    made = filled(suite("base", 'base+m(checkpoint="${WHERE}/L[0-9]*/model",k=2)@0.5'), {"WHERE": str(folder)})
    assert made.models[0] == "base"
    assert checkpoints(made.models) == [f"{folder}/{name}/model" for name in ("L0", "L1", "L10")]
    assert {(parse(m).budget, dict(parse(m).methods[0].args)["k"]) for m in made.models[1:]} == {(0.5, 2)}


def test_a_letter_after_the_wildcard_is_no_digit(folder):
    made = filled(suite('base+m(checkpoint="${WHERE}/H[0-9]*/model")'), {"WHERE": str(folder)})
    assert checkpoints(made.models) == [f"{folder}/H0/model"]


def test_several_calls_are_crossed_and_targets_and_tasks_are_filled(folder):
    made = filled(
        suite('llava:"${WHERE}/L[01]/model"+m(checkpoint="${WHERE}/H*/model")', tasks=('own(path="${WHERE}/x")',)),
        {"WHERE": str(folder)},
    )
    assert [(parse(m).base.target, *checkpoints([m])) for m in made.models] == [
        (f"{folder}/{one}/model", f"{folder}/{two}/model") for one in ("L0", "L1") for two in ("H0", "HP0")
    ]
    assert made.tasks == (f"own(path={json.dumps(f'{folder}/x')})",)


@pytest.mark.parametrize("environment", [{}, {"WHERE": ""}])
def test_a_variable_that_is_not_set_is_named(environment):
    with pytest.raises(UserError, match="suite mine: WHERE is not set; set the environment variable WHERE"):
        filled(suite('base+m(checkpoint="${WHERE}/L*")'), environment)


def test_nothing_to_match_is_said(folder):
    with pytest.raises(UserError, match=r"nothing matches .*R\[0-9\]\*/model; make it, or leave it out"):
        filled(suite('base+m(checkpoint="${WHERE}/R[0-9]*/model")'), {"WHERE": str(folder)})


def test_wildcards_without_a_variable_stay():
    made = filled(suite('base+m(pattern="a*")'), {})
    assert made.models == ('base+m(pattern="a*")',)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20))
def test_any_path_is_taken_as_it_is(path):
    made = filled(suite('base+m(checkpoint="${WHERE}/model")'), {"WHERE": path})
    assert checkpoints(made.models) == [f"{path}/model"]
