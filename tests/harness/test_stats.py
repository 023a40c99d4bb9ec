"""Statistics do what they promise: in simulation, against brute force, and against scipy.stats."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import scipy.stats
from adaptbench.harness.stats import Tier, holm, mean_interval, paired_p, pareto, rank_tiers
from hypothesis import given
from hypothesis import strategies as st


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def errors_allowed(rate, trials):
    """As many errors as a rate gives with a chance of 99.9 %."""
    return int(scipy.stats.binom.ppf(0.999, trials, rate))


P_VALUES = st.lists(st.floats(0, 1), max_size=6)


class TestMeanInterval:
    @pytest.mark.parametrize("n", [2, 3, 10, 600, 1500])
    @pytest.mark.parametrize("level", [0.95, 0.99])
    def test_is_the_t_interval(self, n, level):
        values = generator(n).normal(size=n)
        made = mean_interval(values, level=level)
        low, high = scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values))
        assert (made.value, made.low, made.high) == pytest.approx((values.mean(), low, high), rel=1e-12)
        assert made.n == n

    def test_of_1500_episodes_has_the_factor_of_the_dissertation(self):
        values = generator(0).random(1500)
        made = mean_interval(values, noun="episode")
        assert (made.high - made.value) / (values.std(ddof=1) / np.sqrt(1500)) == pytest.approx(1.9615, abs=5e-5)
        assert made.method == "95 % t interval over 1,500 episodes"

    @pytest.mark.parametrize("n", [5, 40])
    def test_covers_the_mean_as_often_as_it_says(self, n):
        rng, trials = generator(1), 2000
        missed = 0
        for _ in range(trials):
            made = mean_interval(rng.normal(3.0, 2.0, size=n))
            missed += not made.low <= 3.0 <= made.high
        assert trials * 0.05 - 4 * np.sqrt(trials * 0.05) < missed <= errors_allowed(0.05, trials)

    def test_covers_the_mean_of_clustered_values_where_a_plain_one_does_not(self):
        rng, trials, clusters = generator(2), 1000, 40
        missed = plain_missed = 0
        for _ in range(trials):
            sizes = rng.integers(1, 9, size=clusters)
            groups = np.repeat(np.arange(clusters), sizes)
            values = np.repeat(rng.normal(size=clusters), sizes) + 0.5 * rng.normal(size=len(groups))
            made = mean_interval(values, [str(g) for g in groups])
            missed += not made.low <= 0 <= made.high
            plain = mean_interval(values)
            plain_missed += not plain.low <= 0 <= plain.high
        assert 0.03 < missed / trials < 0.08  # forty clusters of unequal size: a little too narrow is known
        assert plain_missed / trials > 0.2

    def test_of_clusters_of_one_is_the_plain_one(self):
        values = generator(3).random(50)
        plain, clustered = mean_interval(values), mean_interval(values, [f"g{i}" for i in range(50)])
        assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), rel=1e-12)
        assert clustered.method == "95 % t interval over 50 samples in 50 groups"

    def test_of_repeated_values_is_that_of_the_values(self):
        values = generator(4).random(30)
        once = mean_interval(values)
        twice = mean_interval(np.repeat(values, 2), [str(i) for i in np.repeat(np.arange(30), 2)])
        assert (twice.low, twice.high) == pytest.approx((once.low, once.high), rel=1e-12)
        assert twice.n == 60

    def test_of_one_value_has_no_ends(self):
        made = mean_interval(np.array([0.5]))
        assert (made.value, made.low, made.high, made.n) == (0.5, None, None, 1)
        assert made.method == "no interval from 1 sample"

    def test_of_one_group_has_no_ends(self):
        made = mean_interval(np.array([0.0, 1.0]), ["a", "a"])
        assert (made.value, made.low, made.high) == (0.5, None, None)

    def test_of_equal_values_has_no_width(self):
        made = mean_interval(np.full(20, 0.25))
        assert (made.low, made.value, made.high) == (0.25, 0.25, 0.25)

    @pytest.mark.parametrize("values", [[], [np.nan], [1.0, np.inf]])
    def test_wants_finite_values(self, values):
        with pytest.raises(ValueError, match="finite values, at least one"):
            mean_interval(np.array(values))


class TestPairedP:
    @pytest.mark.parametrize("n", [30, 100, 1500])
    def test_of_many_differences_is_the_paired_t_test(self, n):
        rng = generator(n)
        a, b = rng.normal(size=n), rng.normal(0.1, size=n)
        assert paired_p(a, b) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, rel=1e-9)

    @pytest.mark.parametrize("n", [1, 2, 5, 9])
    def test_of_few_differences_is_exact(self, n):
        a, b = generator(n).normal([[0.5], [0.0]], size=(2, n))
        difference = a - b
        sums = [abs(np.dot(signs, difference)) for signs in product((1, -1), repeat=n)]
        expected = np.mean([s >= abs(difference.sum()) - 1e-12 for s in sums])
        assert paired_p(a, b) == expected

    def test_agrees_with_scipys_permutation_test(self):
        a, b = generator(5).normal([[0.6], [0.0]], size=(2, 10))
        expected = scipy.stats.permutation_test(
            (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert paired_p(a, b) == pytest.approx(expected, rel=1e-9)

    def test_drawn_flips_come_near_to_the_exact_value(self):
        difference = generator(6).normal(0.4, 1.0, size=20)
        exact_sums = np.array([0.0])
        for value in difference:
            exact_sums = np.concatenate([exact_sums + value, exact_sums - value])
        exact = np.mean(np.abs(exact_sums) >= abs(difference.sum()) - 1e-9)
        drawn = paired_p(difference, np.zeros(20))
        assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
        assert drawn == paired_p(difference, np.zeros(20))  # the draw is seeded

    @given(st.lists(st.integers(-5, 5), min_size=1, max_size=10))
    def test_ties_count_whatever_the_last_digits(self, tenths):
        difference = np.array(tenths) / 10  # 0.1 + 0.2 - 0.3 is not zero in floating point
        sums = [
            abs(sum(s * t for s, t in zip(signs, tenths, strict=True)))
            for signs in product((1, -1), repeat=len(tenths))
        ]
        expected = np.mean([s >= abs(sum(tenths)) for s in sums])
        assert paired_p(difference, np.zeros(len(tenths))) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("n", [0, 1, 40])
    def test_of_equal_values_is_one(self, n):
        values = generator(7).random(n)
        assert paired_p(values, values) == 1.0

    def test_of_the_same_difference_everywhere_is_next_to_nothing(self):
        assert paired_p(np.ones(50), np.zeros(50)) < 1e-9

    @given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=50))
    def test_is_a_probability_and_symmetric(self, pairs):
        a, b = np.array(pairs).T
        assert 0 <= paired_p(a, b) <= 1
        assert paired_p(a, b) == pytest.approx(paired_p(b, a), rel=1e-6)

    @pytest.mark.parametrize(
        ("a", "b"), [([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, np.inf]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], 1.0)]
    )
    def test_wants_finite_values_of_the_same_samples(self, a, b):
        with pytest.raises(ValueError, match="finite values of the same samples"):
            paired_p(np.array(a), np.array(b))

    @pytest.mark.parametrize("n", [10, 25, 300])
    def test_errs_as_seldom_as_it_says(self, n):
        rng, trials = generator(8), 400
        skill = rng.random(n)
        errors = sum(
            paired_p(rng.binomial(15, skill) / 15, rng.binomial(15, skill) / 15) <= 0.05 for _ in range(trials)
        )
        assert errors <= errors_allowed(0.05, trials)

    def test_finds_a_real_difference(self):
        rng = generator(9)
        skill = 0.3 + 0.4 * rng.random(300)
        found = sum(
            paired_p(rng.binomial(15, skill + 0.05) / 15, rng.binomial(15, skill) / 15) <= 0.05 for _ in range(100)
        )
        assert found > 90


class TestHolm:
    @given(P_VALUES)
    def test_is_the_closed_test_of_bonferroni(self, p_values):
        everyone = range(len(p_values))
        subsets = [s for size in range(1, len(p_values) + 1) for s in combinations(everyone, size)]
        expected = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s) for i in everyone]
        assert holm(p_values) == pytest.approx(expected)

    def test_of_a_textbook_example(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_of_nothing(self):
        assert holm([]) == []


class TestRankTiers:
    def test_tells_apart_what_differs(self):
        rng = generator(10)
        noise = rng.normal(0, 0.05, size=200)
        scores = {"bad": 0.2 + noise, "good": 0.8 + noise, "middle": 0.5 + noise, "also good": 0.8 + noise}
        tiers = rank_tiers(scores)
        assert tiers == {"good": Tier(1, 2), "also good": Tier(1, 2), "middle": Tier(3, 3), "bad": Tier(4, 4)}
        assert rank_tiers(scores, higher_is_better=False)["bad"] == Tier(1, 1)

    def test_of_one_model_or_none(self):
        assert rank_tiers({"a": np.array([1.0])}) == {"a": Tier(1, 1)}
        assert rank_tiers({}) == {}

    @pytest.mark.parametrize("models", [2, 5])
    def test_equal_models_share_a_tier_in_all_but_alpha_of_cases(self, models):
        errors = 0
        for seed in range(200):
            rng = generator(seed)
            skill = rng.random(100)
            tiers = rank_tiers({f"copy {i}": rng.binomial(15, skill) / 15 for i in range(models)})
            errors += len(set(tiers.values())) > 1
        assert errors <= errors_allowed(0.05, 200)

    def test_one_model_run_twice_is_never_told_apart(self):
        for seed in range(200):
            values = generator(seed).random(50)
            assert rank_tiers({"once": values, "again": values.copy()}) == {"once": Tier(1, 2), "again": Tier(1, 2)}

    def test_dependent_samples_are_tested_by_group(self):
        errors = {"grouped": 0, "plain": 0}
        for seed in range(200):
            rng = generator(seed)
            groups = np.repeat(np.arange(40), 10)
            scores = {name: np.repeat(rng.normal(size=40), 10) + 0.1 * rng.normal(size=400) for name in "ab"}
            errors["grouped"] += len(set(rank_tiers(scores, groups=[str(g) for g in groups]).values())) > 1
            errors["plain"] += len(set(rank_tiers(scores).values())) > 1
        assert errors["grouped"] <= errors_allowed(0.05, 200)
        assert errors["plain"] > 50

    def test_groups_rank_as_the_mean_over_samples_does(self):
        groups = ["big"] * 90 + [f"small {i}" for i in range(60)]
        a = np.concatenate([np.full(90, 0.0), np.full(60, 0.6)])
        b = np.concatenate([np.full(90, 1.0), np.full(60, 0.1)])
        assert a.mean() < b.mean()  # the mean of the groups' means says the opposite
        tiers = rank_tiers({"a": a, "b": b}, groups=groups, alpha=1.0)
        assert tiers == {"b": Tier(1, 1), "a": Tier(2, 2)}


class TestPareto:
    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
    def test_is_what_a_sweep_by_cost_finds(self, points):
        frontier, best = set(), None
        for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
            if best is None or score > best:
                frontier.add((cost, score))
                best = score
        named = {str(i): point for i, point in enumerate(points)}
        assert pareto(named) == {name for name, point in named.items() if point in frontier}

    def test_equal_points_stay_both(self):
        assert pareto({"a": (1, 1), "b": (1, 1), "c": (2, 1), "d": (1, 0.5)}) == {"a", "b"}

    def test_of_nothing(self):
        assert pareto({}) == set()
