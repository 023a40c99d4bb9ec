"""TRIM keeps the patches that CLIP puts beside the question, as a plain computation of its rules says."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.text_half import clip_l, load_text_half
from adaptbench.adapters.tower_signals import TowerSignals
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.models.pruning.trim import Trim
from adaptbench.models.reference.tiny_llava import WEIGHTS, tiny_llava
from adaptbench.models.reference.tiny_llava_batches import Conversations
from adaptbench.models.reference.tiny_vlms import tiny_internvl, tiny_qwen_vl
from adaptbench.models.reference.train_tiny_text import Recipe, make_config, make_tokenizer, train
from adaptbench.tasks.dice import Dice
from adaptbench.tasks.multimodal.shapes_data import write
from adaptbench.tasks.multimodal.shapes_drawing import draw_scene
from adaptbench.tasks.multimodal.shapes_questions import ask_open
from adaptbench.tasks.multimodal.shapes_world import make_scene

pytestmark = pytest.mark.usefixtures("one_thread")
QUESTIONS = ["What color is the large star?", "How many red circles are there?", "Describe the square."]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any]:
    """A whole CLIP of random weights: folder, transformers' model, tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("clip"), make_tokenizer()
    torch.manual_seed(0)
    model = hf.CLIPModel(make_config(tokenizer)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder), model, tokenizer


def signals(images: int = 3, patches: int = 64, dtype: torch.dtype = torch.float32) -> Any:
    features = torch.randn(images, patches, 128, generator=torch.Generator().manual_seed(1)).to(dtype)
    return SimpleNamespace(features=features, questions=QUESTIONS[:images])


def products(clip: tuple[str, Any, Any], tower: Any) -> np.ndarray:
    """Of each patch with the question, [images, N], patch by patch in float64, the text by transformers' own CLIP."""
    _, model, tokenizer = clip
    norm, weight = model.vision_model.post_layernorm, model.visual_projection.weight.double().numpy()
    scale, shift = norm.weight.double().numpy(), norm.bias.double().numpy()
    found = []
    for question, image in zip(tower.questions, tower.features.double().numpy(), strict=True):
        told = model.get_text_features(**tokenizer([question], return_tensors="pt"))
        text = getattr(told, "pooler_output", told)[0].double().numpy()
        row = []
        for patch in image:
            centred = patch - patch.mean()
            row.append(weight @ (centred / np.sqrt((centred**2).mean() + norm.eps) * scale + shift) @ text)
        found.append(row)
    return np.array(found)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("flip", [True, False])
def test_it_keeps_what_a_plain_computation_keeps(clip: Any, dtype: torch.dtype, flip: bool) -> None:
    tower, method = signals(dtype=dtype), Trim(keep=9, flip=flip, text=clip[0])
    wanted = products(clip, tower) * (-1 if flip else 1)
    for image, scores, plain in zip(tower.features, method.scores(tower), wanted, strict=True):
        kept = method.chosen(scores).tolist()
        assert kept == sorted(set(kept))
        others = [place for place in range(64) if place not in kept]
        assert plain[kept].min() > plain[others].max() - 1e-4 * np.abs(plain).max()
        tokens = method.pick(image, scores)
        assert torch.equal(tokens[:9], image[kept])
        mean = np.mean([image[place].double().numpy() for place in others], axis=0)
        assert np.allclose(tokens[9].double(), mean, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)
        assert tokens.dtype == dtype


@torch.inference_mode()
def test_outliers_are_each_images_own(clip: Any) -> None:
    tower, method = signals(), Trim(share=-1, text=clip[0])
    for number, (scores, plain) in enumerate(zip(method.scores(tower), -products(clip, tower), strict=True)):
        shares = np.exp(plain - plain.max())
        low, high = np.quantile(shares, [0.25, 0.75])
        chosen = method.chosen(scores).tolist()
        assert chosen == np.flatnonzero(shares > high + 1.5 * (high - low)).tolist()
        alone = SimpleNamespace(features=tower.features[[number]], questions=[tower.questions[number]])
        assert method.origins(alone)[0].tolist() == [*chosen, -1]
    assert Trim(share=-1).chosen(torch.zeros(8)).tolist() == [0]


@torch.inference_mode()
def test_patches_in_another_order_are_kept_in_another_order(clip: Any) -> None:
    tower, method = signals(), Trim(keep=9, text=clip[0])
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    moved = SimpleNamespace(features=tower.features[:, order], questions=tower.questions)
    for one, other in zip(method.scores(tower), method.scores(moved), strict=True):
        assert sorted(order[method.chosen(other)].tolist()) == method.chosen(one).tolist()


def test_the_highest_scores_are_kept_and_of_equal_ones_the_first() -> None:
    scores = torch.tensor([0.0, 3, 1, 3, 2, 3])
    assert Trim(keep=2).chosen(scores).tolist() == [1, 3]
    assert Trim(keep=4).chosen(scores).tolist() == [1, 3, 4, 5]
    features = torch.arange(6.0)[:, None]
    assert Trim(keep=3).pick(features, scores)[:, 0].tolist() == [1, 3, 5, 2]
    assert Trim(keep=3, mean=False).pick(features, scores)[:, 0].tolist() == [1, 3, 5]
    assert Trim(keep=6).pick(features, scores)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("options", "left"), [
    ({"share": 0.111}, 65), ({"share": 0.111, "mean": False}, 64), ({"keep": 64}, 65), ({"keep": 576}, 576),
    ({"share": 1.0}, 576), ({"share": 0.0001}, 2),
])  # fmt: skip
def test_counts_are_exact(options: dict[str, Any], left: int) -> None:
    method = Trim(**options)
    assert method.kept(576) == left
    assert len(method.pick(torch.randn(576, 4), torch.randn(576))) == left


def test_an_image_is_cut_alike_among_others() -> None:
    base = tiny_llava()
    method = Trim(keep=15).for_base(tiny_llava)
    images = torch.randn(16, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    questions = [f"{QUESTIONS[number % 3]}{' Why?' * (number // 3)}" for number in range(16)]
    with torch.inference_mode():
        alone = [method(base.network, images[[n]], [questions[n]])[0] for n in range(16)]
        for count in (2, 16):
            together = method(base.network, images[:count], questions[:count])
            for one, other in zip(alone, together, strict=False):
                assert one.shape == (16, 128)
                assert torch.allclose(one, other, atol=1e-4)


def test_a_text_that_is_too_long_is_cut_and_that_is_said(clip: Any, caplog: pytest.LogCaptureFixture) -> None:
    half = load_text_half(clip[0])
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        short = half.texts([" ".join(["star"] * 38)])
        assert not caplog.messages
        long = half.texts([" ".join(["star"] * 50)])
        for _ in range(9):
            half.texts(["Why?", " ".join(["star"] * 60)])
    said = "a text of {} tokens is cut to the 40 that its tower reads; so far {} were"
    assert caplog.messages == [said.format(52, 1), said.format(62, 10)]
    assert torch.allclose(short, long, atol=1e-5)


def test_the_text_half_of_llava_is_priced() -> None:
    patches, wide, shared, width, ffn, positions = 576, 1024, 768, 768, 3072, 77
    block = 2 * positions * (4 * width**2 + 2 * width * ffn) + 4 * positions**2 * width
    text = 12 * block + 2 * width * shared
    assert clip_l().flops(patches) == text + 2 * patches * wide * shared + 2 * patches * shared


def test_what_does_not_fit_is_refused_in_one_line(clip: Any, tmp_path: Path) -> None:
    base = tiny_llava()
    config = make_config(make_tokenizer())
    config.vision_config.hidden_size = 64
    config.save_pretrained(tmp_path)
    for model, options, message in (
        (base, {}, "no text half ships for this model; give text=FOLDER"),
        (base, {"text": str(tmp_path)}, "is for features of 64 numbers, and the tower gives 128; name the CLIP"),
        (base, {"text": str(WEIGHTS)}, "it is a llava, and texts are read by a CLIP"),
        (base, {"text": "./none"}, "there is no such folder"),
        (tiny_qwen_vl(), {"text": clip[0]}, "no text tower is known that is aligned with qwen2_5_vl_vision"),
        (tiny_internvl(), {"text": clip[0]}, "no text tower is known that is aligned with internvl_vision"),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            Trim(**options).apply(model)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="keep and share say the same; give one of the two"):
        Trim(share=-1, keep=64)
    with pytest.raises(UserError, match=r"share must be above 0, or -1, not -0\.5"):
        Trim(share=-0.5)
    with pytest.raises(UserError, match="cannot keep 65 of 64"):
        Trim(keep=65).kept(64)


def test_the_text_half_that_ships_puts_things_beside_the_questions_on_them() -> None:
    base, hits = tiny_llava(), {True: 0, False: 0}
    asked = [
        (scene, ask_open(scene, "color", Dice(*scene.look, 7))) for scene in (make_scene("val", n) for n in range(24))
    ]
    for scene, question in asked:
        cells = {(one.row, one.column) for one in scene.things if question and one.colour == question.answer}
        if len(cells) != 1:
            continue
        ((row, column),) = cells
        pixels = base.family.inputs([draw_scene(scene)])["pixel_values"]
        for flip in hits:
            method = Trim(keep=16, flip=flip).for_base(tiny_llava)
            with torch.inference_mode():
                tower = TowerSignals(base.network, pixels, [question.text])
                kept = method.chosen(method.scores(tower)[0]).tolist()
            hits[flip] += sum((place // 16, place % 8 // 2) == (row, column) for place in kept)
    assert hits[True] > 4 * hits[False]


def test_the_recipe_makes_a_text_half_that_fits(tmp_path: Path) -> None:
    write(tmp_path / "data", 2)
    train(Recipe(steps=2, batch=2, texts=2), Conversations(tmp_path / "data"), tmp_path)
    model = Trim(keep=15, text=str(tmp_path / "model")).apply(tiny_llava())
    assert [
        len(seen.features) for seen in model.sight.of(Prompt(QUESTIONS[0], (draw_scene(make_scene("val", 0)),)))
    ] == [16]
