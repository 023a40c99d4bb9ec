"""The linear case study of the dissertation's chapter 3: what holds of it, and that the report says what does not."""

import csv
import itertools
import math
import re
from pathlib import Path

import adaptbench
import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.selection.coverage import Moments, plain_coverage
from adaptbench.leaderboards.dissertation import linear_case as case
from adaptbench.leaderboards.dissertation.diversity import diversity
from hypothesis import given, settings
from hypothesis import strategies as st

DOCS = Path(adaptbench.__file__).parent / "docs" / "fewshot-theory.md"
SIZES = (3, 4, 5, 8, 10, 16)


def climbed(tasks, shares=None, seed=0, steps=400):
    """The loss at the end of a climb over all matrices: of a convex gain, normalised gradients never go down."""
    shares = np.full(len(tasks), 1 / len(tasks)) if shares is None else shares
    phi = np.random.default_rng(seed).standard_normal((tasks.shape[1],) * 2)
    for _ in range(steps):
        mapped = tasks @ phi.T
        gradient = (mapped * (shares / np.linalg.norm(mapped, axis=1))[:, None]).T @ tasks
        phi = gradient / np.linalg.norm(gradient)
    return -np.linalg.norm(tasks @ phi.T, axis=1) @ shares / 2


def setting(k):
    return case.differences(case.classes(k, k + 1)), case.best_diagonal(range(k), k + 1), case.best_matrix(k, k + 1)


@settings(max_examples=20)
@given(st.integers(3, 8), st.integers(0, 3))
def test_classes_differ_in_two_of_their_features(k, more):
    tasks = case.differences(case.classes(k, k + more))
    assert len(tasks) == k * (k - 1) // 2
    assert ((tasks != 0).sum(axis=1) == 2).all()
    assert (tasks[:, k:] == 0).all()


@pytest.mark.parametrize(("k", "d"), [(2, 5), (5, 4), (0, 3)])
def test_other_numbers_of_classes_are_refused(k, d):
    with pytest.raises(ValueError, match=f"{k} classes of {d} features"):
        case.classes(k, d)


class TestTheBestModels:
    @settings(max_examples=25)
    @given(st.integers(3, 8), st.integers(0, 2**32 - 1))
    def test_no_other_diagonal_is_as_good(self, k, seed):
        tasks, diagonal, _ = setting(k)
        drawn = np.random.default_rng(seed).standard_normal(k + 1)
        assert case.loss(np.diag(drawn / np.linalg.norm(drawn)), tasks) > case.loss(diagonal, tasks)
        assert case.loss(diagonal, tasks) == pytest.approx(-math.sqrt(2 / k))

    @pytest.mark.parametrize("k", SIZES)
    def test_of_all_matrices_one_is_better_and_none_better_than_that(self, k):
        tasks, diagonal, best = setting(k)
        assert np.linalg.norm(best) == pytest.approx(1)
        assert case.loss(best, tasks) == pytest.approx(-math.sqrt(2 / (k - 1)))
        assert case.loss(best, tasks) == pytest.approx(case.least_loss(tasks))
        assert case.loss(best, tasks) < case.loss(diagonal, tasks) - 1e-3
        assert climbed(tasks) == pytest.approx(case.loss(best, tasks), abs=1e-6)

    @pytest.mark.parametrize(("k", "value"), [(2, -0.603553), (3, -0.647693), (4, -0.669171), (5, -0.680585)])
    def test_symmetric_signs_make_the_lemma_true(self, k, value):
        steps = np.array(list(itertools.product((-2, 0, 2), repeat=k)), dtype=float)
        steps = steps[steps.any(axis=1)]
        shares = np.where(steps == 0, 0.5, 0.25).prod(axis=1)
        equal = -np.linalg.norm(steps @ case.best_diagonal(range(k), k), axis=1) @ shares / 2
        assert case.sign_symmetric_loss(k) == pytest.approx(value, abs=5e-7)
        assert equal == pytest.approx(value, abs=5e-7)
        assert climbed(steps, shares, steps=150) == pytest.approx(value, abs=1e-5)


class TestConsistency:
    @pytest.mark.parametrize(
        ("k", "value"),
        [(3, 0.422650), (4, 0.5), (5, 0.552786), (8, 0.646447), (10, 0.683772), (16, 0.75)],
    )
    def test_of_a_covered_target_is_the_theorems_bound_under_both_optima(self, k, value):
        _, *optima = setting(k)
        for phi in optima:
            for feature in range(k):
                assert case.loss(phi, case.target(feature, k + 1)) == pytest.approx(-1 / math.sqrt(k))
                assert case.kappa(phi, case.target(feature, k + 1)) == pytest.approx(value, abs=5e-7)

    @pytest.mark.parametrize("k", SIZES)
    def test_of_another_target_is_one(self, k):
        _, *optima = setting(k)
        for phi in optima:
            assert case.loss(phi, case.target(k, k + 1)) == 0
            assert case.kappa(phi, case.target(k, k + 1)) == 1

    @pytest.mark.parametrize(
        ("counts", "value"),
        [((1, 1, 1, 4), 0.5), ((2, 4, 2, 8), 0.207107), ((2, 4, 1, 8), 0.353553), ((3, 3, 3, 3), 0)],
    )
    def test_general_formula(self, counts, value):
        assert case.printed_kappa(*counts) == pytest.approx(value, abs=5e-7)

    @settings(max_examples=25)
    @given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
    def test_general_formula_is_what_the_targets_own_best_diagonal_gains(self, n0, more, shared, others, both):
        k0, ne = n0 + more, min(shared, n0)
        features = [*range(ne), *range(n0, n0 + min(both, more)), *range(k0, k0 + others + 1)]
        d = k0 + others + 1
        task = 2 * (np.arange(d) < n0)[None].astype(float)
        gained = case.loss(case.best_diagonal(features, d), task) - case.loss(case.best_diagonal(range(k0), d), task)
        assert case.printed_kappa(n0, k0, ne, len(features)) == pytest.approx(gained)

    def test_general_formula_is_the_definition_only_for_one_feature(self):
        one, many = (2 * np.ones((1, k)) for k in (1, 3))
        assert case.kappa(case.best_diagonal([0], 1), one) == case.printed_kappa(1, 1, 1, 1) == 0
        assert case.kappa(case.best_diagonal(range(3), 3), many) == pytest.approx(math.sqrt(3) - 1)


class TestDiversity:
    @settings(max_examples=30)
    @given(st.integers(3, 8), st.floats(0, 0.99), st.booleans())
    def test_ratio_is_that_of_the_losses(self, k, weight, covered):
        if abs(weight - (1 / math.sqrt(k) if covered else 0)) < 1e-3:
            return
        tasks, best, _ = setting(k)
        feature, others = (0, range(1, k)) if covered else (k, range(k))
        weights = np.zeros(k + 1)
        weights[list(others)] = math.sqrt((1 - weight**2) / len(others))
        weights[feature] = weight
        phi, aim = np.diag(weights), case.target(feature, k + 1)
        lost = case.loss(phi, tasks) - case.loss(best, tasks)
        changed = abs(case.loss(phi, aim) - case.loss(best, aim))
        assert case.ratio(k, weight, covered=covered) == pytest.approx(lost / changed, abs=1e-9)

    @pytest.mark.parametrize(("weight", "value"), [(0.5, 0.169466), (0.1, 0.0317022), (0.01, 0.00316236)])
    def test_without_the_feature_tends_to_zero_linearly(self, weight, value):
        assert case.ratio(5, weight, covered=False) == pytest.approx(value, rel=5e-6)
        assert case.ratio(5, weight / 1000, covered=False) < value / 990

    @pytest.mark.parametrize(
        ("k", "value", "bound"),
        [
            (3, 0.020367, 0.414214), (4, 0.020367, 0.276142), (5, 0.018317, 0.207107),
            (8, 0.013059, 0.118347), (10, 0.010825, 0.092047), (16, 0.007095, 0.055228),
        ],
    )  # fmt: skip
    def test_of_a_covered_target_is_far_below_the_printed_bound(self, k, value, bound):
        dropped = math.sqrt(2) * (1 - (math.sqrt(2) + k - 2) / math.sqrt(k * (k - 1)))
        assert case.ratio(k, 0, covered=True) == pytest.approx(dropped)
        assert case.ratio(k, 0, covered=True) == pytest.approx(value, abs=5e-7)
        assert case.printed_nu(k) == pytest.approx(bound, abs=5e-7)
        near = [case.ratio(k, 1 / math.sqrt(k) + step, covered=True) for step in (1e-3, 1e-4, 1e-5)]
        assert near[0] < value
        assert near == pytest.approx([near[0], near[0] / 10, near[0] / 100], rel=0.05)


class TestCoverage:
    MEAN = np.array([0.0, 1, 1, 1, 0, 0, 0, 0])

    @settings(max_examples=5)
    @given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, 7), min_size=1))
    def test_of_many_samples_is_the_exact_one_in_any_dictionary(self, seed, features):
        dictionary = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))[0]
        pool = Moments(8)
        pool.add(case.samples(sorted(features), dictionary, 0.5, 20_000, seed))
        assert plain_coverage(pool, dictionary @ self.MEAN).value == pytest.approx(
            case.coverage(self.MEAN, sorted(features), 0.5), rel=0.1
        )

    def test_grows_with_what_is_shared_but_for_the_feature_that_matters(self):
        none, one, two, three = (case.coverage(self.MEAN, range(4 - n, 8 - n), 0.3) for n in range(4))
        assert none < one < two < three
        assert case.coverage(self.MEAN, range(4), 0.3) == pytest.approx(three)


def test_the_report_says_what_holds_and_the_page_has_its_figures(write, tmp_path):
    rows = list(csv.DictReader(write(diversity, tmp_path / "theory.csv").read_text("utf-8").splitlines()))
    assert {row["says"]: row["holds"] for row in rows} == {
        "least loss over diagonal models": "True",
        "least loss over all models": "False",
        "loss on a covered target": "False",
        "kappa of a covered target, at most": "True",
        "the same under the best of all models": "True",
        "kappa of a target that is not covered, at least": "True",
        "(A.72) is kappa for n0 = k0 = ne = ke = 3": "False",
        "nu of a target that is not covered": "True",
        "nu of a covered target is (A.81)": "False",
        "nu of a covered target, at least; here (A.81)": "False",
    }
    report = write(diversity, tmp_path / "theory.md").read_text("utf-8")
    figures = set(re.findall(r"-?\d\.\d{6}", DOCS.read_text("utf-8")))
    assert figures
    assert {figure for figure in figures if figure not in report} == set()


@pytest.mark.parametrize("k", [2, 101, 3.5, "many"])
def test_the_report_refuses_other_numbers_in_one_line(write, tmp_path, k):
    with pytest.raises(UserError, match=f"no linear case of {k!r} classes; use k=3 to k=100"):
        write(diversity, tmp_path / "theory.md", k=k)
