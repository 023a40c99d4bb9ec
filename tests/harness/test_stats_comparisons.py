"""Shares, differences, McNemar's test, power and ranks of right and wrong answers: exact, or in seeded simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from adaptbench.harness.stats import (
    detectable_difference,
    detectable_mean_difference,
    difference_interval,
    drawn_differences,
    drawn_intervals,
    holm,
    mcnemar_p,
    mcnemar_power,
    mean_interval,
    paired_p,
    paired_ps,
    rank_tiers,
    ratio_interval,
    share_interval,
)
from hypothesis import given
from hypothesis import strategies as st

SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=12)
ALPHA = 0.05


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def right(hits, n):
    """Scores of n samples, the first ``hits`` of them right."""
    return (np.arange(n) < hits).astype(float)


def beyond(rate, trials):
    """A rate, plus three standard errors of its estimate."""
    return rate + 3 * np.sqrt(rate * (1 - rate) / trials)


class TestShareInterval:
    @pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (36, 72), (72, 72), (599, 600)])
    def test_of_right_and_wrong_answers_is_wilsons(self, hits, n):
        made = share_interval(right(hits, n), noun="question")
        expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert (made.low, made.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert made.method == f"95 % Wilson interval over {n} questions"

    @pytest.mark.parametrize("n", [20, 72, 300])
    @pytest.mark.parametrize(("p", "least"), [(0.02, 0.9), (0.5, 0.93), (0.9, 0.93), (0.98, 0.9), (1.0, 1.0)])
    def test_covers_the_truth_near_the_ends_too(self, n, p, least):
        made = [share_interval(right(hits, n)) for hits in range(n + 1)]
        chance = scipy.stats.binom.pmf(np.arange(n + 1), n, p)
        covered = sum(c for c, e in zip(chance, made, strict=True) if e.low <= p <= e.high)
        plain = [mean_interval(right(hits, n)) for hits in range(n + 1)]
        by_t = sum(c for c, e in zip(chance, plain, strict=True) if e.low <= p <= e.high)
        assert covered >= least  # Wilson's own, which oscillates about 95 %
        assert n > 100 or 0.1 < p < 0.95 or covered >= by_t - 1e-12

    def test_covers_95_percent_on_average(self):
        shares, covered = np.linspace(0.005, 0.995, 199), np.zeros(199)
        for hits in range(73):
            made = share_interval(right(hits, 72))
            covered += scipy.stats.binom.pmf(hits, 72, shares) * ((made.low <= shares) & (shares <= made.high))
        assert 0.94 < covered.mean() < 0.965

    @pytest.mark.parametrize("p", [0.5, 0.9, 0.97])
    def test_covers_the_truth_of_clustered_answers(self, p):
        rng, trials, clusters = generator(1), 500, 40
        sizes = rng.integers(1, 9, size=clusters)
        groups = [str(g) for g in np.repeat(np.arange(clusters), sizes)]
        mean = rng.beta(4 * p, 4 * (1 - p), size=(trials, clusters))  # questions on one image are alike
        values = (rng.random((trials, len(groups))) < np.repeat(mean, sizes, axis=1)).astype(float)
        covered = np.mean([e.low <= p <= e.high for e in (share_interval(row, groups) for row in values)])
        plain = np.mean([e.low <= p <= e.high for e in map(share_interval, values)])
        assert 0.92 < covered <= 1  # forty clusters of unequal size: a little too narrow is known
        assert plain < covered

    def test_of_shares_within_samples_is_next_to_the_t_interval(self):
        values = generator(2).binomial(15, 0.6, size=600) / 15
        wilson, t = share_interval(values), mean_interval(values)
        assert (wilson.low, wilson.high) == pytest.approx((t.low, t.high), abs=1e-4)

    @given(SHARES, st.booleans())
    def test_stays_within_bounds_about_the_mean_and_has_a_width(self, values, grouped):
        groups = [str(i // 2) for i in range(len(values))] if grouped else None
        made = share_interval(np.array(values), groups)
        if made.low is not None:
            assert 0 <= made.low <= made.value <= made.high <= 1
            assert made.low < made.high

    def test_needs_two_independent_values_and_shares(self):
        assert share_interval(np.array([1.0])).low is None
        assert share_interval(np.array([1.0, 0.0]), ["a", "a"]).high is None
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            share_interval(np.array([0.5, 1.2]))

    def test_a_derived_share_on_which_all_draws_agree_has_a_width(self):
        made = drawn_intervals(lambda weights: {"f1": 1.0, "loss": 1.0}, 72, shares={"f1"})
        assert (made["f1"].low, made["f1"].high) == pytest.approx((0.94935, 1.0), abs=1e-5)
        assert made["f1"].method == "95 % Wilson interval over 72 samples"
        assert (made["loss"].low, made["loss"].high) == (1.0, 1.0)


def f1(truth, said):
    """F1 of two arrays of 0 and 1, by the weights of the samples."""

    def aggregate(weights):
        hits, wrong = weights @ (truth * said), weights @ np.abs(truth - said)
        return {"F1": 2 * hits / (2 * hits + wrong)}

    return aggregate


class TestDrawnDifferences:
    def test_of_a_mean_is_about_the_paired_t_interval(self):
        a, b = generator(3).normal([[0.0], [0.1]], size=(2, 400))
        one, other = (lambda weights, x=x: {"mean": weights @ x / weights.sum()} for x in (a, b))
        made, p = drawn_differences(one, other, 400)["mean"]
        expected = difference_interval(a, b, shares=False)
        assert made.value == pytest.approx(expected.value)
        assert (made.low, made.high) == pytest.approx((expected.low, expected.high), abs=0.02)
        assert p == pytest.approx(paired_p(a, b), abs=0.04)
        assert made.method == "95 % paired bootstrap interval over 400 samples"

    def test_the_same_answers_do_not_differ(self):
        truth, said = generator(4).integers(0, 2, (2, 50)).astype(float)
        made, p = drawn_differences(f1(truth, said), f1(truth, said), 50)["F1"]
        assert (made.value, made.low, made.high, p) == (0, 0, 0, 1)

    def test_samples_of_a_group_are_drawn_together(self):
        truth = np.ones(60)
        better, worse = np.ones(60), np.repeat([0.0, 1.0], [6, 54])
        apart, p = drawn_differences(f1(truth, worse), f1(truth, better), 60)["F1"]
        together, grouped = drawn_differences(
            f1(truth, worse), f1(truth, better), 60, [str(i // 6) for i in range(60)]
        )["F1"]
        assert together.high - together.low > 1.5 * (apart.high - apart.low)
        assert p < 0.05 < grouped

    @pytest.mark.parametrize("broken", [lambda weights: {}, lambda weights: {"F1": np.nan}])
    def test_what_one_side_lacks_has_no_difference(self, broken):
        assert drawn_differences(broken, lambda weights: {"F1": 1.0}, 9) == {}

    def test_one_independent_sample_has_no_interval(self):
        made, p = drawn_differences(lambda w: {"x": 1.0}, lambda w: {"x": 3.0}, 2, ["a", "a"])["x"]
        assert (made.value, made.low, made.high, p) == (2, None, None, None)

    def test_equal_models_are_told_apart_as_often_as_alpha_says(self):
        rng, trials = generator(5), 60
        found = 0
        for _ in range(trials):
            truth = rng.integers(0, 2, 120).astype(float)
            one, other = (np.where(rng.random(120) < 0.8, truth, 1 - truth) for _ in range(2))
            found += drawn_differences(f1(truth, one), f1(truth, other), 120)["F1"][1] <= ALPHA
        assert found / trials <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)


class TestDifferenceInterval:
    @pytest.mark.parametrize("grouped", [False, True])
    def test_of_means_is_the_paired_t_interval(self, grouped):
        rng = generator(3)
        a, b = rng.normal(size=(2, 60)) + rng.normal(size=60)
        groups = [str(i // 3) for i in range(60)] if grouped else None
        made, expected = difference_interval(a, b, groups, shares=False), mean_interval(b - a, groups)
        assert (made.value, made.low, made.high) == pytest.approx((expected.value, expected.low, expected.high))
        assert made.method == f"paired {expected.method}"

    def test_of_answers_is_newcombes(self):
        # Newcombe 1998, Statistics in Medicine 17, p. 2635, method 10: of 50 pairs 36, 12, 2 and 0
        baseline = np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
        candidate = np.repeat([1.0, 1.0, 0.0], [36, 12, 2])
        made = difference_interval(baseline, candidate, shares=True)
        assert (made.value, made.low, made.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)

    @pytest.mark.parametrize(("p", "gap"), [(0.5, 0.0), (0.9, 0.0), (0.97, 0.0), (0.95, 0.05), (0.6, 0.1)])
    def test_covers_the_true_difference_of_answers(self, p, gap):
        rng, trials = generator(4), 500
        hard = rng.random((trials, 100))
        own = rng.random((2, trials, 100)) < 0.5  # on half of the samples a model errs on its own
        luck = np.where(own, rng.random((2, trials, 100)), hard)
        baseline, candidate = (luck < np.array([p - gap, p])[:, None, None]).astype(float)
        made = [difference_interval(b, c, shares=True) for b, c in zip(baseline, candidate, strict=True)]
        assert np.mean([e.low <= gap <= e.high for e in made]) >= 0.93

    def test_of_equal_answers_has_a_width(self):
        for hits in (0, 36, 72):
            made = difference_interval(right(hits, 72), right(hits, 72), shares=True)
            assert -0.1 < made.low < 0 < made.high < 0.1

    @given(SHARES)
    def test_stays_within_bounds(self, values):
        a, b = np.array(values), np.array(values[::-1])
        made = difference_interval(a, b, shares=True)
        assert -1 <= made.low <= made.value <= made.high <= 1


class TestRatioInterval:
    def test_covers_the_true_share_that_is_retained(self):
        rng, trials = generator(5), 500
        hard = rng.random((trials, 200))
        baseline, candidate = (hard < 0.8).astype(float), (hard < 0.72).astype(float)
        flipped = rng.random((trials, 200)) < 0.1
        candidate = np.where(flipped, rng.random((trials, 200)) < 0.72, candidate).astype(float)
        made = [ratio_interval(b, c, shares=True) for b, c in zip(baseline, candidate, strict=True)]
        assert 0.92 < np.mean([e.low <= 0.9 <= e.high for e in made]) < 0.99

    def test_of_equal_answers_is_about_one(self):
        made = ratio_interval(right(60, 72), right(60, 72), shares=True)
        assert made.value == 1
        assert 0.9 < made.low < 1 < made.high < 1.1

    def test_there_is_none_of_a_baseline_near_zero(self):
        assert ratio_interval(right(0, 72), right(60, 72), shares=True) is None
        assert ratio_interval(right(1, 72), right(60, 72), shares=True) is None
        assert ratio_interval(np.array([-1.0, 2.0, 0.5]), np.ones(3), shares=False) is None


class TestMcNemar:
    @pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 5), (6, 0), (0, 6), (12, 30), (400, 300)])
    def test_is_the_binomial_test_of_what_changed(self, gained, lost):
        expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-9)

    def test_is_the_paired_test_of_answers(self):
        a, b = generator(6).random((2, 300)) < [[0.7], [0.6]]
        assert paired_p(a, b) == mcnemar_p(np.sum(a & ~b), np.sum(b & ~a))

    @pytest.mark.parametrize("kind", ["answers", "shares", "sparse", "grouped"])
    def test_all_pairs_at_once_are_the_pairs_one_by_one(self, kind):
        rng = generator(7)
        values = rng.random((6, 90))
        groups = [str(i // 2) for i in range(90)] if kind == "grouped" else None
        if kind == "answers":
            values = (values < np.linspace(0.4, 0.8, 6)[:, None]).astype(float)
        if kind == "sparse":
            values = np.where(rng.random((6, 90)) < 0.1, values, 0.5)
        ps = paired_ps(values, groups)
        expected = [
            [1.0 if i == j else paired_p(a, b, groups) for j, b in enumerate(values)] for i, a in enumerate(values)
        ]
        assert ps == pytest.approx(np.array(expected), rel=1e-7)

    def test_are_of_sign_tests_where_thousands_of_pairs_differ_in_few_samples(self):
        values = generator(7).random((70, 12)).round(1)
        values[0], values[1] = 0.95, 0.0
        ps = paired_ps(values)
        more, less = (values[2] > values[3]).sum(), (values[2] < values[3]).sum()
        assert ps[2, 3] == ps[3, 2] == mcnemar_p(more, less)
        assert ps[0, 1] == 2**-11
        assert (np.diagonal(ps) == 1).all()


class TestHolmWithWeights:
    def test_of_equal_weights_is_holms(self):
        p = [0.01, 0.04, 0.03, 0.005]
        assert holm(p, [2.0] * 4) == pytest.approx(holm(p))

    def test_more_weight_asks_for_less(self):
        assert holm([0.03, 0.03], [3.0, 1.0]) == pytest.approx([0.04, 0.04])
        assert holm([0.03, 0.9], [3.0, 1.0]) == pytest.approx([0.04, 0.9])


class TestPower:
    @pytest.mark.parametrize(("n", "gained", "lost"), [(40, 0.05, 0.25), (200, 0.1, 0.2), (72, 0.0, 0.12)])
    def test_is_how_often_the_test_finds_it(self, n, gained, lost):
        draws = generator(8).multinomial(n, [gained, lost, 1 - gained - lost], size=20_000)
        found = np.mean(mcnemar_p(draws[:, 0], draws[:, 1]) <= ALPHA)
        assert mcnemar_power(n, gained, lost) == pytest.approx(found, abs=3 * np.sqrt(found * (1 - found) / 20_000))

    @pytest.mark.parametrize(("n", "changed"), [(10, 0.3), (72, 0.5), (500, 0.1)])
    def test_of_no_difference_is_at_most_the_level(self, n, changed):
        assert mcnemar_power(n, changed / 2, changed / 2) <= ALPHA

    def test_there_is_none_without_samples_or_changes(self):
        assert mcnemar_power(0, 0.1, 0.1) == mcnemar_power(50, 0.0, 0.0) == mcnemar_power(5, 0.0, 1.0) == 0

    def test_six_answers_must_change_at_least(self):
        assert detectable_difference(5, 1.0) is None
        assert detectable_difference(6, 1.0) == pytest.approx(0.9 ** (1 / 6), abs=1e-6)

    def test_of_means_is_that_of_the_t_test(self):
        rng, n, trials = generator(9), 50, 4000
        shift = detectable_mean_difference(1 / np.sqrt(n), n)
        found = np.mean(scipy.stats.ttest_1samp(rng.normal(shift, 1.0, size=(trials, n)), 0, axis=1).pvalue <= ALPHA)
        assert found == pytest.approx(0.9, abs=0.02)


class TestTwoModels:
    """What ranks promise: level and power, over 2,000 seeded draws of two models with independent errors."""

    TRIALS = 2000

    def split(self, n, shares, seed):
        answers = generator(seed).random((self.TRIALS, 2, n)) < np.array(shares)[:, None]
        tiers = [rank_tiers({"a": a, "b": b}) for a, b in answers.astype(float)]
        assert all(t["a"] != t["b"] or (t["a"].best, t["a"].worst) == (1, 2) for t in tiers)
        return np.mean([t["a"] != t["b"] for t in tiers])

    @pytest.mark.parametrize(("n", "share"), [(72, 0.95), (300, 0.8)])
    def test_of_equal_accuracy_are_split_in_at_most_5_percent(self, n, share):
        assert self.split(n, (share, share), seed=n) <= beyond(ALPHA, self.TRIALS)

    @pytest.mark.parametrize(("n", "share"), [(300, 0.8)])
    def test_that_differ_by_what_is_detectable_at_90_percent_are_split_in_90(self, n, share):
        assert self.split(n, (share, share - detectable_difference(n, share)), seed=n) == pytest.approx(0.9, abs=0.03)


class TestRanksOfMany:
    @pytest.mark.parametrize("shares", [[0.7] * 3, [0.7] * 6, [0.9, 0.9, 0.6, 0.6, 0.3, 0.3]])
    def test_equals_are_split_in_at_most_5_percent(self, shares):
        trials, n = 500, 150
        answers = generator(len(shares)).random((trials, len(shares), n)) < np.array(shares)[:, None]
        errors = 0
        for drawn in answers.astype(float):
            tiers = rank_tiers({str(i): row for i, row in enumerate(drawn)})
            places = {share: [i for i, s in enumerate(shares) if s == share] for share in shares}
            wrong = [
                tiers[str(i)].below is not None and shares[int(tiers[str(i)].below.other)] >= shares[i]
                for equals in places.values()
                for i in equals
            ]
            errors += any(wrong)
        assert errors / trials <= beyond(ALPHA, trials)

    def test_the_first_and_the_last_of_small_steps_are_told_apart(self):
        answers = {f"{hits}": right(hits, 100) for hits in range(50, 90, 3)}  # no two neighbours differ significantly
        tiers = rank_tiers(answers)
        assert tiers["89"].below.other == "74"
        assert tiers["50"].above is not None
        assert (tiers["89"].best, tiers["89"].worst) == (1, 5)

    def test_the_evidence_is_the_nearest_decided_pair(self):
        tiers = rank_tiers({"good": right(90, 100), "fair": right(60, 100), "poor": right(20, 100)})
        assert tiers["good"].below[:2] == ("fair", pytest.approx(0.3))
        assert tiers["poor"].above[:2] == ("fair", pytest.approx(-0.4))
        assert tiers["fair"].above.p == tiers["good"].below.p <= ALPHA
        assert tiers["good"].above is tiers["poor"].below is None
        turned = rank_tiers({"good": right(10, 100), "poor": right(90, 100)}, higher_is_better=False)
        assert turned["good"].below[:2] == ("poor", pytest.approx(-0.8))
