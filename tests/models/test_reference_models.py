"""The reference models: what they give, that they give it again, and that the predictors know nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import array_digest
from adaptbench.models.reference.constant import constant
from adaptbench.models.reference.hog import hog
from adaptbench.models.reference.pixels import pixels
from adaptbench.models.reference.random_features import random_features
from adaptbench.models.reference.random_vectors import random_vectors
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODELS: dict[str, tuple[Callable[[], Any], int]] = {
    "constant": (constant, 1),
    "random": (random_vectors, 64),
    "pixels": (pixels, 32 * 32),
    "random-features": (random_features, 512),
    "hog": (hog, 3 * 3 * (2 * 2) * 9),
}
SEEDED = {"random": random_vectors, "random-features": random_features}

DIGESTS = """
import json, sys
import numpy as np
from PIL import Image
from adaptbench.harness.hashing import array_digest
from adaptbench.harness.plugins import load_plugins
images = [Image.fromarray(np.arange(27 * n, 27 * n + 300, dtype=np.uint8).reshape(10, 10, 3)) for n in range(5)]
registry = load_plugins().registry
print(json.dumps({n: array_digest(registry.find("model", n).factory()().embed(images)) for n in sys.argv[1:]}))
"""


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(5)]


@pytest.mark.parametrize("name", MODELS)
def test_one_vector_an_image_whatever_the_batch(name: str, images: list[Image.Image]) -> None:
    make, width = MODELS[name]
    model = make()
    vectors = model.embed(images)
    assert vectors.shape == (5, width)
    assert vectors.dtype == np.float32
    alone = np.concatenate([model.embed([image]) for image in images])
    assert np.allclose(alone, vectors, atol=1e-6)


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """Digests of the vectors of each model, from a process whose strings have other hashes."""
    command = [sys.executable, "-c", DIGESTS, *MODELS]
    environment = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


@pytest.mark.parametrize("name", MODELS)
def test_another_process_gives_the_same_vectors(name: str, digests: dict[str, str]) -> None:
    images = [Image.fromarray(np.arange(27 * n, 27 * n + 300, dtype=np.uint8).reshape(10, 10, 3)) for n in range(5)]
    assert array_digest(MODELS[name][0]().embed(images)) == digests[name]


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_is_a_draw(name: str, images: list[Image.Image]) -> None:
    make = SEEDED[name]
    first, again, other = (make(seed=seed).embed(images) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_drawing_leaves_the_generators_of_others_alone(images: list[Image.Image]) -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    random_features().embed(images)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("rgb", "grey"), [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((9, 9, 9), 9)])
def test_colours_become_their_luma(rgb: tuple[int, int, int], grey: int) -> None:
    vectors = pixels(size=2).embed([Image.new("RGB", (2, 2), rgb)])
    assert np.array_equal(vectors, np.full((1, 4), grey / 255, dtype=np.float32))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_every_mode_of_a_grey_image_gives_the_same(mode: str) -> None:
    square = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert np.array_equal(pixels(8).embed([square.convert(mode)]), pixels(8).embed([square]))


def test_pixels_of_the_right_size_are_the_pixels_and_others_are_resized(images: list[Image.Image]) -> None:
    square = images[0].convert("L").crop((0, 0, 16, 16))
    assert np.array_equal(pixels(16).embed([square])[0], np.asarray(square, dtype=np.float32).ravel() / 255)
    half = pixels(8).embed([square])
    assert half.shape == (1, 64)
    assert half.min() >= 0
    assert half.max() <= 1


def test_random_features_are_a_relu_that_brightness_does_not_change(images: list[Image.Image]) -> None:
    model = random_features(dims=256)
    dim = images[0].point(lambda value: value // 2)
    bright = dim.point(lambda value: value + 60)
    one, other = model.embed([dim, bright])
    assert one.min() == 0 < one.max()
    assert 0.3 < (one > 0).mean() < 0.7
    assert np.corrcoef(one, other)[0, 1] > 0.999


def test_hog_sees_edges_and_not_brightness() -> None:
    vertical = np.zeros((32, 32, 3), dtype=np.uint8)
    vertical[:, 16:] = 200
    one, brighter, turned = hog().embed(
        [Image.fromarray(a) for a in (vertical, vertical + 50, vertical.transpose(1, 0, 2).copy())]
    )
    assert np.allclose(one, brighter, atol=1e-5)
    assert not np.allclose(one, turned, atol=0.1)


def test_hog_without_scikit_image_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(UserError, match=r"adaptbench\[images\]"):
        hog()


def test_random_vectors_are_uniform_and_depend_on_the_pixels_alone(images: list[Image.Image]) -> None:
    model = random_vectors(dims=4000)
    vectors = model.embed([*images, images[0].copy()])
    assert np.array_equal(vectors[0], vectors[-1])
    assert len(np.unique(vectors, axis=0)) == len(images)
    assert vectors.min() >= -1
    assert vectors.max() < 1
    assert abs(vectors.mean()) < 0.02
    assert abs(vectors.var() - 1 / 3) < 0.01


def scores(path: Path) -> list[float]:
    records = [json.loads(line) for file in path.rglob("records.jsonl") for line in file.read_text().splitlines()]
    return [record["scores"]["accuracy"] for record in records]


@pytest.mark.parametrize(("ways", "shots"), [(2, 1), (5, 5), (10, 1)])
def test_the_constant_predictor_scores_one_way_of_all_exactly(ways: int, shots: int, tmp_path: Path) -> None:
    result = adaptbench.run("constant", f"digits(ways={ways},shots={shots},episodes=8)", out=tmp_path).results[0]
    assert result.metrics["accuracy"].value == pytest.approx(1 / ways, abs=1e-15)
    assert scores(tmp_path) == [1 / ways] * 8


def test_the_random_predictor_scores_about_chance_and_real_features_more(tmp_path: Path) -> None:
    def accuracy(models: list[str], episodes: int) -> list[float]:
        task = f"digits(ways=5,shots=1,episodes={episodes})"
        results = adaptbench.run(models, task, out=tmp_path / str(episodes)).results
        return [result.metrics["accuracy"].value for result in results]

    assert abs(accuracy(["random"], 60)[0] - 0.2) < 0.03  # 4,500 guesses: a standard error of 0.006
    assert min(accuracy(["pixels", "random-features", "hog"], 8)) > 0.4


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "size=0 is not a side of an image"),
        (100_000, r"an image of 100,000 x 100,000 pixels takes 130.0 GB of memory, of which 8.0 are free"),
    ],
)
def test_images_of_a_size_that_cannot_be_are_refused(monkeypatch, size, message):
    monkeypatch.setattr("adaptbench.models.reference.pixels.free_memory", lambda: 8_000_000_000)
    with pytest.raises(UserError, match=message):
        pixels(size).embed([Image.new("RGB", (2, 2))])


def test_images_that_do_not_fit_together_are_asked_for_in_smaller_batches(monkeypatch):
    monkeypatch.setattr("adaptbench.models.reference.pixels.free_memory", lambda: 8_000_000_000)
    with pytest.raises(MemoryError):
        pixels(20_000).embed([Image.new("RGB", (2, 2))] * 64)
