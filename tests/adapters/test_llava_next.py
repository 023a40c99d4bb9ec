"""LLaVA-NeXT in the decoder that can be steered: towers and language models, and what selectors choose view by view."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench import Size
from adaptbench.adapters.family_llava_next import LlavaNext
from adaptbench.adapters.tower_signals import TowerSignals
from adaptbench.adapters.transformers_image_text import HFImageTextToText
from adaptbench.adapters.transformers_multimodal import HFLlavaNext
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.planning import Request, plan, plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.pruning.choosing import KeptTokens, TokenChoice, shares
from adaptbench.models.pruning.divprune import DivPrune
from adaptbench.models.pruning.grid_tokens import GridTokens
from adaptbench.models.pruning.hired import Hired
from adaptbench.models.pruning.pooled_tokens import PooledTokens
from adaptbench.models.pruning.prumerge import PruMerge
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.pruning.visionzip import VisionZip
from adaptbench.models.pruning.vispruner import VisPruner
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from test_image_text import TEXT, VISION, asked, llava_next, noise, prompts, save, stock

if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptbench.adapters.tower_signals import Signals, Views

SIGLIP = {"vision": hf.SiglipVisionConfig(**VISION, vision_use_head=False)}
KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "mistral": lambda: llava_next(hf.MistralConfig(**TEXT, head_dim=8, sliding_window=None)),
    "qwen2, siglip, one layer": lambda: llava_next(hf.Qwen2Config(**TEXT), **SIGLIP, vision_feature_layer=-1),
    "llama, two layers": lambda: llava_next(vision_feature_layer=[0, -1]),
}
SIDE, OWN = 4, 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HFLlavaNext:
    return HFLlavaNext(str(save("llava-next", tmp_path_factory.mktemp("next") / "llava-next").folder))


def views(model: HFLlavaNext, width: int, height: int) -> Views:
    family, image = model.family, noise(7, width, height)
    assert isinstance(family, LlavaNext)
    inputs = family.inputs([image])
    with torch.inference_mode():
        return family._views(TowerSignals(model.network, inputs["pixel_values"][0]), family._layout(image))


@pytest.mark.parametrize("kind", KINDS)
def test_any_tower_and_language_model_answers_as_the_librarys(kind: str, tmp_path: Path) -> None:
    family = save("llava-next", tmp_path / "next", KINDS[kind])
    every = [*prompts("llava-next"), asked("Is there a dog ?", noise(5, 400, 20)), asked("a cat", noise(6, 20, 90))]
    ours, theirs = HFLlavaNext(str(family.folder)), HFImageTextToText(str(family.folder))
    assert ours.generate(every) == [stock(family, prompt) for prompt in every]
    if kind.endswith("two layers"):
        (cost,), (told,) = ([answer.cost for answer in one.answer(every[-2:-1])] for one in (ours, theirs))
        assert cost
        assert told
        assert cost.flops == told.flops


@pytest.mark.parametrize(
    ("folder", "conversation"),
    [("llava-v1.6-vicuna-7b-hf", "vicuna_v1"), ("llava-v1.6-mistral-7b-hf", "chat-template")],
)
def test_it_is_asked_as_its_language_model_was_trained(folder: str, conversation: str, tmp_path: Path) -> None:
    path = str(save("llava-next", tmp_path / folder).folder)
    assert HFLlavaNext(path).loaded.conversation == HFImageTextToText(path)._loaded.conversation == conversation


def test_views_hold_what_the_language_model_reads_and_no_padding(model: HFLlavaNext) -> None:
    for width, height in ((40, 40), (90, 30), (30, 90), (64, 48), (60, 20), (400, 20)):
        seen, found = views(model, width, height), model.family.size(noise(0, width, height))
        (base, *tiles), rows = seen.every, sum({one.grid[0]: 0 for one in seen.every[1:]})
        assert base.grid == (SIDE, SIDE)
        assert all(one.features.shape[1] == one.grid[0] * one.grid[1] for one in seen.every)
        newlines = found.tokens - sum(one.features.shape[1] for one in seen.every)
        assert newlines >= rows * bool(tiles)
        with torch.inference_mode():
            (whole,) = model.see(model.family.inputs([noise(7, width, height)]))
            read = {tuple(row.tolist()) for row in whole.features}
            for one in seen.every:
                assert {tuple(row.tolist()) for row in one.projected[0]} <= read


def test_a_view_is_of_itself_alone_whatever_was_read_of_all(model: HFLlavaNext) -> None:
    tower = TowerSignals(model.network, model.family.inputs([noise(7, 56, 56)])["pixel_values"][0])
    with torch.inference_mode():
        for of in (lambda one: one.features, lambda one: one.projected, lambda one: one.cls, lambda one: one.keys(0)):
            assert torch.allclose(of(tower)[2:3], of(tower.one(2)), atol=1e-6)


def test_a_place_of_the_whole_image_is_shown_by_the_tile_that_holds_it(model: HFLlavaNext) -> None:
    quarters = views(model, 56, 56)
    assert quarters.shown.view(SIDE, SIDE).tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert views(model, 56, 28).shown.view(SIDE, SIDE).tolist() == [[1, 1, 2, 2]] * 4


class Noting(KeptTokens):
    """Keeps the first tokens, and notes of how many."""

    def choose(self, tower: Signals) -> torch.Tensor:
        return torch.arange(self.keep).expand(len(tower.features), -1)


def test_what_is_kept_is_shared_by_the_views_and_newlines_are_left_out(model: HFLlavaNext) -> None:
    image = noise(7, 56, 56)
    every, inputs = views(model, 56, 56), model.family.inputs([image])
    with torch.inference_mode():
        (left,) = Noting(keep=7).apply(model).see(inputs)
        wanted = torch.cat([one.projected[0, :n] for one, n in zip(every.every, (2, 2, 1, 1, 1), strict=True)])
        assert torch.allclose(left.features, wanted, atol=1e-6)
        (all_of_it,) = RandomTokens(keep=80).apply(model).see(inputs)
        assert torch.allclose(all_of_it.features, torch.cat([one.projected[0] for one in every.every]), atol=1e-6)
        newline = model.network.model.image_newline
        assert not (all_of_it.features == newline).all(dim=1).any()
        assert (model.see(inputs)[0].features == newline).all(dim=1).sum() == 8


def test_each_view_of_visionzip_has_its_cls_token(model: HFLlavaNext) -> None:
    zipped, every = VisionZip(dominant=10, contextual=5), views(model, 56, 56)
    with torch.inference_mode():
        features, _ = zipped.left(every)
        assert features.shape[1] == 15
        assert torch.equal(features[0, ::3], torch.cat([one.cls for one in every.every]))


def test_hired_shares_by_what_the_whole_image_attends_to(model: HFLlavaNext) -> None:
    every, hired = views(model, 56, 56), Hired(keep=11, layer=-1)
    with torch.inference_mode():
        first = every.every[0].received(0, "cls", "sum")[0].view(SIDE, SIDE)
        best = first.flatten().topk(8).indices.tolist()
        tiles = [place // SIDE // 2 * 2 + place % SIDE // 2 for place in best]
        counts = [one.keep if one else 0 for one in hired.by_view(every)]
        assert counts[0] == 5
        assert sum(counts) == 11
        assert all(abs(count - 6 * tiles.count(tile) / 8) < 1 for tile, count in enumerate(counts[1:]))
        none = hired.model_copy(update={"alpha": 0.0}).by_view(every)[0]
        assert none is not None
        assert none.left(every.every[0])[0].shape[1] == 0
        most = Hired(keep=70, layer=-1, alpha=1.0).by_view(every)
        assert most[0] is not None
        assert (most[0].keep, sum(one.keep for one in most if one)) == (16, 70)


def test_each_view_has_its_own_grid(model: HFLlavaNext) -> None:
    every = views(model, 56, 56)
    with torch.inference_mode():
        features, _ = PooledTokens(grid=2).left(every)
        assert features.shape[1] == 20
        corner = every.every[3].features[0].view(SIDE, SIDE, -1)[:2, :2].mean(dim=(0, 1))
        assert torch.allclose(features[0, 12], corner, atol=1e-6)


class Own(TokenChoice):
    """Says nothing of views."""

    def kept(self, given: int) -> int:
        return given


def test_what_cannot_be_shared_is_refused(model: HFLlavaNext) -> None:
    prompt = asked("how many cat", noise(7, 56, 56))
    for method, message in (
        (PruMerge(layer=-1), "as many tokens as an image needs, and here are 5 views; say tokens="),
        (GridTokens(grid=5), "cannot put a grid of 5 x 5 on 4 x 4 visual tokens"),
        (Own(), "Own cannot be shared by the 5 views of an image"),
        (RandomTokens(keep=81), "cannot keep 81 of 80"),
        (VisionZip(dominant=80, contextual=30, layer=-1), "cannot keep 30 of 5"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            method.apply(model).generate([prompt])


def test_views_that_keep_nothing_are_priced_as_counted(tmp_path: Path) -> None:
    """One token is kept of five views: hired has scored them all, the others ask one."""
    base = HFLlavaNext(str(save("llava-next", tmp_path / "next").folder), attention="eager")
    prompt = asked("how many cat", noise(7, 56, 56), tokens=1)
    for method in (Hired(keep=1, layer=-1), VisPruner(keep=1, layer=-1), DivPrune(keep=1)):
        model = method.apply(base)
        cost = model.answer([prompt])[0].cost
        with FlopCounterMode(display=False) as counter:
            model.prefill([prompt])()
        assert cost
        assert counter.get_total_flops() == cost.flops
        assert cost.visual_tokens == 1


@pytest.mark.parametrize("method", ["hired(keep=9,layer=-1)", "divprune(keep=9)"])
def test_what_is_priced_is_what_is_counted(model: HFLlavaNext, method: str) -> None:
    registry, spec = load_plugins().registry, f"llava-next:{model._path}+{method}"
    changed = model
    for one in plan_model(registry, parse(spec)).as_applied:
        changed = one.method.apply(changed)
    (answer,) = changed.answer([asked("how many cat", noise(7, 28, 28), tokens=1)])
    assert answer.cost
    priced = Costing(registry, spec).cost(CostRequest(answer.cost.text_tokens, convention=COUNTED))
    assert priced.work.visual_tokens == answer.cost.visual_tokens == 9
    assert sum(priced.flops.values()) == answer.cost.flops


@pytest.mark.parametrize(
    ("method", "image", "options"),
    [
        ("divprune", 80, "keep=40"), ("g-prune", 48, "keep=40"), ("prumerge", 70, "tokens=40"),
        ("visionzip(layer=-1)", 80, "contextual=6,dominant=34,layer=-1"), ("fastv(k=1)", 64, "k=1,keep=16"),
    ],
)  # fmt: skip
def test_images_of_any_number_of_views_have_the_tokens_that_are_said(
    model: HFLlavaNext, method: str, image: int, options: str
) -> None:
    spec, size = f"llava-next:{model._path}+{method}", Size("average_tokens", 40, visual_tokens=image)
    (sized,) = plan(load_plugins().registry, Request((spec,), ("shapes-pope(scenes=1)",), sizes=(size,))).sized
    assert str(sized.spec) == f"llava-next:{model._path}+{method.partition('(')[0]}({options})"
    assert sized.met == 40


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), min_size=1, max_size=6), st.data())
def test_shares_are_exact_and_as_wanted(views: list[tuple[int, int]], data: st.DataObject) -> None:
    weights, most = [float(weight) for weight, _ in views], [limit for _, limit in views]
    weights[0] += 1
    count = data.draw(st.integers(0, sum(most)))
    taken = shares(count, weights, most)
    assert sum(taken) == count
    assert all(0 <= own <= limit for own, limit in zip(taken, most, strict=True))
    wanted = [count * weight / sum(weights) for weight in weights]
    if all(want <= limit for want, limit in zip(wanted, most, strict=True)):
        assert all(abs(own - want) < 1 + 1e-9 for own, want in zip(taken, wanted, strict=True))
    else:  # nobody goes short for another who has more than was wanted
        short = [own for own, want, limit in zip(taken, wanted, most, strict=True) if own < min(int(want), limit)]
        assert not short
