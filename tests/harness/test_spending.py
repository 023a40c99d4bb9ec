"""What answers spend: exact comparisons with a budget, totals over records, and predicted times."""

import math
from fractions import Fraction

import numpy as np
import pytest
from adaptbench import Record
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.measure.architecture import Architecture, Language, Linear, Stack, read_architecture
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.results import LanguageShape
from adaptbench.harness.spending import exact, language_shape, predicted_prefill, spending, spent
from adaptbench.harness.stats import mean_interval
from hypothesis import given
from hypothesis import strategies as st

SHAPE = LanguageShape(
    layers=4, hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=48, gated=True, rotary=True, vocabulary=60
)
BUDGETS = st.integers(1, 100).map(lambda hundredths: hundredths / 100)


def units(ran, of=32):
    return {"units": ran, "all_units": of}


def flops(ran, of=1000):
    return {"language_flops": ran, "whole_language_flops": of}


def record(name, costs, budget, plan=None, group=None):
    return Record(name, "", "yes", cost=spent(costs, budget), group=group, plan=plan)


# One sample


@given(BUDGETS, st.integers(1, 400), st.data())
def test_an_answer_is_beyond_its_budget_exactly_if_it_ran_more(budget, total, data):
    ran = data.draw(st.integers(0, total))
    cost = spent([units(ran, total)], budget)
    assert cost["over_units"] == (100 * ran > round(100 * budget) * total)


def test_a_budget_is_the_decimal_that_it_is_written_as():
    assert spent([units(29, 100)], 0.29)["over_units"] == 0  # 0.29 * 100 is less than 29 in floating point
    assert 0.29 * 100 < 29
    assert exact(1e-05) == Fraction(1, 100_000)


def test_flops_are_compared_to_the_last_one():
    whole = 10**15 + 1
    assert spent([flops(whole, whole)], 1.0)["over_flops"] == 0
    assert spent([flops(whole + 1, whole)], 1.0)["over_flops"] == 1
    assert spent([flops(85 * 10**13, 10**15)], 0.85)["over_flops"] == 0
    assert spent([flops(85 * 10**13 + 1, 10**15)], 0.85)["over_flops"] == 1


def test_one_answer_beyond_the_budget_shows_though_another_is_far_below():
    cost = spent([units(9, 10) | {"visual_tokens": 3}, units(5, 10) | {"visual_tokens": 4}], 0.8)
    assert cost == {
        "units": 14, "all_units": 20, "visual_tokens": 7, "over_units": 1, "answers": 2,
    }  # fmt: skip


def test_costs_without_an_accounting_are_only_added_up():
    assert spent([{"flops": 3}, {"flops": 4, "visual_tokens": 1}], 0.5) == {"flops": 7, "visual_tokens": 1}
    assert spent([], 0.5) == {}


# A cell


@pytest.mark.parametrize(
    ("budget", "ran", "success", "per_cent"),
    [(0.95, 30, 1, 98.7), (0.85, 27, 1, 99.3), (0.75, 24, 1, 100.0), (0.65, 20, 1, 96.2), (0.85, 28, 0, 102.9)],
)
def test_success_and_utilisation_are_arithmetic(budget, ran, success, per_cent):
    """Of 32 blocks, as in Table 5.5, whose utilisations are 98.7, 99.2, 100.0 and 96.5 %."""
    cell = spending([record(f"q{i}", [units(ran)], budget) for i in range(40)], budget)
    account = cell.accounts["units"]
    assert account.success.value == success
    assert account.share.value == ran / 32
    assert account.utilisation.value == pytest.approx(ran / 32 / budget, rel=1e-12)
    assert round(100 * account.utilisation.value, 1) == per_cent
    assert account.utilisation.low == account.utilisation.high == account.utilisation.value
    assert set(cell.accounts) == {"units"}


def test_success_counts_answers_and_its_interval_the_groups():
    records = [
        record("a", [units(9, 10), units(5, 10)], 0.8, group="one"),
        record("b", [units(8, 10)], 0.8, group="one"),
        record("c", [units(10, 10)], 0.8, group="two"),
    ]
    success = spending(records, 0.8, noun="question").accounts["units"].success
    assert success.value == 2 / 4
    assert (success.n, success.method) == (3, "95 % Wilson interval over 3 questions in 2 groups")
    p, n, z = 0.5, 2, 1.959963984540054
    for end in (success.low, success.high):  # the roots of Wilson's equation
        assert (end - p) ** 2 == pytest.approx(z**2 * end * (1 - end) / n)
    assert success.low < 0.5 < success.high


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_interval_of_success_is_inside_0_to_1_and_open_where_none_failed(hits, more):
    records = [record(f"q{i}", [units(8 if i < hits else 10, 10)], 0.8) for i in range(hits + more)]
    success = spending(records, 0.8).accounts["units"].success
    assert 0 <= success.low <= success.value <= success.high <= 1
    assert success.high - success.low > 0


def test_shares_have_the_interval_of_any_metric():
    shares = [0.2, 0.3, 0.5, 0.9]
    records = [record(f"q{i}", [flops(round(1000 * s))], 0.5, group=f"g{i // 2}") for i, s in enumerate(shares)]
    account = spending(records, 0.5, noun="question").accounts["flops"]
    groups = ["group g0", "group g0", "group g1", "group g1"]
    assert account.share == mean_interval(np.array(shares), groups, noun="question")
    assert account.utilisation == mean_interval(np.array([0.4, 0.6, 1.0, 1.8]), groups, noun="question")


def test_tokens_blocks_and_heads_have_least_mean_and_most_of_an_answer():
    plans = [[[0, 9, 4, 1.0], [1, 9, 4, 1.0], [3, 9, 2, 0.5]], [[0, 7, 4, 1.0]]]
    records = [
        record("a", [flops(1) | {"visual_tokens": 8}, flops(1) | {"visual_tokens": 8}], 1.0, plans),
        record("b", [flops(1) | {"visual_tokens": 2}], 1.0, [plans[1]]),
    ]
    cell = spending(records, 1.0)
    assert (cell.visual_tokens.least, cell.visual_tokens.mean, cell.visual_tokens.most) == (2, 6, 8)
    assert (cell.blocks.least, cell.blocks.mean, cell.blocks.most) == (1, 5 / 3, 3)
    assert (cell.heads.least, cell.heads.mean, cell.heads.most) == (4, 6, 10)


def test_without_a_plan_the_whole_language_model_ran():
    cell = spending([record("a", [flops(1000)], 1.0)], 1.0, SHAPE)
    assert (cell.blocks.least, cell.heads.most) == (4, 16)
    assert spending([record("a", [flops(1000)], 1.0)], 1.0).blocks is None


def test_samples_that_were_not_answered_do_not_count():
    bad = Record("bad", "", None, fault="cut off")
    cell = spending([record("a", [units(8, 10)], 0.8), bad], 0.8)
    assert cell.accounts["units"].success.n == 1
    assert spending([bad], 0.8) is None
    assert spending([Record("a", "", "yes", cost={"flops": 7})], 1.0) is None


# The language model, and predictions


def test_the_shape_of_a_language_model_is_its_architectures():
    class Model:
        architecture = read_architecture(
            {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
             "intermediate_size": 48, "vocab_size": 60}
        )  # fmt: skip

    assert language_shape(Model()) == SHAPE
    assert language_shape(object()) is None
    Model.architecture = "llama"
    assert language_shape(Model()) is None
    stack = Stack(4, 32, 4, 4, 8, 48, gated=False, rotary=False)
    two = Language(stack, (Linear("dense", 32, 32), Linear("out", 32, 60)), causal=False)
    Model.architecture = Architecture("bert", language=two)
    assert language_shape(Model()) is None


@pytest.mark.parametrize(("budget", "blocks"), [(0.6, 19), (1.0, 32)])
def test_a_predicted_prefill_is_the_cost_engines(budget, blocks):
    registry, v100 = load_plugins().registry, find_accelerator("V100")
    costing = Costing(registry, "llava-1.5-7b+adallava-l(latency_token=false)")
    question = CostRequest(text_tokens=69, visual_tokens=576, accelerators=(v100,))
    predicted = costing.cost(question, budget).predicted["V100"]["prefill"]

    class Model:
        architecture = costing.architecture

    shape, plan = language_shape(Model()), [[block, 645, 32, 1.0] for block in range(blocks)]
    time = predicted_prefill([record("a", [flops(1)], budget, [plan])], shape, v100)
    assert time == pytest.approx(predicted, rel=1e-12)


def test_predictions_are_of_each_answers_own_plan():
    chip = find_accelerator("V100")
    whole = [[block, 12, 4, 1.0] for block in range(4)]
    part = [[0, 12, 4, 1.0], [2, 5, 2, 17 / 48]]
    one, two = (predicted_prefill([record("a", [flops(1)], 1.0, [plan])], SHAPE, chip) for plan in (whole, part))
    both = predicted_prefill([record("a", [flops(1)] * 2, 1.0, [whole, part])], SHAPE, chip)
    assert both == pytest.approx((one + two) / 2)
    assert two < one
    assert predicted_prefill([Record("bad", "", None, fault="cut off")], SHAPE, chip) is None


def test_without_a_plan_tokens_are_shared_out_among_the_answers():
    chip = find_accelerator("V100")
    costs = [flops(1) | {"text_tokens": 5, "visual_tokens": 8}, flops(1) | {"text_tokens": 6, "visual_tokens": 8}]
    plans = [[[block, tokens, 4, 1.0] for block in range(4)] for tokens in (14, 13)]
    told = predicted_prefill([record("a", costs, 1.0, plans)], SHAPE, chip)
    assert predicted_prefill([record("a", costs, 1.0)], SHAPE, chip) == pytest.approx(told)
    assert math.isfinite(told)
