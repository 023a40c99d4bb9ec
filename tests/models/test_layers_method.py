"""The method ``layers``: blocks that are cut are not run, and the stock model is not touched."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.flops import count_flops
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.reference.layers import Layers, find_blocks
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOWER = {"num_hidden_layers": 5, "num_attention_heads": 2, "hidden_size": 16, "image_size": 32, "patch_size": 8}
WIDE = TOWER | {"intermediate_size": 32}
TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32, "vocab_size": 64}
MODELS: dict[str, Callable[[], Any]] = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**WIDE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TOWER)),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(vision_config=WIDE, text_config=TEXT, projection_dim=8)),
    "siglip": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**WIDE)),
    "beit": lambda: hf.BeitModel(hf.BeitConfig(**WIDE)),
    "resnet": lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])),
    "swin": lambda: hf.SwinModel(
        hf.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4)
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    logging.disable_progress_bar()
    known: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in known:
            torch.manual_seed(0)
            known[kind] = tmp_path_factory.mktemp("checkpoints") / kind
            MODELS[kind]().save_pretrained(known[kind])
            hf.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(known[kind])
        return known[kind]

    return get


@pytest.fixture
def load(folder: Callable[[str], Path]) -> Callable[[str], HFVisionEncoder]:
    return lambda kind: HFVisionEncoder(str(folder(kind)))


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]


def flops(model: HFVisionEncoder, images: list[Image.Image]) -> int:
    return count_flops(model.module, model.prepare(images[:1])).value


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "siglip", "beit"])
def test_flops_fall_by_exactly_those_of_the_blocks(kind: str, load: Callable, images: list[Image.Image]) -> None:
    model = load(kind)
    counts = [flops(Layers(keep=keep).apply(model), images) for keep in (1, 2, 3, 4, 5)]
    steps = np.diff(counts)
    assert counts[-1] == flops(model, images)
    assert len(set(steps)) == 1
    tokens, width, hidden = 16 + (kind != "siglip"), 16, 64 if kind == "dinov2" else 32
    macs = tokens * width * (4 * width + 2 * hidden) + 2 * tokens * tokens * width
    assert steps[0] == 2 * macs


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "siglip", "beit"])
@pytest.mark.parametrize("keep", [1, 3, 5])
def test_the_output_is_that_of_the_stock_model_cut_by_hand(
    kind: str, keep: int, load: Callable, images: list[Image.Image]
) -> None:
    model, by_hand = load(kind), load(kind)
    blocks = {
        "vit": lambda encoder: encoder.layers,
        "beit": lambda encoder: encoder.layers,
        "dinov2": lambda encoder: encoder.encoder.layer,
        "clip": lambda encoder: encoder.vision_model.encoder.layers,
        "siglip": lambda encoder: encoder.encoder.layers,
    }[kind](by_hand.network)
    del blocks[keep:]
    assert np.array_equal(Layers(keep=keep).apply(model).embed(images), by_hand.embed(images))


def test_the_stock_model_stays_and_every_tensor_is_shared(load: Callable, images: list[Image.Image]) -> None:
    model = load("vit")
    before, weights = model.embed(images), copy.deepcopy(model.network.state_dict())
    cut = Layers(keep=2).apply(model)
    assert not np.allclose(cut.embed(images), before)
    assert np.array_equal(model.embed(images), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    whole = {tensor.data_ptr() for tensor in model.network.state_dict().values()}
    assert {tensor.data_ptr() for tensor in cut.network.state_dict().values()} < whole
    assert len(find_blocks(model.network)[1]) == 5


def test_keeping_all_changes_nothing(load: Callable, images: list[Image.Image]) -> None:
    model = load("dinov2")
    assert np.array_equal(Layers(keep=5).apply(model).embed(images), model.embed(images))


def test_the_pooling_stays(folder: Callable, images: list[Image.Image]) -> None:
    mean, cls = (HFVisionEncoder(str(folder("vit")), pooling=pooling) for pooling in ("mean", "cls"))
    assert np.array_equal(Layers(keep=5).apply(mean).embed(images), mean.embed(images))
    assert not np.allclose(Layers(keep=2).apply(mean).embed(images), Layers(keep=2).apply(cls).embed(images))


class Counted(torch.nn.Module):
    """An encoder of that many blocks."""

    def __init__(self, count: int) -> None:
        super().__init__()
        block = torch.nn.Module()
        block.attention = torch.nn.Identity()
        self.layers = torch.nn.ModuleList([block] * count)


def wrapped(count: int) -> HFVisionEncoder:
    model = object.__new__(HFVisionEncoder)
    model.module = torch.nn.Module()
    model.module.network, model.module.pooling = Counted(count), "cls"
    return model


@given(hundredths=st.integers(1, 100), count=st.integers(1, 48))
def test_a_budget_is_the_share_of_blocks_rounded_down_in_exact_arithmetic(hundredths: int, count: int) -> None:
    cut = Layers(budget=hundredths / 100).apply(wrapped(count))
    assert len(find_blocks(cut.network)[1]) == max(1, hundredths * count // 100)


def test_floating_point_would_have_rounded_wrong() -> None:
    """0.29 x 100 is 28.999999999999996 in floating point."""
    assert int(0.29 * 100) == 28
    assert len(find_blocks(Layers(budget=0.29).apply(wrapped(100)).network)[1]) == 29 == Fraction("0.29") * 100


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (0, "keep must be a whole number of at least 1, not 0"),
        (-1, "keep must be a whole number of at least 1, not -1"),
        (6, "cannot keep 6 of 5 layers; keep 1 to 5"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(keep: int, said: str, method: Callable, load: Callable) -> None:
    with pytest.raises(UserError, match=said):
        method("layers", keep=keep).apply(load("vit"))


def test_either_keep_or_a_budget_is_given(method: Callable) -> None:
    with pytest.raises(UserError, match="it says twice how many layers to keep"):
        method("layers", keep=2, budget=0.5)


def test_without_either_all_blocks_are_kept(load: Callable) -> None:
    assert len(find_blocks(Layers().apply(load("vit")).network)[1]) == 5


@pytest.mark.parametrize(("kind", "found"), [("resnet", "none"), ("swin", "2")])
def test_an_encoder_without_one_list_of_blocks_is_refused(kind: str, found: str, load: Callable) -> None:
    with pytest.raises(UserError, match=f"one list of transformer blocks; .* has {found}"):
        Layers(keep=1).apply(load(kind))


def test_a_model_that_is_no_encoder_is_refused() -> None:
    with pytest.raises(UserError, match="needs layers; 'tiny-llava' offers decoder, images, network, visual-tokens"):
        plan_model(load_plugins().registry, parse("tiny-llava+layers(keep=1)"))


def test_the_spec_runs_and_costs_less(folder: Callable, tmp_path: Path) -> None:
    task = "digits(ways=2,shots=1,queries=1,episodes=2)"
    specs = [f"hf:{folder('vit')}{method}" for method in ("", "+layers(keep=2)", "+layers@0.41", "+layers@0.99")]
    found = adaptbench.run(specs, task, out=tmp_path / "run").results
    whole, two, share, four = (result.flops.value for result in found)
    assert two == share < four < whole
    assert [result.cell.budget for result in found] == [1.0, 1.0, 0.41, 0.99]


def test_the_spec_is_refused_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'layers' needs layers"):
        adaptbench.run("pixels+layers(keep=1)", "digits(ways=5,shots=1,episodes=5)", out=tmp_path / "run")
