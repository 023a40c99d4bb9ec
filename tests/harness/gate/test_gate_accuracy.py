"""The accuracy check errs as it says: its level, its power, and what it does with groups and other scores."""

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.gate.accuracy import AccuracyRule, loss, tango, tolerated
from adaptbench.harness.gate.power import chance_to_stop
from adaptbench.harness.gate.selftest import prove_accuracy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

RULE = AccuracyRule()


def scores(n, lost, gained):
    base = np.array([1.0] * lost + [0.0] * gained + [1.0] * (n - lost - gained))
    head = np.array([0.0] * lost + [1.0] * gained + [1.0] * (n - lost - gained))
    return base, head


def test_what_changes_no_score_passes_however_few_samples():
    found = loss(*scores(5, 0, 0), RULE)
    assert found.same
    assert found.passes(RULE)
    assert not found.proven(RULE)


@pytest.mark.parametrize(
    ("n", "lost", "gained", "passes", "proven"),
    [
        (1000, 5, 5, True, False),  # answers differ, and nothing is lost
        (1000, 12, 0, True, True),  # a loss, of less than the margin
        (1000, 13, 0, False, True),
        (1000, 60, 10, False, True),
        (60, 1, 0, False, False),  # one of 60 says nothing about 2 %
        (60, 0, 3, True, False),
    ],
)
def test_counts_decide(n, lost, gained, passes, proven):
    found = loss(*scores(n, lost, gained), RULE)
    assert (found.lost, found.gained, found.n) == (lost, gained, n)
    assert (found.passes(RULE), found.proven(RULE)) == (passes, proven)


def test_without_a_loss_it_is_mcnemars_test():
    assert tango(9, 3, 100, 0.0) == pytest.approx((9 - 3) / np.sqrt(9 + 3))


@given(st.integers(20, 400), st.integers(0, 20), st.integers(0, 20), st.floats(0.005, 0.3))
@settings(max_examples=40, deadline=None)
def test_the_share_that_it_supposes_is_the_most_likely_one(n, lost, gained, margin):
    lost, gained = min(lost, n // 2), min(gained, n // 2)
    rest = n - lost - gained

    def unlikely(q):
        parts = ((lost, q + margin), (gained, q), (rest, 1 - 2 * q - margin))
        return -sum(count * np.log(max(share, 1e-300)) for count, share in parts if count)

    best = minimize_scalar(unlikely, bounds=(0, (1 - margin) / 2), method="bounded", options={"xatol": 1e-10}).x
    expected = (lost - gained - n * margin) / np.sqrt(n * (2 * best + margin * (1 - margin)))
    assert tango(lost, gained, n, margin) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n", [200, 500, 1000])
@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.0), (0.03, 0.01)])
def test_a_loss_of_the_margin_passes_one_time_in_twenty_at_most(n, lost, gained):
    assert chance_to_stop(n, lost, gained, RULE) >= 0.94


def test_a_loss_is_stopped_as_often_as_computed():
    assert [proof for proof in prove_accuracy(RULE, draws=100) if not proof.holds] == []


def test_what_is_tolerated_passes_and_one_more_does_not():
    for n in (100, 500, 1000):
        most = tolerated(n, RULE)
        assert loss(*scores(n, most, 0), RULE).passes(RULE)
        assert not loss(*scores(n, most + 1, 0), RULE).passes(RULE)


def test_groups_that_fall_together_count_as_few():
    base, head = scores(1000, 10, 0)
    apart = loss(base, head, RULE, [str(i) for i in range(1000)])
    together = loss(base, head, RULE, [str(i // 10) for i in range(1000)])
    assert apart.p_within < 0.01 < together.p_within
    assert together.p_within == pytest.approx(0.16, abs=0.02)  # 1 of 100 groups: t = -1 with 99 degrees of freedom


def test_other_scores_are_compared_by_a_t_test():
    from scipy.stats import ttest_1samp

    generator = np.random.default_rng(0)
    base = generator.random(60)
    head = base - generator.normal(0.03, 0.05, 60)
    found = loss(base, head, AccuracyRule(margin=0.05))
    assert found.p_within == pytest.approx(ttest_1samp(base - head, 0.05, alternative="less").pvalue)
    assert found.p_none == pytest.approx(ttest_1samp(base - head, 0, alternative="greater").pvalue)


@pytest.mark.parametrize(("margin", "passes"), [(0.2, True), (0.05, False)])
def test_a_loss_that_is_the_same_everywhere_needs_no_test(margin, passes):
    assert loss(np.full(9, 0.6), np.full(9, 0.5), AccuracyRule(margin)).passes(AccuracyRule(margin)) is passes


def test_one_sample_that_differs_rules_nothing_out():
    assert not loss(np.array([0.5]), np.array([0.4]), RULE).passes(RULE)


def test_only_the_same_samples_are_compared():
    with pytest.raises(ValueError, match="same samples"):
        loss(np.zeros(3), np.zeros(4), RULE)


@pytest.mark.parametrize("margin", [0, -0.1, 1, 2])
def test_a_margin_is_a_share(margin):
    with pytest.raises(UserError, match="--margin"):
        AccuracyRule(margin)
