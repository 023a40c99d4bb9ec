"""Measures of token reduction: values worked by hand, and what must hold of any numbers."""

import functools
import itertools
import math

import numpy as np
import pytest
from adaptbench.harness.results import Estimate
from adaptbench.harness.stats import drawn_weights, mcnemar_p
from adaptbench.leaderboards.reduction.evenness import evenness
from adaptbench.leaderboards.reduction.lines import mean_over_tasks
from adaptbench.leaderboards.reduction.measures import (
    corrected_retention,
    flips,
    groups_a_b,
    information,
    overall_generalisation,
    overall_performance,
    plain,
    right,
)
from adaptbench.leaderboards.reduction.ranks import Scored, alike, ranked, stacked
from hypothesis import given
from hypothesis import strategies as st

RATIOS = st.lists(st.floats(0.01, 1.5), min_size=1, max_size=12)
# Ten questions, twenty times: what the whole model, a blind one, a down-sampled one and a pruned one have right.
FULL, BLIND, SMALL, PRUNED = (
    np.array([int(digit) for digit in digits] * 20, dtype=float)
    for digits in ("1111111100", "1100000000", "1111000110", "1111110010")
)


def test_op_rewards_uneven_results():  # both have the mean 0.84
    uneven, even = [1, 1, 1, 1, 0.2], [0.84] * 5
    assert overall_performance(uneven) == pytest.approx(math.sqrt(4.04 / 5))
    assert round(overall_performance(uneven), 3) == 0.899
    assert overall_performance(even) == pytest.approx(0.84)
    assert overall_generalisation(even) == pytest.approx(0)
    assert overall_generalisation(uneven) == pytest.approx(0.32 / 0.84)


@given(RATIOS)
def test_op_is_the_mean_and_the_spread_together(ratios):
    mean, op, og = sum(ratios) / len(ratios), overall_performance(ratios), overall_generalisation(ratios)
    assert op >= mean * (1 - 1e-12)
    assert op**2 == pytest.approx(mean**2 * (1 + og**2))
    assert overall_generalisation([3 * ratio for ratio in ratios]) == pytest.approx(og, abs=1e-9)


@functools.cache
def weights(samples, place):
    return np.array([*drawn_weights(samples, stream=place)])


def drawn(tasks):
    """Of tasks, each with its scores by whole model and by another, what their ratio is in each draw."""
    places = ((weights(len(whole), place), whole, own) for place, (whole, own) in enumerate(tasks))
    return [(drawn @ own) / (drawn @ whole) for drawn, whole, own in places]


@given(st.lists(st.tuples(st.integers(10, 40), st.integers(0, 40)), min_size=1, max_size=4))
def test_intervals_of_op_and_og_hold_what_was_observed(counts):
    tasks = [(np.arange(40.0) < whole, np.arange(40.0) < own) for whole, own in counts]
    ratios = [own.sum() / whole.sum() for whole, own in tasks]
    found, again = (evenness(ratios, drawn(tasks), 40 * len(tasks)) for _ in range(2))
    assert found == again
    assert found.performance.value == overall_performance(ratios)
    assert (found.generalisation is None) == (len(ratios) == 1)
    for one in filter(None, found):
        if one.low is not None:
            assert 0 <= one.low <= one.value <= one.high


def test_even_tasks_may_be_even_however_their_samples_vary():
    tasks = [(np.ones(60), np.array([1.0, 0, 1] * 20))] * 3
    even = evenness([2 / 3] * 3, drawn(tasks), 180)
    assert (even.generalisation.value, even.generalisation.low) == (
        pytest.approx(0, abs=1e-9),
        pytest.approx(0, abs=1e-9),
    )
    assert 0.05 < even.generalisation.high < 0.25  # each of three shares varies by 6 of 67 points
    assert even.performance.low == pytest.approx(2 / 3 - 0.07, abs=0.02)
    uneven = evenness(
        [1, 2 / 3, 0.1], drawn([(np.ones(60), np.ones(60)), tasks[0], (np.ones(60), np.arange(60) < 6)]), 180
    )
    assert uneven.generalisation.low > 0.4


def test_a_single_cluster_tells_no_interval():
    found = evenness([0.5, 0.7], [np.empty(0)] * 2, 2)
    assert found.performance.value == pytest.approx(overall_performance([0.5, 0.7]))
    assert (found.performance.low, found.generalisation.low) == (None, None)


def test_tasks_are_drawn_apart():
    one, other = (np.array([*drawn_weights(20, stream=stream)]) for stream in (0, 1))
    assert (one != other).any()
    assert (one == np.array([*drawn_weights(20)])).all()
    assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.1


def test_a_mean_over_tasks_is_known_better_than_each_of_them():
    one = Estimate(value=0.5, low=0.4, high=0.7, n=10, method="")
    found = mean_over_tasks([one] * 4)
    assert (found.value, found.low, found.high, found.n) == (0.5, pytest.approx(0.45), pytest.approx(0.6), 40)
    assert mean_over_tasks([one]) == one
    assert mean_over_tasks([one, one.model_copy(update={"low": None, "high": None})]).low is None


def test_retention_is_corrected_for_what_a_blind_model_scores():
    found = corrected_retention(FULL, PRUNED, BLIND)
    assert found.value == pytest.approx((0.7 - 0.2) / (0.8 - 0.2))
    assert found.low < found.value < found.high
    assert corrected_retention(FULL, PRUNED, 0.25).value == pytest.approx((0.7 - 0.25) / (0.8 - 0.25))


def test_the_whole_model_keeps_all_and_the_blind_one_nothing():
    assert corrected_retention(FULL, FULL, BLIND).value == 1
    assert corrected_retention(FULL, BLIND, BLIND).value == 0


def test_where_images_add_nothing_that_the_samples_show_nothing_is_corrected():
    assert corrected_retention(FULL, PRUNED, FULL) is None
    assert corrected_retention(np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 0, 0]), 0.25) is None


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=40, max_size=80), st.randoms(use_true_random=False))
def test_without_a_floor_the_corrected_retention_is_the_retention(scores, random):
    base = np.array([1.0] * 20 + scores)
    own = np.array([score if random.random() < 0.7 else 1 - score for score in base])
    assert corrected_retention(base, own, 0.0).value == pytest.approx(own.mean() / base.mean())


def test_information_is_what_images_add_to_the_blind_score():
    found = information(FULL, BLIND, shares=True)
    assert found.value == pytest.approx((0.8 - 0.2) / 0.2)
    assert found.low < found.value < found.high
    assert information(FULL, np.zeros(len(FULL)), shares=True) is None


def test_flips_are_counted_in_both_directions_and_tested():
    same = np.array([True] * 9 + [False]) & np.ones(10, dtype=bool)
    found = flips(right(FULL), right(PRUNED), np.tile(same, 20))
    assert found[:5] == (120, 40, 20, 0, 20)
    assert found.p == pytest.approx(float(mcnemar_p(20, 40)))
    assert flips(right(FULL), right(PRUNED), np.ones(200, dtype=bool))[3:5] == (20, 0)


def test_flips_of_questions_on_one_image_are_not_independent():
    loose = flips(right(FULL), right(PRUNED), np.ones(200, dtype=bool))
    # Forty images: what is lost of one is never gained of another, so the images decide, not the questions.
    tied = flips(right(FULL), right(PRUNED), np.ones(200, dtype=bool), [str(i // 5) for i in range(200)])
    assert (tied[:5], tied.p != loose.p) == (loose[:5], True)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_every_sample_is_one_flip_and_gains_explain_the_difference(samples):
    base, own, same = (np.array(column) for column in zip(*samples, strict=True))
    found = flips(base, own, same)
    assert sum(found[:5]) == len(samples)
    assert found.gained - found.lost == own.sum() - base.sum()
    assert flips(own, base, same)._replace(lost=found.lost, gained=found.gained) == found


def test_groups_a_and_b_leave_out_what_the_whole_model_gets_wrong():
    found = groups_a_b(*map(right, (FULL, SMALL, PRUNED)))
    assert (found.a.n, found.b.n) == (3 * 20, 5 * 20)
    assert (found.a.value, found.b.value) == (pytest.approx(2 / 3), pytest.approx(4 / 5))
    assert 0 < found.a.low < found.a.value < found.a.high < 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_on_a_the_whole_model_is_right_and_the_down_sampled_one_wrong(samples):
    base, small = (np.array(column) for column in zip(*samples, strict=True))
    whole, down = groups_a_b(base, small, base), groups_a_b(base, small, small)
    assert {group.value for group in (*whole, down.b) if group} <= {1.0}
    assert (down.a.value if down.a else 0) == 0
    assert sum(group.n for group in whole if group) == base.sum()


def test_a_graded_score_is_right_from_one_half_on():
    assert right(np.array([0.0, 0.3, 0.5, 0.6, 1.0])).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes.", "yes", True),
        ("  The\ncat ", "the cat", True),
        ("(B)", "b", True),
        ("-5", "5", False),
        ("5 %", "5", False),
        (["A", "no!"], ["a.", "No"], True),
        (["A", "B"], ["B", "A"], False),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", "a", True),
        ("", "...", True),
    ],
)
def test_words_are_compared_without_case_and_punctuation(one, other, same):
    assert (plain(one) == plain(other)) is same


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_equal_outputs_have_equal_words(output):
    assert plain(output) == plain(output)
    assert plain(f"{plain(str(output))}.") == plain(plain(str(output)))


# Ranks


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 3000), max_size=12))
def test_models_of_a_group_read_nearly_as_many_tokens(tokens):
    parted = alike(tokens)
    assert sorted(name for group in parted for name in group) == sorted(tokens)
    for group in parted:
        assert max(tokens[name] for name in group) <= 1.05 * min(tokens[name] for name in group)
    firsts = [min(tokens[name] for name in group) for group in parted]
    assert all(later > 1.05 * first for first, later in itertools.pairwise(firsts))


def test_what_several_families_answered_is_one_cluster():
    scores = {"a": np.ones(2), "b": np.zeros(2)}
    apart = stacked([Scored("t", scores, 1.0, ["x", "y"]), Scored("u", scores, 1.0, ["x", "y"])])
    joint = stacked([Scored("t", scores, 1.0, ["x", "y"])] * 2)
    assert apart.groups is None
    assert len(set(joint.groups)) == 2


def test_192_tokens_that_enter_are_not_192_on_average():
    tokens = {"visionzip": 192, "divprune": 192, "dart": 220, "fastv": 216, "sparsevlm": 206}
    assert alike(tokens) == [["divprune", "visionzip"], ["sparsevlm", "fastv"], ["dart"]]


def test_ranks_are_by_the_mean_of_shares_not_of_scores():
    # Task one: the whole model has 0.2, the first has all of it, the second half. Task two: 0.9 of 1 and all of it.
    low = {"a": np.array([1.0, 0, 0, 0, 0] * 40), "b": np.array([1.0, 0, 0, 0, 0] * 20 + [0.0] * 100)}
    high = {"a": np.array([1.0] * 9 + [0.0]), "b": np.ones(10)}
    names = [[str(i) for i in range(n)] for n in (200, 10)]
    tiers = ranked([Scored("low", low, 0.2, names[0]), Scored("high", high, 1.0, names[1])])
    assert (tiers["a"].best, tiers["b"].worst) == (1, 2)
    lead = tiers["a"].below
    assert lead.other == "b"
    assert lead.difference == pytest.approx((1 + 0.9) / 2 - (0.5 + 1) / 2)
