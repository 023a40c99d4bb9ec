"""Random, pooled and smaller: what a token selector must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from adaptbench.adapters.tower_features import patch_features
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.models.pruning.pooled_tokens import PooledTokens
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.reference.blind import Blind
from adaptbench.models.reference.smaller_images import SmallerImages
from adaptbench.models.reference.tiny_llava import tiny_llava
from PIL import Image

if TYPE_CHECKING:
    from adaptbench.adapters.transformers_multimodal import HFMultimodal

pytestmark = pytest.mark.usefixtures("one_thread")


def seen_by(model: HFMultimodal, pixels: torch.Tensor) -> list[torch.Tensor]:
    """What its language model is given of images."""
    return [seen.features for seen in model.see({"pixel_values": pixels})]


@pytest.fixture(scope="module")
def base() -> HFMultimodal:
    return tiny_llava()


def image(quality: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    return Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), quality).convert("RGB")


@pytest.fixture(scope="module")
def features(base: HFMultimodal) -> torch.Tensor:
    """Features of two images, [2, 64, width]."""
    return patch_features(base.module.model, pixels(base))


def pixels(base: HFMultimodal) -> torch.Tensor:
    prompts = [Prompt("?", (image(quality),)) for quality in (20, 60)]
    return base.prepare(prompts)["pixel_values"]


def prompts() -> list[Prompt]:
    return [Prompt(f"Is there a {what} ?", (image(20 + n),), (str(n),)) for n, what in enumerate(("circle", "square"))]


def test_the_features_of_all_patches_are_those_that_the_model_projects(
    base: HFMultimodal, features: torch.Tensor
) -> None:
    projected = base.module.model.model.multi_modal_projector(features)
    assert torch.allclose(projected, torch.stack(seen_by(base, pixels(base))), atol=1e-5)


def test_random_tokens_stand_at_places_of_the_seed_in_their_order(base: HFMultimodal, features: torch.Tensor) -> None:
    model = base.module.model
    one, same, other = (RandomTokens(keep=9, seed=seed)(model, pixels(base)) for seed in (0, 0, 1))
    places = [(features[0] == row).all(dim=1).nonzero().item() for row in one[0]]
    assert places == sorted(set(places))
    assert torch.equal(one, same)
    assert torch.equal(one, features[:, places])
    assert not torch.equal(one, other)
    assert torch.equal(RandomTokens(keep=64)(model, pixels(base)), features)


def test_pooled_tokens_are_means_of_squares(base: HFMultimodal, features: torch.Tensor) -> None:
    model = base.module.model
    four = PooledTokens(grid=4)(model, pixels(base))
    assert four.shape[:2] == (2, 16)
    assert torch.allclose(four[:, 1], features[:, [2, 3, 10, 11]].mean(dim=1), atol=1e-6)
    assert torch.allclose(PooledTokens(grid=1)(model, pixels(base))[:, 0], features.mean(dim=1), atol=1e-6)
    assert torch.allclose(PooledTokens(grid=8)(model, pixels(base)), features)


def test_keeping_all_tokens_keeps_all_answers(base: HFMultimodal) -> None:
    for method in (RandomTokens(keep=64), PooledTokens(grid=8), SmallerImages(side=96)):
        assert method.apply(base).answer(prompts()) == base.answer(prompts())


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (RandomTokens(keep=65), 64, "cannot keep 65 of 64 visual tokens; give keep from 1 to 64"),
        (PooledTokens(grid=9), 64, "cannot put a grid of 9 x 9 on 64 visual tokens; give grid from 1 to 8"),
        (PooledTokens(grid=2), 65, "cannot put a grid of 2 x 2 on 65 visual tokens"),
    ],
)
def test_what_an_image_does_not_have_is_refused(method: RandomTokens, given: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        method.kept(given)


def test_smaller_images_keep_their_shape_and_have_digests_of_their_own() -> None:
    method, wide = SmallerImages(side=30), image(20, (120, 40))
    assert method.shown(wide).size == (30, 10)
    assert method.shown(image(20, (20, 30))).size == (20, 30)
    assert len({method.digest(wide, name) for name in "ab"} | {SmallerImages(side=31).digest(wide, "a")}) == 3
    assert Blind().digest(wide, "a") == Blind().digest(wide, "b")


def test_smaller_images_have_a_side_or_a_number_of_tokens() -> None:
    with pytest.raises(UserError, match="side and tokens say the same; give one of the two"):
        SmallerImages(side=112, tokens=16)


def test_smaller_images_change_what_is_seen(base: HFMultimodal) -> None:
    shown = SmallerImages(side=6).apply(base)
    changed, plain = shown.answer(prompts()), base.answer(prompts())
    assert [one.cost for one in changed] == [one.cost for one in plain]
    assert shown.module is base.module
