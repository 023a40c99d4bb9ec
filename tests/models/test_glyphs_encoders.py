"""The small encoders of letters, their recipe, and the finetuned checkpoints that ship for them."""

from __future__ import annotations

import json
from pathlib import Path

import adaptbench
import numpy as np
import pytest
import torch
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.errors import UserError
from adaptbench.models.reference import glyphs_encoders
from adaptbench.models.reference.glyphs_encoder_recipe import train_glyphs_encoder
from adaptbench.models.reference.train_glyphs_encoder import view
from PIL import Image

ENCODERS = {
    "glyphs-supervised": glyphs_encoders.glyphs_supervised,
    "glyphs-contrastive": glyphs_encoders.glyphs_contrastive,
    "glyphs-random": glyphs_encoders.glyphs_random,
}
pytestmark = pytest.mark.usefixtures("without_collection")
SMALL = {"scripts": "arabic", "per_class": 2, "steps": 2, "batch": 4, "threads": 1}


@pytest.mark.parametrize("name", ENCODERS)
def test_each_is_small_and_ships_three_trainings_of_each_method(name) -> None:
    factory = ENCODERS[name]
    model = factory()
    image = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3))
    assert model.embed([image]).shape == (1, 48)
    assert sum(part.numel() for part in model.network.parameters()) < 60_000
    assert factory.checkpoints.keys() == {"multitask-ft", "standard-ft", "lp-ft", "maml"}
    for names in factory.checkpoints.values():
        assert [json.loads((Path(names[f"seed{n}"]) / "recipe.json").read_text())["seed"] for n in range(3)] == [
            0,
            1,
            2,
        ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Objective -> folder of a training of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    for objective in ("supervised", "contrastive", "random"):
        train_glyphs_encoder(folder / objective, objective=objective, **SMALL)
    return folder


def test_objectives_begin_alike_and_end_apart(trained, tmp_path) -> None:
    image = [Image.new("RGB", (32, 32), "white")]
    vectors = {
        path.name: HFVisionEncoder(str(path / "model"), pooling="mean").embed(image) for path in trained.iterdir()
    }
    assert not np.allclose(vectors["supervised"], vectors["random"], atol=1e-3)
    assert not np.allclose(vectors["supervised"], vectors["contrastive"], atol=1e-3)


def test_what_is_there_is_not_trained_again_and_another_training_is_refused(trained) -> None:
    folder = trained / "supervised"
    before = (folder / "model" / "model.safetensors").read_bytes()
    train_glyphs_encoder(folder, objective="supervised", **SMALL)
    assert (folder / "model" / "model.safetensors").read_bytes() == before
    with pytest.raises(UserError, match="another training is there, with seed 0"):
        train_glyphs_encoder(folder, objective="supervised", **SMALL, seed=1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"objective": "guess"}, "unknown objective 'guess'"),
        ({"steps": 0}, "steps=0 is less than 1"),
        ({"batch": 1}, "batch=1 is less than 2"),
        ({"per_class": 1}, "per_class=1 is less than 2"),
        ({"rate": "fast"}, "rate=fast is not a positive number"),
        ({"temperature": 0}, "temperature=0 is not a positive number"),
        ({"scripts": "klingon"}, "no script 'klingon'"),
    ],
)
def test_bad_options_are_one_line(asked, message, tmp_path) -> None:
    with pytest.raises(UserError, match=message):
        train_glyphs_encoder(tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_views_depend_on_the_draw_alone_and_differ() -> None:
    pixels = torch.rand(3, 32, 32) * 2 - 1
    first, again, other = (view(pixels, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape == pixels.shape
    assert not torch.allclose(first, other)


def test_multitask_finetuning_helps_on_letters_that_no_training_saw(tmp_path) -> None:
    task = "glyphs(scripts=hebrew,per_class=5,ways=5,shots=1,queries=4,episodes=60)"
    models = ["glyphs-contrastive", "glyphs-contrastive+multitask-ft"]
    direct, finetuned = (
        result.metrics["accuracy"].value for result in adaptbench.run(models, task, out=tmp_path / "run").results
    )
    assert finetuned > direct + 0.03
