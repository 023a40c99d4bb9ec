"""Few-shot episodes as a task: from embeddings to scores, whatever a model puts out."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench.harness.contracts import Input, Sample
from adaptbench.harness.stats import mean_interval
from adaptbench.tasks.fewshot.images import ImageSet
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.task import FewShot
from hypothesis import given
from hypothesis import strategies as st

CLASSES, EACH = 20, 20
LABELS = np.repeat(np.arange(CLASSES), EACH)


def image_set(digests=None):
    digests = digests or [f"{index:064x}" for index in range(CLASSES * EACH)]
    return ImageSet("set", tuple(map(str, range(CLASSES))), LABELS, [Input(digest, lambda: None) for digest in digests])


def task_of(**protocol):
    return FewShot(image_set(), Protocol(**{"episodes": 30} | protocol))


def scores(task, embeddings):
    outputs = task.outputs(task.samples, np.asarray(embeddings, dtype=np.float32))
    parsed = [task.parse(sample, output) for sample, output in zip(task.samples, outputs, strict=True)]
    return np.array([task.score(*pair)["accuracy"] for pair in zip(task.samples, parsed, strict=True)])


@pytest.mark.parametrize("shots", [1, 5])
def test_an_oracle_is_always_right(shots):
    assert (scores(task_of(shots=shots), np.eye(CLASSES)[LABELS]) == 1.0).all()


@pytest.mark.parametrize("width", [1, 512])
@pytest.mark.parametrize("protocol", [{}, {"ways": 5, "shots": 5}, {"ways": 7, "queries": 9}])
def test_a_constant_is_right_for_one_class_of_each_episode(protocol, width):
    task = task_of(**protocol)
    constant = np.tile(np.random.default_rng(0).standard_normal(width), (len(LABELS), 1))
    assert (scores(task, constant) == 1 / task.protocol.ways).all()


def test_an_anti_oracle_is_worse_than_chance():
    """Its queries are the opposite of their class, its supports are not: every other class is nearer."""
    task = FewShot(image_set(), Protocol(ways=5, queries=10, episodes=1))
    embeddings = np.eye(CLASSES)[LABELS]
    embeddings[task.manifest.query.ravel()] *= -1
    assert (scores(task, embeddings) == 0).all()


def test_an_accuracy_is_the_share_of_right_queries():
    task = task_of(ways=2, queries=5, episodes=1)
    sample = task.samples[0]
    assert sample.target == [0] * 5 + [1] * 5
    assert task.score(sample, [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]) == {"accuracy": 0.7}


def test_a_sample_names_its_images_and_no_others():
    task = task_of(ways=5, shots=2, queries=3)
    for index, sample in enumerate(task.samples):
        support, query = task.manifest.support[index], task.manifest.query[index]
        assert sorted(sample.inputs) == sorted([*support.ravel(), *query.ravel()])
        assert sample.id == f"episode-{index:05d}"


def test_scoring_parts_in_any_order_gives_the_same_outputs():
    task = task_of(ways=5, queries=4)
    embeddings = np.random.default_rng(1).standard_normal((len(LABELS), 16)).astype(np.float32)
    whole = task.outputs(task.samples, embeddings)
    backwards = [task.outputs([sample], embeddings)[0] for sample in reversed(task.samples)]
    assert backwards[::-1] == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(json_values | st.lists(st.integers(-2, 4) | st.booleans() | st.floats(0, 2), min_size=6, max_size=6))
def test_any_output_is_read_or_left_unscored(output):
    task = FewShot(image_set(), Protocol(ways=3, queries=2, episodes=1))
    parsed = task.parse(task.samples[0], output)
    valid = isinstance(output, list) and len(output) == 6 and all(type(c) is int and 0 <= c < 3 for c in output)
    assert (parsed == output) if valid else parsed is None
    score = task.score(task.samples[0], parsed)
    assert score is None if parsed is None else 0 <= score["accuracy"] <= 1


def test_images_of_equal_content_count_once():
    digests = [f"{index // 2:064x}" for index in range(CLASSES * EACH)]
    task = FewShot(image_set(digests), Protocol(ways=5, queries=9, episodes=20))
    assert len(task.inputs) == CLASSES * EACH // 2
    assert len({image.digest for image in task.inputs}) == len(task.inputs)
    for sample in task.samples:
        assert len({task.inputs[position].digest for position in sample.inputs}) == 50


def test_the_interval_is_students_over_episodes():
    """t quantile of 1,499 degrees of freedom: 1.9615 standard errors (facts: t at 0.975)."""
    values = np.random.default_rng(0).normal(0.6, 0.06, 1500)
    found = mean_interval(values, noun="episode")
    assert (found.high - found.low) / 2 == pytest.approx(1.9615 * values.std(ddof=1) / np.sqrt(1500), rel=5e-5)
    assert "episodes" in found.method


def test_samples_satisfy_the_contract():
    assert all(isinstance(sample, Sample) for sample in task_of().samples)
    assert task_of(ways=5).card.chance == 0.2
