"""What an episode is: drawn from enough classes, never an image twice, and the same wherever it is drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.episodes import draw
from adaptbench.tasks.fewshot.protocol import Protocol
from hypothesis import given
from hypothesis import strategies as st

GLYPHS = np.repeat(np.arange(406), 20)
DIGITS = np.repeat(np.arange(10), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
GOLDEN = """
import numpy as np
from adaptbench.tasks.fewshot.episodes import draw
from adaptbench.tasks.fewshot.protocol import Protocol
glyphs = np.repeat(np.arange(406), 20)
digits = np.repeat(np.arange(10), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
print(draw(glyphs, Protocol(), seed=0, split="glyphs/test", data="").digest)
print(draw(digits, Protocol(ways=5), seed=0, split="digits/test", data="").digest)
"""


def drawn(labels, *, seed=0, split="set", **protocol):
    return draw(np.asarray(labels), Protocol(**protocol), seed=seed, split=split, data="")


@st.composite
def feasible(draw_from):
    """Labels with at least ``ways`` classes that are large enough, in any order, and a protocol."""
    shots, queries = draw_from(st.integers(1, 4)), draw_from(st.integers(1, 4))
    ways = draw_from(st.integers(2, 6))
    large = draw_from(st.lists(st.integers(shots + queries, 12), min_size=ways, max_size=ways + 4))
    small = draw_from(st.lists(st.integers(0, shots + queries - 1), max_size=4))
    sizes = draw_from(st.permutations(large + small))
    labels = np.repeat(np.arange(len(sizes)) * 3, sizes)
    return labels, {"ways": ways, "shots": shots, "queries": queries, "episodes": draw_from(st.integers(1, 12))}


@given(feasible(), st.integers(0, 2**40))
def test_an_episode_has_exact_counts_distinct_classes_and_no_image_twice(case, seed):
    labels, protocol = case
    episodes = drawn(labels, seed=seed, **protocol)
    shape = (protocol["episodes"], protocol["ways"])
    assert episodes.support.shape == (*shape, protocol["shots"])
    assert episodes.query.shape == (*shape, protocol["queries"])
    for support, query in zip(episodes.support, episodes.query, strict=True):
        images = np.concatenate([support, query], axis=1)
        assert len(np.unique(images)) == images.size
        classes = labels[images]
        assert (classes == classes[:, :1]).all()
        assert len(np.unique(classes[:, 0])) == protocol["ways"]
        assert all(np.sum(labels == label) >= images.shape[1] for label in classes[:, 0])


@given(feasible(), st.integers(0, 9), st.integers(1, 30))
def test_an_episode_does_not_depend_on_how_many_are_drawn(case, seed, more):
    labels, protocol = case
    few = drawn(labels, seed=seed, **protocol)
    many = drawn(labels, seed=seed, **protocol | {"episodes": protocol["episodes"] + more})
    assert (many.support[: len(few.support)] == few.support).all()
    assert (many.query[: len(few.query)] == few.query).all()


@given(feasible(), st.integers(0, 9))
def test_more_shots_or_queries_begin_with_the_same_images(case, seed):
    """The first images of a class are drawn in one order, of which shots and queries take their parts."""
    labels, protocol = case
    one = drawn(labels, seed=seed, **protocol | {"shots": 1, "queries": protocol["queries"] + protocol["shots"] - 1})
    many = drawn(labels, seed=seed, **protocol)
    both = [np.concatenate([episodes.support, episodes.query], axis=2) for episodes in (one, many)]
    assert (both[0] == both[1]).all()


def test_workers_that_draw_at_the_same_time_draw_the_same():
    with ThreadPoolExecutor(4) as workers:
        manifests = list(workers.map(lambda _: drawn(DIGITS, ways=5, episodes=50).digest, range(8)))
    assert len(set(manifests)) == 1


def test_seed_and_split_change_the_episodes():
    base = drawn(DIGITS, ways=5, episodes=20)
    assert (drawn(DIGITS, ways=5, episodes=20, seed=1).query != base.query).any()
    assert (drawn(DIGITS, ways=5, episodes=20, split="other").query != base.query).any()


def test_every_image_and_class_is_as_likely_as_any_other():
    """3,000 episodes of 2 of 5 classes, 2 of 7 images: each class 1,200 times, each image 3,000 * 4 / 35 times."""
    labels = np.repeat(np.arange(5), 7)
    episodes = drawn(labels, ways=2, shots=1, queries=1, episodes=3000)
    used = np.concatenate([episodes.support, episodes.query], axis=2)
    classes = np.bincount(labels[used[:, :, 0]].ravel())
    images = np.bincount(used.ravel(), minlength=35)
    assert np.abs(classes - 1200).max() < 5 * np.sqrt(3000 * 0.4 * 0.6)
    assert np.abs(images - 12_000 / 35).max() < 5 * np.sqrt(12_000 / 35)


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_the_default_episodes_are_these_on_every_platform(hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", GOLDEN],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "fc3e3de8f3915ac68f05489dfa29916bf41868f8234caa76b535e2bac81d0342",
        "a3750268530ae8bbfbee01bbe92984bf27e177b6e30db464456addf4096fe9fe",
    ]


def test_the_first_episode_is_this_one():
    episodes = drawn(GLYPHS, split="glyphs/test", episodes=1)
    assert episodes.support[0, :, 0].tolist() == [
        1993,
        5133,
        5598,
        1256,
        4279,
        5033,
        1096,
        4156,
        1176,
        2703,
        1385,
        7134,
        921,
        6773,
        5383,
    ]


def test_too_few_classes_are_refused_with_the_numbers():
    labels = np.repeat(np.arange(20), [16] * 14 + [15] * 6)
    with pytest.raises(UserError, match="only 14 classes have the 16 images that 1 shots and 15 queries need; 15 ways"):
        drawn(labels)
    assert drawn(labels, queries=14, episodes=1).support.shape == (1, 15, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"ways": 1}, {"shots": -1}, {"queries": 0}, {"episodes": 0}, {"ways": 2.0}, {"shots": True}, {"ways": "5"}],
)
def test_a_protocol_is_of_whole_positive_numbers(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Protocol(**wrong)


def test_the_default_protocol_is_that_of_the_dissertation():
    assert Protocol() == Protocol(ways=15, shots=1, queries=15, episodes=1500)
