"""The shipped ViT: its weights are there, it embeds as it was trained, and it can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import adaptbench
import numpy as np
import pytest
from adaptbench.models.reference.vit_glyphs import vit_glyphs
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def test_its_vector_is_the_mean_of_the_patches() -> None:
    model = vit_glyphs()
    image = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3))
    states = model.network(**model.prepare([image])).last_hidden_state.detach().numpy()
    assert states.shape == (1, 1 + 16, 128)
    assert np.allclose(model.embed([image]), states[:, 1:].mean(axis=1), atol=1e-5)


def test_its_fingerprint_needs_no_arguments_and_stays() -> None:
    assert vit_glyphs.fingerprint() == vit_glyphs.fingerprint(device="cpu")
    assert vit_glyphs.fingerprint().startswith("files:")


def test_it_tells_letters_it_never_saw_apart_and_half_of_it_costs_half(tmp_path: Path) -> None:
    task = "glyphs(per_class=5,ways=5,shots=1,queries=4,episodes=30)"
    found = adaptbench.run(["vit-glyphs", "vit-glyphs+layers(keep=3)", "pixels"], task, out=tmp_path / "run").results
    whole, half, pixels = (result.metrics["accuracy"].value for result in found)
    assert whole > pixels + 0.2
    assert half < whole
    embedding = 2 * 16 * (3 * 8 * 8) * 128
    assert found[1].flops.value - embedding == pytest.approx((found[0].flops.value - embedding) / 2, abs=1)
