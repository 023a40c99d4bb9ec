"""What answers spend: exact comparisons with a budget, totals over records, and predicted times."""

from fractions import Fraction

import numpy as np
import pytest
from adaptbench import Record
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.prefill_cost import LanguageFlops, PrefillCost, Units
from adaptbench.harness.spending import (
    beyond,
    exact,
    language_model,
    of_full,
    predicted_prefill,
    share,
    spending,
    units,
    visual_tokens,
)
from adaptbench.harness.stats import mean_interval
from adaptbench.harness.transformer import Architecture, Language, Linear, Stack
from hypothesis import given
from hypothesis import strategies as st

STACK = Stack(layers=4, hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=48, gated=True, rotary=True)
LANGUAGE = Language(STACK, (Linear("lm_head", 32, 60),), causal=True)
BUDGETS = st.integers(1, 100).map(lambda hundredths: hundredths / 100)


def switched(ran, of=32, **fields):
    return PrefillCost(units=Units(ran, of), **fields)


def flops(spent, full=1000, base=2000, **fields):
    return PrefillCost(language=LanguageFlops(spent, full, base), **fields)


def record(name, *costs, group=None):
    return Record(name, "", "yes", costs=costs, group=group)


# One sample


@given(BUDGETS, st.integers(1, 400), st.data())
def test_an_answer_is_beyond_its_budget_exactly_if_it_ran_more(budget, total, data):
    ran = data.draw(st.integers(0, total))
    assert beyond(record("a", switched(ran, total)), budget, units) == (100 * ran > round(100 * budget) * total)


def test_a_budget_is_the_decimal_that_it_is_written_as():
    assert beyond(record("a", switched(29, 100)), 0.29, units) == 0  # 0.29 * 100 is less than 29 in floating point
    assert 0.29 * 100 < 29
    assert exact(1e-05) == Fraction(1, 100_000)


def test_flops_are_compared_to_the_last_one():
    whole = 10**15 + 1
    assert beyond(record("a", flops(whole, whole), flops(whole + 1, whole)), 1.0, of_full) == 1
    assert beyond(record("a", flops(85 * 10**13, 10**15), flops(85 * 10**13 + 1, 10**15)), 0.85, of_full) == 1


def test_one_answer_beyond_the_budget_shows_though_another_is_far_below():
    both = record("a", switched(9, 10), switched(5, 10))
    assert beyond(both, 0.8, units) == 1
    assert share(both, units) == Fraction(14, 20)


def test_shares_have_two_references():
    told = record("a", flops(300, 400, 1000), flops(300, 800, 1000), PrefillCost())
    assert (share(told, of_full), spending([told], 0.5).of_base) == (Fraction(1, 2), 0.3)
    assert share(told, units) is share(record("a"), of_full) is None
    assert beyond(told, 0.5, units) == 0


# A cell


@pytest.mark.parametrize(
    ("budget", "ran", "success", "per_cent"),
    [(0.95, 30, 1, 98.7), (0.85, 27, 1, 99.3), (0.75, 24, 1, 100.0), (0.65, 20, 1, 96.2), (0.85, 28, 0, 102.9)],
)
def test_success_and_utilisation_are_arithmetic(budget, ran, success, per_cent):
    """Of 32 blocks, as in Table 5.5, whose utilisations are 98.7, 99.2, 100.0 and 96.5 %."""
    cell = spending([record(f"q{i}", switched(ran)) for i in range(40)], budget)
    account = cell.units
    assert account.success.value == success
    assert account.of_full.value == ran / 32
    assert account.utilisation.value == pytest.approx(ran / 32 / budget, rel=1e-12)
    assert round(100 * account.utilisation.value, 1) == per_cent
    assert account.utilisation.low == account.utilisation.high == account.utilisation.value
    assert cell.flops is cell.of_base is None


def test_success_counts_answers_and_its_interval_the_groups():
    records = [
        record("a", switched(9, 10), switched(5, 10), group="one"),
        record("b", switched(8, 10), group="one"),
        record("c", switched(10, 10), group="two"),
    ]
    success = spending(records, 0.8, noun="question").units.success
    assert success.value == 2 / 4
    assert (success.n, success.method) == (3, "95 % Wilson interval over 3 questions in 2 groups")
    p, n, z = 0.5, 2, 1.959963984540054
    for end in (success.low, success.high):  # the roots of Wilson's equation
        assert (end - p) ** 2 == pytest.approx(z**2 * end * (1 - end) / n)
    assert success.low < 0.5 < success.high


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_interval_of_success_is_inside_0_to_1_and_open_where_none_failed(hits, more):
    records = [record(f"q{i}", switched(8 if i < hits else 10, 10)) for i in range(hits + more)]
    success = spending(records, 0.8).units.success
    assert 0 <= success.low <= success.value <= success.high <= 1
    assert success.high - success.low > 0


def test_shares_have_the_interval_of_any_metric():
    shares = [0.2, 0.3, 0.5, 0.9]
    records = [record(f"q{i}", flops(round(1000 * s)), group=f"g{i // 2}") for i, s in enumerate(shares)]
    cell = spending(records, 0.5, noun="question")
    groups = ["group g0", "group g0", "group g1", "group g1"]
    wide = mean_interval(np.array(shares), groups, noun="question")
    assert wide.low < 0 < 1 < wide.high
    assert cell.flops.of_full == wide.model_copy(update={"low": 0, "high": 1})
    assert cell.of_base == 1900 / 8000
    wide = mean_interval(np.array([0.4, 0.6, 1.0, 1.8]), groups, noun="question")
    assert cell.flops.utilisation == wide.model_copy(update={"low": 0, "high": 2})


def test_shares_that_agree_have_a_narrow_interval():
    records = [record(f"q{i}", flops(round(1000 * share))) for i, share in enumerate((0.41, 0.42, 0.43))]
    shares = mean_interval(np.array([0.41, 0.42, 0.43]), noun="question")
    assert spending(records, 0.5, noun="question").flops.of_full == shares


def test_flops_tokens_blocks_and_heads_have_least_mean_and_most_of_an_answer():
    many = Execution((LayerWork(0, 9, 4), LayerWork(1, 9, 4), LayerWork(3, 9, 2, Fraction(1, 2))))
    one = Execution((LayerWork(0, 7, 4),))
    records = [
        record("a", flops(9, visual_tokens=8, ran=many), flops(2, visual_tokens=8, ran=one)),
        record("b", flops(1, visual_tokens=2, ran=one)),
    ]
    cell = spending(records, 1.0)
    assert (cell.language_flops.least, cell.language_flops.mean, cell.language_flops.most) == (1, 4, 9)
    assert (cell.visual_tokens.least, cell.visual_tokens.mean, cell.visual_tokens.most) == (2, 6, 8)
    assert (cell.blocks.least, cell.blocks.mean, cell.blocks.most) == (1, 5 / 3, 3)
    assert (cell.heads.least, cell.heads.mean, cell.heads.most) == (4, 6, 10)


def test_an_answer_that_does_not_tell_what_ran_ran_the_whole_language_model():
    cell = spending([record("a", flops(1000, text_tokens=9))], 1.0, LANGUAGE)
    assert (cell.blocks.least, cell.heads.most) == (4, 16)
    assert spending([record("a", flops(1000))], 1.0).blocks is None


def test_samples_that_were_not_answered_do_not_count():
    bad = Record("bad", "", None, fault="cut off")
    assert spending([record("a", switched(8, 10)), bad], 0.8).units.success.n == 1
    assert spending([bad], 0.8) is None
    assert spending([record("a", PrefillCost(flops=7))], 1.0) is None


# The language model, and predictions


def test_a_language_model_is_its_architectures():
    class Model:
        architecture = read_architecture(
            {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
             "intermediate_size": 48, "vocab_size": 60}
        )  # fmt: skip

    assert language_model(Model()) == LANGUAGE
    assert language_model(object()) is None
    Model.architecture = "llama"
    assert language_model(Model()) is None
    Model.architecture = Architecture("vit")
    assert language_model(Model()) is None


@pytest.mark.parametrize(("budget", "blocks"), [(0.6, 19), (1.0, 32)])
def test_a_predicted_prefill_is_the_cost_engines(budget, blocks):
    registry, v100 = load_plugins().registry, find_accelerator("V100")
    costing = Costing(registry, "llava-1.5-7b+adallava-l(latency_token=false)")
    question = CostRequest(text_tokens=69, visual_tokens=576, accelerators=(v100,))
    predicted = costing.cost(question, budget).predicted["V100"]["prefill"]

    class Model:
        architecture = costing.architecture

    ran = Execution(tuple(LayerWork(block, 645, 32) for block in range(blocks)))
    time = predicted_prefill([record("a", flops(1, ran=ran))], language_model(Model()), v100)
    assert time == pytest.approx(predicted, rel=1e-12)


def test_predictions_are_of_what_ran_for_each_answer():
    chip = find_accelerator("V100")
    whole = flops(1, ran=Execution.full(STACK, 12))
    part = flops(1, ran=Execution((LayerWork(0, 12, 4), LayerWork(2, 5, 2, Fraction(17, 48)))))
    one, two, both = (
        predicted_prefill([record("a", *costs)], LANGUAGE, chip) for costs in ([whole], [part], [whole, part])
    )
    assert both == pytest.approx((one + two) / 2)
    assert two < one
    assert predicted_prefill([record("a", flops(1, text_tokens=4, visual_tokens=8))], LANGUAGE, chip) == one
    assert predicted_prefill([Record("bad", "", None, fault="cut off")], LANGUAGE, chip) is None


# Visual tokens


def dropped(k, kept, given=576, layers=32, text=40, added=0):
    """An answer's cost whose decoder reads ``kept`` of ``given`` visual tokens from block k on."""
    tokens = [text + added + (given if layer < k else kept) for layer in range(layers)]
    ran = Execution(tuple(LayerWork(layer, count, 4) for layer, count in enumerate(tokens)))
    return PrefillCost(text_tokens=text, visual_tokens=given, ran=ran)


@pytest.mark.parametrize(("kept", "average"), [(192, 216), (128, 156), (64, 96), (166, 191.625), (98, 127.875)])
def test_visual_tokens_are_averaged_over_blocks(kept, average):
    language = Language(Stack(32, 32, 4, 4, 8, 48, gated=True, rotary=True), (), causal=True)
    assert visual_tokens([record("a", dropped(2, kept))], language) == (576, average, kept)


def test_a_block_that_does_not_run_reads_no_visual_token():
    ran = Execution((LayerWork(0, 14, 4), LayerWork(2, 14, 4)))
    cost = PrefillCost(text_tokens=4, visual_tokens=10, ran=ran)
    assert visual_tokens([record("a", cost)], LANGUAGE) == (10, 5, 0)


def test_where_all_of_the_model_runs_every_block_reads_all_visual_tokens():
    whole, half = (PrefillCost(text_tokens=9, visual_tokens=count) for count in (64, 32))
    assert visual_tokens([record("a", whole), record("b", half, half)], LANGUAGE) == (128 / 3,) * 3
    assert visual_tokens([record("a", whole)], None) == (64, 64, 64)


def test_tokens_that_methods_add_are_not_visual():
    language = Language(Stack(32, 32, 4, 4, 8, 48, gated=True, rotary=True), (), causal=True)
    assert visual_tokens([record("a", dropped(0, 576, added=1))], language) == (576, 576, 576)


def test_without_what_is_needed_visual_tokens_are_not_known():
    assert visual_tokens([record("a")], LANGUAGE) is None
    assert visual_tokens([record("a", dropped(2, 64))], None) is None
