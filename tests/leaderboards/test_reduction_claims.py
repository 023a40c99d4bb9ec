"""Which published claims about token reduction hold on the models of a run."""

import json

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import ReportRequest
from adaptbench.leaderboards.reduction.claims import CLAIMS, claims, verdict
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
    "whole+fastv+vtw": "0000000000",
    "other+hired": "0000000000",
}
TIMES = 20


@pytest.fixture
def asked(new_run, plugins):
    """The report on a run of these models, or of some of them."""

    def ask(models=RIGHT, baseline="whole", form=".json"):
        run = new_run("own")
        for model in models:
            run.cell(model, [int(digit) for digit in RIGHT[model]] * TIMES)
        request = ReportRequest(runs=(run.directory,), plugins=plugins, form=form)
        return claims(request, baseline=baseline)

    return ask


def test_claims_are_tried_pair_by_pair_with_the_seeds_of_a_method_taken_together(asked):
    rows = json.loads(asked())
    found = {(row["claim"], row["other"]): (row["difference"], row["verdict"]) for row in rows}
    random, smaller, below, inverted = (claim.text for claim in CLAIMS)
    others = {"divprune": 0.9, "fastv": 0.3, "prumerge": 0.2, "fitprune": 0.6}
    assert {key for key in found if key[0] == random} == {(random, other) for other in others}
    for other, share in others.items():
        assert found[random, other] == (pytest.approx(0.65 - share), "holds"), other
        assert found[smaller, other] == (pytest.approx(0.8 - share), "holds"), other
    assert found[below, "random-tokens"] == (pytest.approx(0.6 - 0.65), "holds")
    assert found[inverted, "random-tokens"] == (pytest.approx(0.1 - 0.65), "holds")


def test_the_page_says_what_was_not_tried(asked):
    text = asked(["whole", "whole+random-tokens(seed=0)", "whole+divprune"], form=".md")
    assert "| random tokens beat most methods | UniPruneBench | 1 | 0 | 1 | does not hold |" in text
    assert "- not tried, for lack of models: smaller images beat most methods" in text
    assert "| random-tokens | divprune |" in text


def test_it_needs_the_whole_model(asked):
    with pytest.raises(UserError, match="the whole model is not named"):
        asked(["whole", "whole+divprune"], baseline="")


@given(st.lists(st.tuples(st.sampled_from([-0.1, 0.1]), st.sampled_from([0.01, 0.5])), min_size=1, max_size=9))
def test_a_claim_and_its_opposite_never_both_hold(pairs):
    above, below = (next(claim for claim in CLAIMS if claim.above is way) for way in (True, False))
    opposite = {"holds": "does not hold", "does not hold": "holds", "undecided": "undecided"}
    assert verdict(below, pairs) == opposite[verdict(above, pairs)]
    clear = sum(p < 0.05 for _, p in pairs)
    assert verdict(above, pairs) == "undecided" or 2 * clear > len(pairs)
