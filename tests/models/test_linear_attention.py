"""The theory of the dissertation's chapter 4, where it is true; and where it is not, that the report says so.

Random draws are held to four standard errors of their own. Equalities that hold draw by draw are held to rounding.
"""

import contextlib
import io
import re
from dataclasses import replace
from pathlib import Path

import adaptbench
import numpy as np
import pytest
from adaptbench.models.reference import linear_attention as la
from hypothesis import given
from hypothesis import strategies as st

DOCS = Path(adaptbench.__file__).parent / "docs" / "compositional.md"
SEEDS = st.integers(0, 2**32 - 1)
FEW = la.Pair(tasks=1000)


def covariance(draw, d):
    """A random covariance with eigenvalues around 1, none along the axes."""
    rotation = np.linalg.qr(draw.standard_normal((d, d)))[0]
    return rotation @ np.diag(draw.uniform(0.2, 3, d)) @ rotation.T


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def loss(key_query, lam, gamma):
    """Lemma B.4.1, with u = 1."""
    return np.trace(gamma @ lam @ key_query @ lam @ key_query.T) / 2 - np.trace(lam @ lam @ key_query.T)


def within(values, expected):
    """Whether means over the first axis are what is expected, to four standard errors."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.all(np.abs(values.mean(axis=0) - expected) <= 4 * error)


class TestTheModel:
    @given(SEEDS, st.integers(1, 5), st.integers(1, 3), st.integers(1, 6))
    def test_is_the_network_written_out(self, seed, d, k, n):
        draw = np.random.default_rng(seed)
        x, y, query, u = (draw.standard_normal(size) for size in ((n, d), (n, k), d, (d, d)))
        tokens = np.block([[x.T, query[:, None]], [y.T, np.zeros((k, 1))]])
        value = np.diag([0.0] * d + [1.0] * k)
        between = np.block([[u, np.zeros((d, k))], [np.zeros((k, d + k))]])
        output = tokens + value @ tokens @ (tokens.T @ between @ tokens) / n
        np.testing.assert_allclose(la.predict(x, y, query[None], u)[0], output[d:, -1], rtol=1e-9, atol=1e-9)

    @given(SEEDS)
    def test_answers_a_batch_as_one_by_one(self, seed):
        draw = np.random.default_rng(seed)
        x, y, queries, u = (draw.standard_normal(size) for size in ((3, 4, 5), (3, 4, 2), (3, 6, 5), (5, 5)))
        alone = [[la.predict(x[i], y[i], queries[i, j][None], u)[0] for j in range(6)] for i in range(3)]
        np.testing.assert_allclose(la.predict(x, y, queries, u), alone, atol=1e-12)

    @pytest.mark.parametrize("isotropic", [True, False])
    def test_answers_on_average_the_truth_shrunk(self, isotropic):
        draw = np.random.default_rng(1)
        d, n, many = 8, 40, 8000
        lam = np.eye(d) if isotropic else covariance(draw, d)
        weights, queries = draw.standard_normal((2, d)), draw.standard_normal((3, d))
        x = draw.standard_normal((many, n, d)) @ np.linalg.cholesky(lam).T
        answers = la.predict(x, x @ weights.T, queries, la.best_key_query(lam, n))
        shrunk = n / (n + 1 + d) * np.eye(d) if isotropic else lam @ np.linalg.inv(la.gamma(lam, n))
        assert within(answers, queries @ (weights @ shrunk).T)

    def test_is_as_often_right_as_the_angle_says(self):
        lam = np.array([[1.0, 0.5], [0.5, 4.0]])
        weights, guess = np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, -1.0]])
        queries = np.random.default_rng(2).standard_normal((20_000, 2)) @ np.linalg.cholesky(lam).T
        seen = la.right(queries @ guess.T, queries @ weights.T)
        assert within(seen, la.expected_right(weights, guess, lam))
        assert not within(seen, la.expected_right(weights, guess))

    def test_is_wrong_where_it_says_nothing(self):
        assert la.right(np.array([0.0, 2.0]), np.array([1.0, 3.0])) == 0.5
        assert la.expected_right(np.eye(2), np.diag([0.0, 2.0])) == 0.5


class TestTheOptimum:
    def test_has_the_loss_of_the_lemma_in_pretraining(self):
        draw = np.random.default_rng(3)
        d, n, many = 3, 5, 40_000
        lam, u = covariance(draw, d), draw.standard_normal((d, d))
        weights = draw.standard_normal((many, 1, d))
        x = draw.standard_normal((many, n + 1, d)) @ np.linalg.cholesky(lam).T
        y = x @ np.swapaxes(weights, -1, -2)
        answers = la.predict(x[:, :n], y[:, :n], x[:, n:], u)
        # The lemma's constant is half the variance of y.
        assert within((answers - y[:, n:])[:, 0, 0] ** 2 / 2, loss(u, lam, la.gamma(lam, n)) + np.trace(lam) / 2)

    @given(SEEDS, st.integers(1, 6), st.integers(1, 50))
    def test_of_full_rank_is_the_inverse_of_gamma(self, seed, d, n):
        lam = covariance(np.random.default_rng(seed), d)
        best, gamma = la.best_key_query(lam, n), la.gamma(lam, n)
        np.testing.assert_allclose(best @ gamma, np.eye(d), atol=1e-10)
        assert loss(best, lam, gamma) == pytest.approx(-np.trace(lam @ lam @ np.linalg.inv(gamma)) / 2)

    @given(SEEDS, st.integers(1, 6), st.integers(1, 50))
    def test_is_missed_by_the_distance_of_the_lemma(self, seed, d, n):
        draw = np.random.default_rng(seed)
        lam, u = covariance(draw, d), draw.standard_normal((d, d))
        gamma, best = la.gamma(lam, n), la.best_key_query(lam, n)
        distance = np.linalg.norm(root(gamma) @ root(lam) @ (u - best) @ root(lam)) ** 2 / 2
        assert loss(u, lam, gamma) - loss(best, lam, gamma) == pytest.approx(distance)

    @given(SEEDS, st.integers(1, 6), st.integers(1, 50), st.data())
    def test_of_low_rank_is_the_nearest_matrix_of_that_rank(self, seed, d, n, data):
        rank = data.draw(st.integers(1, d))
        lam = covariance(np.random.default_rng(seed), d)
        gamma, found = la.gamma(lam, n), la.best_key_query(lam, n, rank)
        # By the distance above: truncate the singular values of the target, then undo the weighting.
        left, values, right = np.linalg.svd(root(gamma) @ root(lam) @ np.linalg.inv(gamma) @ root(lam))
        nearest = (left[:, :rank] * values[:rank]) @ right[:rank]
        nearest = np.linalg.inv(root(gamma) @ root(lam)) @ nearest @ np.linalg.inv(root(lam))
        assert np.linalg.matrix_rank(found) == rank
        assert loss(found, lam, gamma) == pytest.approx(loss(nearest, lam, gamma))

    def test_of_low_rank_keeps_the_weights_of_the_largest_directions(self):
        values = np.array([1.0, 4.0, 0.5])
        n = 10
        weights = n / ((n + 1) * values + values.sum())
        np.testing.assert_allclose(la.best_key_query(np.diag(values), n, 2), np.diag(weights * [1, 1, 0]), atol=1e-12)


TABLES = {
    "red, blue": (7, [(1, 0), (1, 0), (-1, 0), (-1, 0)]),
    "square, circle": (7, [(0, 1), (0, -1), (0, 1), (0, -1)]),
    "red, circle": (7, [(1, 1), (1, 0), (0, 1), (0, 0)]),
    "all four": (9, [(1, 1), (1, -1), (-1, 1), (-1, -1)]),
}
"""What is shown -> the factor, and the answers to red circle, red square, blue circle, blue square times it."""


class TestTheToy:
    @pytest.mark.parametrize("context", la.CONTEXTS)
    def test_answers_by_the_sign_table(self, context):
        factor, table = TABLES[context]
        np.testing.assert_allclose(factor * la.toy_answers(context), table, atol=1e-12)

    @pytest.mark.parametrize("context", la.CONTEXTS)
    def test_answers_by_the_printed_numbers_if_gamma_were_the_identity_over_n(self, context):
        shown = np.eye(4)[list(la.CONTEXTS[context])]
        answers = la.predict(shown, shown @ la.TOY.T, la.composites(), len(shown) * np.eye(4))
        np.testing.assert_array_equal(answers, TABLES[context][1])

    @given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4), st.sampled_from(list(la.CONTEXTS)))
    def test_keeps_its_signs_whatever_the_variances(self, variances, context):
        answers = la.toy_answers(context, np.diag(variances))
        np.testing.assert_array_equal(np.sign(answers), TABLES[context][1])

    def test_gets_half_right_from_one_task_and_all_from_both(self):
        truth = la.composites() @ la.TOY.T
        scores = {context: la.right(la.toy_answers(context), truth) for context in la.CONTEXTS}
        means = {context: score.mean() for context, score in scores.items()}
        assert means == {"red, blue": 0.5, "square, circle": 0.5, "red, circle": 0.5, "all four": 1.0}
        # The text's third context serves the red circle that it asks for, not the other composites.
        assert scores["red, circle"].tolist() == [1, 0.5, 0.5, 0]


class TestConfinedSupport:
    @given(SEEDS, st.sampled_from([2, 4, 12]), st.integers(1, 3), st.booleans())
    def test_sum_is_the_union_for_every_task(self, seed, count, half, correlated):
        lam = covariance(np.random.default_rng(seed), 2 * half) if correlated else None
        found = la.accuracies(la.Pair(count, half, covariance=lam, tasks=20, seed=seed))
        np.testing.assert_allclose(found.first + found.second, found.union, atol=1e-6)

    @pytest.mark.parametrize("count", [10, 80])
    def test_union_is_better_than_either(self, count):
        found = la.accuracies(replace(FEW, count=count))
        assert all(claim.holds for claim in la.confined_claims(found))
        assert not la.at_most(found.union, found.first)

    @pytest.mark.parametrize("leak", [0.001, 0.05, 0.2, 1.0])
    def test_with_a_leak_only_the_form_with_the_maximum_is_left(self, leak):
        maximum, additive = la.confined_claims(la.accuracies(replace(FEW, leak=leak)))
        assert maximum.holds
        assert not additive.holds

    def test_a_leak_however_small_is_as_good_as_guessing_the_other_label(self):
        sealed, leaking = la.accuracies(FEW), la.accuracies(replace(FEW, leak=1e-9))
        np.testing.assert_allclose(leaking.first - sealed.first, 0.25, atol=1e-6)
        np.testing.assert_allclose(leaking.union, sealed.union, atol=1e-6)

    @pytest.mark.parametrize("leak", [0.05, 1.0, None])
    def test_what_adds_up_is_labels_of_their_own_and_not_the_support(self, leak):
        found = la.accuracies(replace(FEW, leak=leak, labels="own"))
        np.testing.assert_allclose(found.first + found.second, found.union, atol=1e-6)


class TestOverlappingSupport:
    @pytest.mark.parametrize("count", [10, 80])
    def test_either_task_and_a_mixture_of_as_many_are_equal(self, count):
        either, twice, as_many = la.overlapping_claims(la.accuracies(replace(FEW, leak=None, count=count)))
        assert either.holds
        assert as_many.holds
        assert not twice.holds

    def test_what_twice_as_many_add_vanishes_with_their_number(self):
        gains = []
        for count in (10, 40, 160):
            found = la.accuracies(replace(FEW, leak=None, count=count))
            gains.append(found.union - found.first)
        assert not la.at_most(gains[0], gains[1])
        assert not la.at_most(gains[1], gains[2])


@pytest.fixture(scope="module", params=[[1.0] * 8, [2.0**-i for i in range(8)]], ids=["flat", "steep"])
def found(request):
    return la.ranks(request.param)


class TestRank:
    def test_accuracy_rises_with_it(self, found):
        for low, high in zip(found.accuracy[:-1], found.accuracy[1:], strict=True):
            assert not la.at_most(high, low)

    def test_the_product_is_on_average_the_trace(self, found):
        assert within(found.product.T, found.trace)

    def test_the_trace_rises_with_it_and_bounds_nothing_beyond_one(self, found):
        assert np.all(np.diff(found.trace) > 0)
        assert found.trace[0] < 1 < found.trace[1]

    def test_the_trace_is_the_formula_of_the_lemma(self):
        found = la.ranks([1.0] * 8, tasks=2)
        np.testing.assert_allclose(found.trace, 40 * np.arange(1, 9) / 49)

    def test_the_printed_sum_is_the_trace_at_full_rank_only(self, found):
        assert found.printed[-1] == pytest.approx(found.trace[-1])
        assert np.all(found.printed[:-1] > found.trace[:-1] + 1e-3)

    def test_the_bound_fails_where_demonstrations_are_few(self):
        few = la.ranks([1.0] * 8, count=8)
        assert not la.at_most(few.accuracy[0], few.trace[0])


@pytest.fixture(scope="module")
def report():
    with contextlib.redirect_stdout(io.StringIO()) as written:
        la.main()
    return written.getvalue()


class TestTheReport:
    def test_tells_what_holds(self, report):
        told = {}
        for verdict, statement in re.findall(r"^  (holds|does not hold literally) +\S+ +(.+)$", report, re.MULTILINE):
            told.setdefault(statement, []).append(verdict == "holds")
        assert told == {
            "a red circle gives (1, 0), (0, 1), (1, 1)": [False],
            "the same up to the factor 1/7": [True],
            "red, circle: both labels of a red circle are right": [True],
            "red, circle: better than red, blue over the four composites": [False],
            "all four: Acc(S1) + Acc(S2) <= Acc(S1 u S2)": [True],
            "accuracy rises with the rank": [True] * 3,
            "the bound, the trace, rises with the rank": [True] * 3,
            "E<w, w_hat> = trace": [True] * 3,
            "E cos(w, w_hat) = trace": [False] * 3,
            "accuracy <= trace": [True, True, False],
            "this bound is below 1 at every rank, and so says something": [False] * 3,
            "the sum printed in the proof is the trace": [False] * 3,
        }

    def test_has_the_figures_of_the_page(self, report):
        theory = DOCS.read_text(encoding="utf-8").partition("\n## Theory\n")[2]
        numbers = set(re.findall(r"\b\d\.\d{2,3}\b", theory))
        assert numbers
        assert {number for number in numbers if number not in report} == set()
