"""The nearest-centroid classifier, against a reference that follows its definition word by word."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.centroid import predict
from adaptbench.tasks.fewshot.episodes import draw
from adaptbench.tasks.fewshot.protocol import Protocol
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def cosine(one, two):
    lengths = np.sqrt(sum(one * one)) * np.sqrt(sum(two * two))
    return sum(one * two) / lengths if lengths else 0.0


def reference(features, support, query, *, normalise=False):
    """Cosines of each query with each class, one number at a time: [episodes, ways * queries, ways]."""
    wide = features.astype(np.longdouble)
    if normalise:
        wide = np.array([row / np.sqrt(sum(row * row)) for row in wide])
    return np.array(
        [
            [[cosine(wide[q], sum(wide[k] for k in row) / len(row)) for row in episode] for q in asked.ravel()]
            for episode, asked in zip(support, query, strict=True)
        ]
    )


def episodes(classes=6, each=8, *, seed=0, **protocol):
    labels = np.repeat(np.arange(classes), each)
    manifest = draw(labels, Protocol(**protocol), seed=seed, split="s", data="")
    return labels, manifest.support, manifest.query


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def accuracy(predicted, query):
    return (predicted == np.repeat(np.arange(query.shape[1]), query.shape[2])).mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_it_answers_as_the_definition_does(seed, shots, queries, width, normalise):
    _, support, query = episodes(seed=seed, ways=4, shots=shots, queries=queries, episodes=3)
    features = noise((48, width), seed) * np.exp(noise((48, 1), seed + 1))
    cosines = reference(features, support, query, normalise=normalise)
    ordered = np.sort(cosines, axis=2)
    clear = ordered[:, :, -1] - ordered[:, :, -2] > 1e-5
    assume(clear.any())
    answers = predict(features, support, query, centroid="mean-of-normalised" if normalise else "mean")
    assert (answers == cosines.argmax(axis=2))[clear].all()


def test_the_two_kinds_of_centroid_differ_for_more_than_one_shot():
    features = np.array([[100, 0], [0, 1], [-1, 1], [-1, 1], [1, 0.9]], dtype=np.float32)
    support, query = np.array([[[0, 1], [2, 3]]]), np.array([[[4], [1]]])
    assert predict(features, support, query).tolist() == [[0, 1]]
    assert predict(features, support, query, centroid="mean-of-normalised").tolist() == [[0, 0]]


@pytest.mark.parametrize("exponent", [-90, -60, -1, 1, 60, 120])
def test_a_common_scale_changes_nothing(exponent):
    _, support, query = episodes(ways=5, shots=2, queries=4, episodes=50)
    features = noise((48, 20))
    scaled = np.ldexp(features, exponent).astype(np.float32)
    assert (predict(features, support, query) == predict(scaled, support, query)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([1, 7, 64, 300]))
def test_an_answer_depends_on_its_own_episode_alone(seed, shots, width):
    """Cosines that lie within rounding of each other show it: a common scale or a product in common flips some."""
    _, support, query = episodes(seed=seed, ways=5, shots=shots, queries=3, episodes=40)
    features = noise((48, width), seed) * np.float32(1e-4) + np.float32(1 / 3)
    whole = predict(features, support, query)
    cuts = np.sort(np.random.default_rng(seed).integers(0, 40, 3))
    order = np.random.default_rng(seed).permutation(40)
    parts = [predict(features, support[rows], query[rows]) for rows in np.split(order, cuts) if len(rows)]
    assert (np.concatenate(parts) == whole[order]).all()
    for index in range(3):
        alone = np.full_like(features, np.nan)
        used = np.concatenate([support[index].ravel(), query[index].ravel()])
        alone[used] = features[used]
        assert (predict(alone, support[index : index + 1], query[index : index + 1])[0] == whole[index]).all()


def test_separated_classes_are_all_recognised():
    labels, support, query = episodes(classes=20, each=20, episodes=60)
    centres = np.eye(20, dtype=np.float32) * 50
    assert accuracy(predict(centres[labels] + noise((400, 20)), support, query), query) == 1.0


def test_noise_is_recognised_as_often_as_chance():
    _, support, query = episodes(classes=20, each=20, episodes=400)
    found = accuracy(predict(noise((400, 32)), support, query), query)
    assert abs(found - 1 / 15) < 4 * np.sqrt(1 / 15 * 14 / 15 / (400 * 15))


@pytest.mark.parametrize(("ways", "queries"), [(2, 15), (3, 1), (5, 9), (10, 5), (15, 15), (18, 15), (33, 9)])
@pytest.mark.parametrize("width", [1, 64, 100, 512])
def test_equal_cosines_go_to_the_lowest_class(ways, queries, width):
    """A product of matrices may round equal columns differently; that must not decide."""
    _, support, query = episodes(classes=ways, each=20, ways=ways, shots=3, queries=queries, episodes=5)
    collapsed = np.tile(noise(width, 4), (ways * 20, 1))
    assert not predict(collapsed, support, query).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([8, 40, 100, 513]), st.sampled_from([1.0, 0.1, 1e-30, 3e38]))
def test_equal_cosines_of_different_centroids_go_to_the_lowest_class(seed, width, value):
    """Of binary embeddings, whole numbers tell which cosines are equal: those of equal (c q)^2 / (c c)."""
    _, support, query = episodes(seed=seed, ways=5, shots=1, queries=3, episodes=8)
    binary = (noise((48, width), seed) > 0).astype(np.int64)
    inner, squares = (binary @ binary.T).tolist(), binary.sum(axis=1).tolist()

    def nearest(asked, classes):
        found = [Fraction(inner[asked][c] ** 2, max(1, squares[c])) for c in classes]
        return found.index(max(found))

    expected = [[nearest(q, few.ravel()) for q in many.ravel()] for few, many in zip(support, query, strict=True)]
    assert predict(binary.astype(np.float32) * np.float32(value), support, query).tolist() == expected


@pytest.mark.parametrize(("height", "answer"), [(2e-4, 1), (2e-5, 0)])
def test_cosines_are_equal_within_the_tolerance(height, answer):
    """They differ by half the square of the height: by 2e-8, which float32 cannot tell, or by 2e-10."""
    features = np.array([[1, height], [1, 0], [1, 0]], dtype=np.float32)
    assert predict(features, np.array([[[0], [1]]]), np.array([[[2], [2]]])).tolist() == [[answer, answer]]


def test_two_equal_classes_share_the_lower_one():
    features = noise((6, 64))
    features[4] = features[2]
    support, query = np.array([[[0], [2], [4]]]), np.array([[[1], [2], [4]]])
    assert predict(features, support, query)[0, 1:].tolist() == [1, 1]


def test_zeros_have_cosine_zero_with_everything():
    features = np.array([[0, 0], [1, 0], [-1, 0], [0, 0], [-1, 0], [1, 0]], dtype=np.float32)
    support, query = np.array([[[0], [1], [2]]]), np.array([[[3], [4], [5]]])
    assert predict(features, support, query).tolist() == [[0, 2, 1]]


def test_shots_that_cancel_out_are_a_centroid_of_zeros():
    features = np.array([[3, 1], [-3, -1], [-1, 0], [-1, 1], [1, 0], [-5, 0]], dtype=np.float32)
    support, query = np.array([[[0, 1], [2, 3]]]), np.array([[[4], [5]]])
    assert predict(features, support, query).tolist() == [[0, 1]]


def test_directions_that_cancel_out_are_a_centroid_of_zeros():
    """What their rounding leaves has a direction, which must not decide."""
    for row, other in zip(noise((20, 7)), noise((20, 7), 1), strict=True):
        aside = other - (0.01 + other @ row / (row @ row)) * row
        features = np.array([aside, row, row * -3, -row], dtype=np.float32)
        support, query = np.array([[[0, 0], [1, 2]]]), np.array([[[3], [1]]])
        assert predict(features, support, query, centroid="mean-of-normalised").tolist() == [[0, 1]]


def test_the_largest_numbers_do_not_overflow():
    largest = np.finfo(np.float32).max
    features = np.sign(noise((48, 40))) * largest
    _, support, query = episodes(ways=4, shots=3, queries=2, episodes=20)
    assert (predict(features, support, query) == predict(np.sign(features), support, query)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["support", "query"])
def test_numbers_that_are_not_finite_are_refused_where_they_are_used(value, place):
    _, support, query = episodes(ways=4, shots=2, queries=2, episodes=8)
    features = noise((48, 5))
    bad = (support if place == "support" else query)[1, 2, 1]
    features[bad, 3] = value
    for index in range(8):
        rows = slice(index, index + 1)
        if bad in np.concatenate([support[rows], query[rows]], axis=2):
            with pytest.raises(UserError, match=f"image {bad} holds NaN or infinity"):
                predict(features, support[rows], query[rows])
        else:
            predict(features, support[rows], query[rows])


def test_an_unknown_centroid_is_refused():
    _, support, query = episodes(ways=4, queries=2, episodes=1)
    with pytest.raises(UserError, match="mean-of-normalised"):
        predict(noise((48, 5)), support, query, centroid="median")
