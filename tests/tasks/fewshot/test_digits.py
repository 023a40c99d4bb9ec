"""The handwritten digits, and what the plainest model makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.stats import mean_interval
from adaptbench.tasks.fewshot.digits import digits
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.task import FewShot
from sklearn.datasets import load_digits


def test_they_are_all_there_by_class():
    images = digits()
    assert images.classes == tuple("0123456789")
    assert np.bincount(images.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (np.diff(images.labels) >= 0).all()
    assert len({image.digest for image in images.images}) == 1797


def test_pixels_are_those_of_the_data_set():
    data, images = load_digits(), digits()
    fives = data.images[data.target == 5]
    shown = [
        np.asarray(image.load())[..., 0]
        for image, label in zip(images.images, images.labels, strict=True)
        if label == 5
    ]
    assert np.abs(np.array(shown) - fives * 255 / 16).max() < 1


@pytest.mark.parametrize(("shots", "published", "half"), [(1, 0.735, 0.008), (5, 0.893, 0.004)])
def test_raw_pixels_score_what_was_measured_elsewhere(shots, published, half):
    """5-way over 600 episodes: 73.5 +- 0.8 % with one shot, 89.3 +- 0.4 % with five; both draws have an interval."""
    task = FewShot(digits(), Protocol(ways=5, shots=shots, episodes=600))
    pixels = np.array([np.asarray(image.load())[..., 0].ravel() for image in task.inputs], dtype=np.float32)
    outputs = task.outputs(task.samples, pixels)
    scores = [
        task.score(sample, task.parse(sample, out))["accuracy"]
        for sample, out in zip(task.samples, outputs, strict=True)
    ]
    found = mean_interval(np.array(scores))
    assert abs(found.value - published) < 1.5 * half
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)


def test_there_is_one_split():
    with pytest.raises(UserError, match="no split 'train'; use split=test"):
        digits("train")
