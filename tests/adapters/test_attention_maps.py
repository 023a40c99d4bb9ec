"""Attention of the last token over the image: what the library's own model says, block by block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.harness.figures import Attentive
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMergePlus
from adaptbench.models.reference.tiny_llava import WEIGHTS
from PIL import Image, ImageDraw

BLOCKS, SIDE = 10, 8


@pytest.fixture(scope="module")
def llava():
    return HFMultimodal(str(WEIGHTS), attention="eager")


@pytest.fixture(scope="module")
def prompt():
    image = Image.new("RGB", (64, 48), (40, 40, 40))
    ImageDraw.Draw(image).ellipse((40, 8, 56, 24), fill=(30, 80, 230))
    return Prompt("Is there a blue circle in the image?", (image,), ("a digest",))


def test_equals_the_attentions_of_the_library(llava, prompt):
    model = llava.loaded.model
    prepared = llava.prepare([prompt])
    ids = prepared["input_ids"][0]
    times = torch.where(ids == model.config.image_token_id, SIDE**2, 1)
    whole = ids.repeat_interleave(times)[None]
    with torch.inference_mode():
        out = model(
            input_ids=whole,
            attention_mask=torch.ones_like(whole),
            pixel_values=prepared["pixel_values"],
            output_attentions=True,
        )
    visual = (whole == model.config.image_token_id)[0]
    expected = [each[0, :, -1][:, visual].mean(dim=0).reshape(SIDE, SIDE).numpy() for each in out.attentions]
    found = llava.attention(prompt)
    assert isinstance(llava, Attentive)
    assert found.blocks == tuple(range(BLOCKS))
    np.testing.assert_allclose(found.maps, np.stack(expected), atol=1e-6)
    assert (found.token, found.split) == ("the last token of the question", None)


def test_the_image_is_the_square_that_the_tower_sees(llava, prompt):
    assert llava.attention(prompt).image.size == (64, 64)


def test_the_latency_token_is_the_reader_where_there_is_one(llava, prompt):
    steered = AdaLlavaL(scheduler="random", latency_token=True).apply(llava)
    found = steered.attention(prompt)
    assert (found.token, found.split) == ("the latency token", BLOCKS // 2)
    assert not np.allclose(found.maps, llava.attention(prompt).maps)


def test_below_a_budget_of_1_only_blocks_that_ran_whole_are_read(llava, prompt):
    assert llava.attention(prompt).blocks == tuple(range(BLOCKS))
    assert AdaLlavaH(scheduler="random", budget=0.5, rank=1).apply(llava).attention(prompt).blocks == tuple(
        range(BLOCKS // 2)
    )
    assert AdaLlavaH(scheduler="random", rank=1).apply(llava).attention(prompt).blocks == tuple(range(BLOCKS))
    some = AdaLlavaL(scheduler="first", budget=0.7).apply(llava).attention(prompt)
    assert some.blocks == tuple(range(7))


def test_reading_changes_no_answer(llava, prompt):
    steered = AdaLlavaL(scheduler="random", budget=0.7).apply(llava)
    before = steered.generate([prompt])
    steered.attention(prompt)
    assert steered.generate([prompt]) == before
    assert len(steered.methods) == 1


@pytest.mark.parametrize("positions", ["original", "compacted"])
def test_patches_that_fastv_drops_are_nan_from_there_on(llava, prompt, positions):
    found = FastV(k=2, r=0.75, positions=positions).apply(llava).attention(prompt)
    plain = llava.attention(prompt)
    np.testing.assert_allclose(found.maps[:2], plain.maps[:2], atol=1e-6)
    if positions == "compacted":  # who is who is not known any more
        assert found.blocks == (0, 1)
        return
    assert found.blocks == tuple(range(BLOCKS))
    kept = np.isfinite(found.maps[2])
    assert kept.sum() == SIDE**2 // 4
    assert all((np.isfinite(grid) == kept).all() for grid in found.maps[2:])
    assert plain.maps[1][kept].min() >= plain.maps[1][~kept].max()


def test_what_has_no_map_is_refused(llava, prompt):
    with pytest.raises(UserError, match=r"the model reads \d+ visual tokens that a method made of 64 patches"):
        PruMergePlus(query="cls").apply(llava).attention(prompt)
    with pytest.raises(UserError, match="the prompt has 0 images"):
        llava.attention(Prompt("What?"))
