"""Task selection: what Algorithm 1 chooses, and that its coverage is sound where the plain formula is not."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.selection import Moments, Options, Space, select
from adaptbench.harness.selection.coverage import FLOOR, plain_coverage
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH = 24


def gaussian(seed, mean=0.0, count=150, width=WIDTH, scale=1.0):
    rng = np.random.Generator(np.random.PCG64(seed))
    return mean + scale * rng.standard_normal((count, width))


@pytest.fixture(scope="module")
def planted():
    """A target, and ten candidates: 2, 5 and 8 lie around it, one a side each, and the others far from it."""
    middle = np.r_[4.0, np.zeros(WIDTH - 1)]
    sides = {2: [3.0, 0.0], 5: [-1.5, 2.6], 8: [-1.5, -2.6]}
    far = np.r_[-4.0, np.zeros(WIDTH - 1)]
    pool = []
    for place in range(10):
        mean = far + 0.3 * gaussian(99 + place, count=1)[0]
        if place in sides:
            mean = middle.copy()
            mean[1:3] += 0.3 * np.array(sides[place])
        pool.append(gaussian(place, mean))
    return gaussian(50, middle, 400), pool


@pytest.fixture(scope="module")
def stretched():
    """Data sets that vary along axis 0, 0, 1 and 1."""
    pool = [gaussian(i, 3.0) for i in range(4)]
    for i, one in enumerate(pool):
        one[:, i // 2] *= 6
    return pool


class TestAlgorithm1:
    def test_it_chooses_the_near_ones_of_a_planted_pool(self, planted):
        found = select(*planted)
        assert sorted(found.chosen.tolist()) == [2, 5, 8]
        assert found.stop == 3
        assert "one more changes the coverage by -" in found.reason

    def test_the_order_is_that_of_the_cosines_of_the_means(self, planted):
        target, pool = planted
        found, goal = select(target, pool), target.mean(axis=0)
        cosines = [one.mean(0) @ goal / np.linalg.norm(one.mean(0)) / np.linalg.norm(goal) for one in pool]
        assert found.order.tolist() == np.argsort(-np.array(cosines)).tolist()
        np.testing.assert_allclose(found.similarities, np.sort(cosines)[::-1], atol=1e-11)

    def test_equal_candidates_keep_their_order(self, planted):
        target, pool = planted
        found = select(target, [pool[5], pool[2], pool[2].copy(), pool[2].copy()])
        assert [place for place in found.order.tolist() if place] == [1, 2, 3]

    def test_the_first_candidate_that_adds_too_little_ends_the_walk(self, planted):
        found = select(*planted, Options(threshold=0.2))
        growth = found.coverages[1:] / found.coverages[:-1] - 1
        assert found.stop == 1 + next(i for i, value in enumerate(growth) if value < 0.2)

    def test_a_threshold_of_zero_goes_on_while_coverage_does_not_fall(self):
        same = gaussian(0)
        target = same.mean(axis=0, keepdims=True)  # both prefixes have the greatest coverage there is
        assert select(target, [same, same], Options(threshold=0)).stop == 2
        assert select(target, [same, same], Options(threshold=1e-6)).stop == 1

    @pytest.mark.parametrize(
        ("options", "stop", "reason"),
        [
            ({"max_tasks": 2}, 2, "2 is the most that was allowed"),
            ({"max_tasks": 1}, 1, "1 is the most that was allowed"),
            ({"min_tasks": 6}, 6, "one more changes the coverage by"),
            ({"min_tasks": 10}, 10, "there are no more candidates"),
            ({"min_tasks": 12}, 10, "there are no more candidates"),
        ],
    )
    def test_it_stops_between_the_least_and_the_most(self, planted, options, stop, reason):
        found = select(*planted, Options(**options))
        assert found.stop == stop == len(found.chosen)
        assert reason in found.reason

    def test_one_candidate_is_chosen(self, planted):
        found = select(planted[0], planted[1][:1])
        assert (found.chosen.tolist(), found.reason) == ([0], "there are no more candidates")


class TestAblations:
    def test_all_ignores_consistency(self, planted):
        found = select(*planted, Options(mode="all"))
        assert found.chosen.tolist() == found.order.tolist()
        assert found.stop == 3

    def test_first_k_ignores_diversity(self, planted):
        found = select(*planted, Options(mode="first-k", count=5))
        assert found.chosen.tolist() == found.order[:5].tolist()

    def test_random_ignores_both_and_follows_its_seed(self, planted):
        drawn = [select(*planted, Options(mode="random", count=6, seed=seed)).chosen.tolist() for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert all(len(set(one)) == 6 for one in drawn)

    def test_random_draws_as_many_as_are_selected(self, planted):
        assert len(select(*planted, Options(mode="random")).chosen) == 3


class TestCoverage:
    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**32), st.integers(3, 40), st.integers(5, 60), st.integers(1, 6))
    def test_it_is_positive_and_finite_however_few_the_samples(self, seed, width, count, tasks):
        pool = [gaussian([seed, i], i / 3, count, width, 10.0 ** (i - 2)) for i in range(tasks)]
        found = select(gaussian(seed, 1.0, 3, width), pool)
        assert (found.coverages > 0).all()
        assert np.isfinite(found.coverages).all()
        assert (found.conditions >= 1).all()
        assert found.axes <= max(1, count // 5)

    @settings(max_examples=6, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_rotation_of_all_embeddings_changes_nothing(self, planted, seed):
        target, pool = planted
        turn = np.linalg.qr(gaussian(seed, count=WIDTH))[0]
        plain, turned = select(target, pool), select(target @ turn, [one @ turn for one in pool])
        assert turned.chosen.tolist() == plain.chosen.tolist()
        np.testing.assert_allclose(turned.coverages, plain.coverages, rtol=1e-6)

    @pytest.mark.parametrize("scale", [1e-6, 1e6])
    def test_nor_does_a_change_of_scale(self, planted, scale):
        target, pool = planted
        scaled = select(scale * target, [scale * one for one in pool])
        np.testing.assert_allclose(scaled.coverages, select(target, pool).coverages, rtol=1e-9)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**32), st.integers(30, 200))
    def test_a_duplicate_adds_no_more_than_its_samples_explain(self, seed, count):
        task, target = gaussian(seed, count=count), gaussian(seed + 1, 0.5)
        one, two = select(target, [task, task]).coverages
        assert two <= one
        uncorrected = select(target, [task, task], Options(corrected=False)).coverages
        q = select(target, [task]).axes
        assert uncorrected[1] / uncorrected[0] <= (count - 1) / (count - q - 2)

    def test_equal_means_have_the_greatest_coverage(self):
        task = gaussian(3)
        assert select(task.mean(axis=0, keepdims=True), [task]).coverages[0] == 1 / FLOOR

    def test_it_does_not_grow_with_the_number_of_samples_alone(self):
        """Tasks of one distribution: the plain formula grows steeply, ours stays within its noise."""
        pool = [gaussian([1, i], 0.5, 150, 64) for i in range(8)]
        found = select(gaussian(0, 0, 600, 64), pool, Options(plain=True))
        assert found.plain.values[-1] > 1.4 * found.plain.values[0]
        assert found.coverages[-1] == pytest.approx(found.coverages[0], rel=0.2)

    def test_moments_are_those_of_all_samples(self):
        parts = [gaussian(i, 1e6 + i, count) for i, count in enumerate((1, 7, 40))]
        merged, whole = Moments(WIDTH), np.concatenate(parts)
        for part in parts:
            merged.add(part)
        np.testing.assert_allclose(merged.covariance, np.cov(whole, rowvar=False), atol=1e-8)
        np.testing.assert_allclose(merged.mean, whole.mean(axis=0), rtol=1e-12)

    def test_axes_without_variance_are_left_out(self):
        flat = gaussian(0)
        flat[:, 3:] = 7
        moments = Moments(WIDTH)
        moments.add(flat)
        space = Space.of(moments, 10, 1e-2)
        assert space.axes.shape == (WIDTH, 3)
        assert space.kept == pytest.approx(1)


class TestThePlainFormula:
    def test_it_is_the_dissertations(self, planted):
        target, pool = planted
        found = select(target, pool, Options(plain=True))
        for count, value in enumerate(found.plain.values, 1):
            samples = np.concatenate([pool[place] for place in found.order[:count]])
            step = samples.mean(axis=0) - target.mean(axis=0)
            assert value == pytest.approx(1 / (step @ np.linalg.inv(np.cov(samples, rowvar=False)) @ step), rel=1e-8)

    def test_with_fewer_samples_than_dimensions_it_is_marked_and_ours_is_not(self):
        pool = [gaussian(i, 0.1 * i, 30, 64) for i in range(6)]
        found = select(gaussian(9, 0.5, 60, 64), pool, Options(plain=True))
        assert set(found.plain.faults[:2]) <= {"singular", "negative"}
        assert found.plain.faults[2:] == ("",) * 4
        assert (found.coverages > 0).all()

    def test_it_may_decide(self, planted):
        found = select(*planted, Options(coverage="plain"))
        growth = found.plain.values[1:] / found.plain.values[:-1] - 1
        assert (growth[: found.stop - 1] >= 0.01).all()
        assert growth[found.stop - 1] < 0.01

    def test_it_may_not_decide_where_it_means_nothing(self):
        pool = [gaussian(i, 0.1 * i, 30, 64) for i in range(6)]
        with pytest.raises(
            UserError, match=r"plain coverage of the first 1 is .*: (singular|negative); use coverage=p"
        ):
            select(gaussian(9, 0.5, 60, 64), pool, Options(coverage="plain"))

    def test_no_inverse_at_all_is_marked(self):
        moments = Moments(3)
        moments.add(np.tile([1.0, 2.0, 3.0], (4, 1)))
        value, fault = plain_coverage(moments, np.zeros(3))
        assert (np.isnan(value), fault) == (True, "singular")


class TestComponents:
    """The variant for language: the first principal component stands for a data set, whatever its sign."""

    def test_data_sets_that_vary_alike_are_similar(self, stretched):
        target = gaussian(8, -2.0)
        target[:, 1] *= 6
        found = select(target, stretched, Options(similarity="component"))
        assert sorted(found.order[:2].tolist()) == [2, 3]
        assert found.similarities[1] > 0.9
        assert found.similarities[2] < 0.3

    def test_the_sign_does_not_matter(self, stretched):
        options = Options(similarity="component")
        found = select(stretched[0], [-stretched[1], stretched[2]], options)
        same = select(stretched[0], [stretched[1], stretched[2]], options)
        np.testing.assert_allclose(found.similarities, same.similarities)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pool: pool[3].__setitem__((4, 2), np.nan), "candidate 3: an embedding of it holds NaN or infinity"),
        (lambda pool: pool[3].__setitem__((4, 2), np.inf), "candidate 3: an embedding of it holds NaN or infinity"),
        (lambda pool: pool.__setitem__(1, np.zeros((9, WIDTH))), "candidate 1: its embeddings have the mean zero"),
        (lambda pool: pool.__setitem__(1, np.zeros((9, 5))), r"candidate 1: .* shape \[9, 5\], and not \[n, 24\]"),
        (lambda pool: pool.__setitem__(1, np.zeros((0, WIDTH))), r"candidate 1: .* shape \[0, 24\]"),
        (lambda pool: pool.clear(), "there are no candidates to select from"),
        (
            lambda pool: pool.__setitem__(slice(None), [one[:4] for one in pool]),
            "takes 5 samples or more, and it has 4",
        ),
        (lambda pool: pool.__setitem__(slice(None), [np.ones((9, WIDTH))]), "all candidates' embeddings are equal"),
    ],
)
def test_embeddings_that_cannot_be_selected_from_are_refused(planted, change, message):
    target, pool = planted
    pool = [one.copy() for one in pool]
    change(pool)
    with pytest.raises(UserError, match=message):
        select(target, pool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "unknown mode 'best'; choose from selected, all, first-k, random"),
        ({"similarity": "l2"}, "unknown similarity 'l2'"),
        ({"coverage": "full"}, "unknown coverage 'full'"),
        ({"threshold": -0.1}, "threshold=-0.1 is not 0 or more"),
        ({"threshold": float("nan")}, "threshold=nan is not 0 or more"),
        ({"ridge": float("inf")}, "ridge=inf"),
        ({"max_tasks": 0}, "max_tasks=0 is not 1 or more"),
        ({"max_tasks": 2, "min_tasks": 3}, "max_tasks=2 is below min_tasks=3"),
        ({"mode": "first-k"}, "first-k needs its k"),
        ({"count": 3}, "mode selected takes no count"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Options(**options)


def test_more_than_there_are_cannot_be_chosen(planted):
    with pytest.raises(UserError, match="there are 10 candidates, not 11"):
        select(*planted, Options(mode="first-k", count=11))


def test_without_a_ridge_a_singular_covariance_is_refused():
    flat = gaussian(0, 1.0, 30)
    flat[:, :] = flat[:1]
    with pytest.raises(UserError, match="the covariance of 30 samples is singular; give a ridge above 0"):
        select(flat, [flat, gaussian(1, 1.0, 30)], Options(ridge=0))
