"""Which published claims about token reduction hold on the models of a run."""

import json

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import ReportRequest
from adaptbench.leaderboards.collect import collect
from adaptbench.leaderboards.reduction.claims import CLAIMS, claims, judged
from adaptbench.leaderboards.reduction.lines import Named, find
from adaptbench.leaderboards.reduction.settings import Setting, settings
from adaptbench.leaderboards.reduction.trials import Scope, Trial, beside, by_groups, by_ratio, everywhere
from hypothesis import given
from hypothesis import strategies as st

RIGHT = {
    "whole": "1111111111",
    "whole+random-tokens(seed=0)": "1111111000",
    "whole+random-tokens(seed=1)": "1111101000",
    "whole+smaller-images": "1111111010",
    "whole+divprune": "1111111110",
    "whole+fastv": "1110000000",
    "whole+prumerge": "1100000000",
    "whole+fitprune": "1111110000",
    "whole+fitprune(inverted=true)": "1000000000",
    "other": "1111100000",
    "other+random-tokens(seed=0)": "1000000000",
    "other+hired": "1111000000",
}
TIMES = 20


@pytest.fixture
def filled(new_run):
    """A run of these models, or of some of them."""

    def fill(models=RIGHT, **digits):
        run = new_run("own")
        for task in dict.fromkeys(("toy", *digits)):
            for model in models:
                run.cell(model, [int(digit) for digit in digits.get(task, RIGHT)[model]] * TIMES, task=task)
        return run.directory

    return fill


@pytest.fixture
def asked(filled, plugins):
    """The report on such a run."""
    return lambda models=RIGHT, baseline="", form=".json": claims(
        ReportRequest(runs=(filled(models),), plugins=plugins, form=form), baseline=baseline
    )


def scope_of(directory, tokens):
    """The families of a run, with a setting for each method that is named with its tokens."""
    found = find(collect([directory]), Named())
    known = {}
    for family in found.families:
        for line in family.lines:
            method = line.label.partition("+")[2]
            if method in tokens:
                known.setdefault(Setting(method.split("(")[0], "", tokens[method]), {})[family.whole] = [line]
    return Scope.of(found.families, known)


def test_claims_are_tried_in_each_family_and_together_with_the_seeds_of_a_method_as_one(asked):
    rows = json.loads(asked())
    found = {(row["claim"], row["on"], row["other"]): (row["difference"], row["verdict"]) for row in rows}
    random, below, inverted, *_, smaller, _ = (claim.text for claim in CLAIMS)
    others = {"divprune": 0.9, "fastv": 0.3, "prumerge": 0.2, "fitprune": 0.6}
    assert {key[2] for key in found if key[:2] == (random, "whole")} == set(others)
    for other, share in others.items():
        assert found[random, "whole", other] == (pytest.approx(0.65 - share), "holds"), other
        assert found[smaller, "whole", other] == (pytest.approx(0.8 - share), "holds"), other
        assert found[random, "together", other] == (pytest.approx(0.65 - share), "holds"), other
    assert found[random, "other", "hired"] == (pytest.approx(0.1 / 0.5 - 0.4 / 0.5), "does not hold")
    assert found[random, "together", "hired"][0] == pytest.approx(0.1 / 0.5 - 0.4 / 0.5)
    assert found[below, "together", "random-tokens"] == (pytest.approx(0.6 - 0.65), "holds")
    assert found[inverted, "whole", "random-tokens"] == (pytest.approx(0.1 - 0.65), "holds")


def test_a_method_that_two_families_have_is_compared_over_both(filled):
    right = {"m": "1111111111", "m+a": "1111111100", "m+b": "1111000000"}
    right |= {"n": "1111100000", "n+a": "1111000000", "n+b": "1100000000"}
    scope = scope_of(filled(right, toy=right), {"a": 8, "b": 8})
    (one, other) = everywhere(scope)[:2]
    assert {one.one.method, other.one.method} == {"a", "b"}
    lost = next(trial for trial in (one, other) if trial.one.method == "b")
    assert lost.difference == pytest.approx(-0.4)  # the clearest of both: on n it is 0.4 - 0.8, on m 0.4 - 0.8
    assert lost.place.startswith("toy, ")


def test_the_page_says_what_was_not_tried(asked):
    text = asked(["whole", "whole+random-tokens(seed=0)", "whole+divprune"], form=".md")
    assert "| random tokens beat most methods | UniPruneBench | does not hold | 1 | 0 | 1 |" in text
    assert "- not tried, for lack of models: smaller images beat most methods" in text
    assert "| whole | random-tokens | – | divprune |" in text


def test_it_needs_a_whole_model(asked):
    with pytest.raises(UserError, match="there is no model hole"):
        asked(["whole", "whole+divprune"], baseline="hole")


def test_a_whole_model_that_the_run_lacks_is_one_line(asked):
    with pytest.raises(
        UserError, match=r"nothing can be held against whole \(whole\+divprune: the whole model, whole, is"
    ):
        asked(["whole+divprune"])


TOKENS = {"a(keep=8)": 8, "a(keep=4)": 4, "b(keep=8)": 8, "b(keep=4)": 4}


@pytest.mark.parametrize(
    ("right", "verdict", "difference"),
    [
        (("1111111110", "1110000000", "1111111100", "1100000000"), "holds", 0.5),  # 4 tokens less cost more than b
        (("1111111110", "1111111100", "1110000000", "1100000000"), "does not hold", -0.5),
        (("1111111110", "1111111100", "1111111100", "1111111110"), "undecided", 0.0),
    ],
)
def test_the_ratio_matters_more_where_each_method_with_more_tokens_beats_the_other(filled, right, verdict, difference):
    models = dict(zip((f"m+{name}" for name in TOKENS), right, strict=True)) | {"m": "1111111111"}
    trials = by_ratio(scope_of(filled(models, toy=models), TOKENS))
    claim = next(claim for claim in CLAIMS if claim.tried is by_ratio)
    assert [trial.difference for trial in trials] == [pytest.approx(difference)]
    assert judged(claim, trials).verdict == verdict


def test_methods_meet_at_the_number_of_tokens_that_is_nearest_for_both(filled):
    models = {f"m+{name}": "1111100000" for name in TOKENS} | {"m": "1111111111", "m+c": "1111111100"}
    scope = scope_of(filled(models, toy=models), TOKENS | {"c": 7})
    for one, others in (("a", ["b", "c"]), ("c", ["a", "b"])):
        met = [(trial.one.tokens, trial.other.method, trial.other.tokens) for trial in beside(scope, one, others)]
        expected = [(8, "b", 8), (4, "b", 4), (8, "c", 7)] if one == "a" else [(7, "a", 8), (7, "b", 8)]
        assert sorted(met) == sorted(expected)


def test_methods_far_apart_in_tokens_are_not_compared(filled):
    models = {"m": "1111111111", "m+a": "1111100000", "m+b": "1111111100", "m+c": "1111111100"}
    scope = scope_of(filled(models, toy=models), {"a": 16, "b": 24, "c": 64})
    assert [trial.other.method for trial in beside(scope, "a", ["b", "c"])] == ["b"]


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("1111111110", "1111100000", "holds"),  # B is the first five: alike there, and apart on A, the other five
        ("1111111111", "1000011111", "does not hold"),
        ("1111111111", "1111111111", "undecided"),
    ],
)
def test_methods_are_farther_apart_on_group_a_where_they_differ_there_alone(filled, a, b, verdict):
    models = {"m": "1111111111", "m+smaller-images": "1111100000", "m+a": a, "m+b": b}
    trials = by_groups(scope_of(filled(models, toy=models), {"a": 8, "b": 8, "smaller-images": 64}))
    claim = next(claim for claim in CLAIMS if claim.tried is by_groups)
    assert len(trials) == 1
    assert judged(claim, trials).verdict == verdict


@pytest.mark.parametrize(
    ("toy", "riddles", "verdict"),
    [
        (("1111111100", "1111000000"), ("1111000000", "1111111100"), "holds"),
        (("1111111100", "1111000000"), ("1111111100", "1111000000"), "does not hold"),
        (("1111111100", "1111000000"), ("1111111100", "1111111100"), "undecided"),
    ],
)
def test_no_method_wins_everywhere_if_each_is_beaten_somewhere(filled, toy, riddles, verdict):
    tasks = {name: {"m": "1" * 10, "m+a": a, "m+b": b} for name, (a, b) in (("toy", toy), ("riddles", riddles))}
    trials = everywhere(scope_of(filled(tasks["toy"], **tasks), {"a": 8, "b": 8}))
    claim = next(claim for claim in CLAIMS if claim.tried is everywhere)
    assert judged(claim, trials).verdict == verdict


@pytest.mark.parametrize("tried", [everywhere, by_groups])
def test_options_of_one_method_are_not_held_against_each_other(filled, tried):
    models = {"m": "1" * 10, "m+smaller-images": "1111100000", "m+b": "1110000000"}
    models |= {"m+a(x=1)": "1111111110", "m+a(x=2)": "1111111000"}
    found = find(collect([filled(models, toy=models)]), Named())
    trials = tried(Scope.of(found.families, settings(found)))
    assert {frozenset((trial.one.name, trial.other.name)) for trial in trials} == {
        frozenset(("a(x=1)", "b")),
        frozenset(("a(x=2)", "b")),
    }


@given(st.lists(st.tuples(st.sampled_from([-0.1, 0.1]), st.sampled_from([0.01, 0.5])), min_size=1, max_size=9))
def test_a_claim_and_its_opposite_never_both_hold(pairs):
    a, b = Setting("a", "", 8), Setting("b", "", 8)
    trials = [Trial(a, b, "", difference, p) for difference, p in pairs]
    above, below = (next(claim for claim in CLAIMS if claim.most and claim.above is way) for way in (True, False))
    opposite = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    verdict = judged(above, trials).verdict
    assert judged(below, trials).verdict == opposite[verdict]
    assert verdict == "undecided" or 2 * sum(p < 0.05 for _, p in pairs) > len(pairs)
