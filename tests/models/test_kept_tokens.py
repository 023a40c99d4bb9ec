"""Which visual tokens are kept: as many as the decoder reads, block by block, and the very ones that methods choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from adaptbench.adapters.kept_tokens import carried
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.harness.figures import TellsKept
from adaptbench.models.pruning.dart import Dart
from adaptbench.models.pruning.divprune import DivPrune
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.fitprune import FitPrune
from adaptbench.models.pruning.grid_tokens import GridTokens
from adaptbench.models.pruning.hired import Hired
from adaptbench.models.pruning.pooled_tokens import PooledTokens
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus
from adaptbench.models.pruning.pyramiddrop import PyramidDrop
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.pruning.sparsevlm import SparseVLM
from adaptbench.models.pruning.trim import Trim
from adaptbench.models.pruning.visionzip import VisionZip
from adaptbench.models.pruning.vispruner import VisPruner
from adaptbench.models.pruning.vtw import VTW
from adaptbench.models.reference.tiny_llava import tiny_llava
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.figures import KeptTokens

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = [
    [], [RandomTokens(keep=9)], [GridTokens(grid=3)], [DivPrune(keep=9)], [Hired(keep=9)], [VisPruner(keep=9)],
    [VisionZip(dominant=7, contextual=2)], [PruMerge()], [PruMerge(tokens=9, order="raster")],
    [PruMergePlus(tokens=9, merged=False)], [FastV(k=1, keep=9)], [Dart(keep=9)], [PyramidDrop()], [VTW()],
    [FitPrune().for_base(tiny_llava)], [SparseVLM(target=192)], [SparseVLM(version="v2")],
    [PruMergePlus(tokens=16), FastV(k=2, r=0.5)],
    [VisionZip(), SparseVLM(target=192)], [Trim(keep=9).for_base(tiny_llava)],
]  # fmt: skip


@pytest.fixture(scope="module")
def base() -> HFMultimodal:
    return tiny_llava()


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    shown = Image.effect_mandelbrot((96, 64), (-2, -1.5, 1, 1.5), 30).convert("RGB")
    return Prompt("Is there a circle in the image?", (shown,), ("a digest",))


def kept(base: Any, prompt: Prompt, *methods: Any) -> KeptTokens:
    for method in methods:
        base = method.apply(base)
    assert isinstance(base, TellsKept)
    return base.kept(prompt)


@pytest.mark.parametrize("methods", METHODS, ids=str)
def test_as_many_tokens_are_told_as_each_block_reads(base: Any, prompt: Prompt, methods: list[Any]) -> None:
    told, model = kept(base, prompt, *methods), base
    for method in methods:
        model = method.apply(model)
    (answer,) = model.answer([prompt])
    text, _ = model.token_counts(prompt)
    counts = {stage.block: int(stage.kept.sum()) + stage.other for stage in told.stages}
    cost = answer.cost
    read = [layer.tokens - text for layer in cost.ran.layers] if cost.ran else [cost.visual_tokens] * 10
    expected = [next(n for at, n in sorted(counts.items(), reverse=True) if at <= block) for block in range(10)]
    assert read == expected
    assert told.image.size == (96, 96)
    assert all((later.kept <= sooner.kept).all() for sooner, later in zip(told.stages, told.stages[1:], strict=False))


def test_they_are_the_patches_that_a_selector_chooses(base: Any, prompt: Prompt) -> None:
    (stage,) = kept(base, prompt, RandomTokens(keep=9, seed=5)).stages
    places = torch.randperm(64, generator=torch.Generator().manual_seed(5))[:9]
    assert sorted(np.flatnonzero(stage.kept)) == sorted(places.tolist())
    assert (stage.block, stage.other) == (0, 0)
    (zipped,) = kept(base, prompt, VisionZip(dominant=7, contextual=2)).stages
    assert (int(zipped.kept.sum()), zipped.other) == (6, 3)


@pytest.mark.parametrize("positions", ["original", "compacted"])
def test_they_are_the_tokens_that_fastv_leaves(base: Any, prompt: Prompt, positions: Any) -> None:
    steered = FastV(k=2, r=0.75).apply(base)
    _, stage = kept(base, prompt, FastV(k=2, r=0.75, positions=positions)).stages
    np.testing.assert_array_equal(stage.kept, np.isfinite(steered.attention(prompt).maps[2]))


def test_asking_changes_no_answer(base: Any, prompt: Prompt) -> None:
    model = VisionZip().apply(SparseVLM().apply(base))
    before = model.answer([prompt])
    model.kept(prompt)
    assert model.answer([prompt]) == before


def test_what_has_no_place_in_the_image_is_refused(base: Any, prompt: Prompt) -> None:
    with pytest.raises(UserError, match="PooledTokens does not tell which patches it keeps"):
        kept(base, prompt, PooledTokens(grid=4))
    with pytest.raises(UserError, match="the prompt has 0 images"):
        kept(base, Prompt("What?"))


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["stays", "dropped", "dropped, one is new"]), max_size=12))
def test_tokens_that_stay_are_found_again_and_new_ones_are_told_from_them(fates: list[str]) -> None:
    before = torch.arange(float(len(fates)))[:, None] + torch.ones(2)
    expected = [None if "new" in fate else place for place, fate in enumerate(fates) if fate != "dropped"]
    left = [before[place] if place is not None else torch.full((2,), -1.0) for place in expected]
    assert carried(before, torch.stack(left) if left else before[:0]) == expected


def test_of_tokens_that_are_alike_each_is_found_once() -> None:
    assert carried(torch.ones(4, 2), torch.ones(3, 2)) == [0, 1, 2]
