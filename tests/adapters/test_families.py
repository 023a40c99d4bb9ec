"""Qwen-VL and InternVL in the decoder that can be steered: stock's answers and FLOPs; tokens keep their places."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters.family import Seen
from adaptbench.adapters.family_internvl import InternVLSignals
from adaptbench.adapters.family_qwen_vl import QwenSignals
from adaptbench.adapters.tower_features import patch_features
from adaptbench.adapters.transformers_image_text import HFImageTextToText
from adaptbench.adapters.transformers_multimodal import HFInternVL, HFLlavaNext, HFMultimodal, HFQwenVL
from adaptbench.harness.errors import UserError
from adaptbench.harness.methods import Selector
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.pruning import fit_fitprune, search_vtw
from adaptbench.models.pruning.dart import Dart
from adaptbench.models.pruning.divprune import DivPrune
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.fitprune import FitPrune
from adaptbench.models.pruning.g_prune import GPrune
from adaptbench.models.pruning.grid_tokens import GridTokens
from adaptbench.models.pruning.hired import Hired
from adaptbench.models.pruning.pooled_tokens import PooledTokens
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus
from adaptbench.models.pruning.pyramiddrop import PyramidDrop
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.pruning.sparsevlm import SparseVLM
from adaptbench.models.pruning.tome import ToMe
from adaptbench.models.pruning.visionzip import VisionZip
from adaptbench.models.pruning.vispruner import VisPruner
from adaptbench.models.pruning.vtw import VTW
from adaptbench.models.reference.smaller_images import SmallerImages
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from test_image_text import MERGED, TEXT, Family, asked, internvl, noise, prompts, save, stock
from test_image_text import qwen as make_qwen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adaptbench.adapters.decoder import State
    from adaptbench.harness.contracts import Prompt
    from adaptbench.harness.methods import Method

KINDS = {
    "llava-next": HFLlavaNext,
    "qwen2-vl": HFQwenVL,
    "qwen2.5-vl": HFQwenVL,
    "qwen3-vl": HFQwenVL,
    "internvl": HFInternVL,
}
SEEN = {"query": "mean", "layer": -1}
METHODS = [
    DivPrune(keep=3), RandomTokens(keep=3), Hired(keep=3, **SEEN), VisPruner(keep=3, **SEEN), FastV(k=1, keep=3),
    VisionZip(dominant=2, contextual=1, cls_token=False, **SEEN), VTW(k=1),
    Dart(k=1, keep=3, visual_pivots=1, text_pivots=1), PyramidDrop(layers="1", shares="0.5", positions="original"),
    SparseVLM(layers="1", counts="3", version="v2"), GPrune(keep=3), PruMerge(tokens=3, query="mean"),
    PruMergePlus(tokens=3, query="mean", merged=False),
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    torch.set_num_threads(1)
    return save(request.param, tmp_path_factory.mktemp("families") / request.param)


@pytest.fixture(scope="module")
def ours(family: Family) -> HFMultimodal:
    return KINDS[family.name](str(family.folder))


@pytest.fixture(scope="module")
def eager(family: Family) -> HFMultimodal:
    """The same in the open: torch's counter does not see fused kernels."""
    return KINDS[family.name](str(family.folder), attention="eager")


PAIR = [asked("how many cat", noise(3, 90, 60)), asked("Is there a dog ?", noise(1, 60, 90))]


@pytest.fixture(scope="module")
def whole(ours: HFMultimodal) -> list[int]:
    """FLOPs of the pair without a method."""
    return [answer.cost.flops for answer in ours.answer(PAIR) if answer.cost]


class Own(Selector):
    """As a plugin may have one."""

    def __call__(self, llava: Any, pixels: torch.Tensor) -> torch.Tensor:
        return patch_features(llava, pixels)


@contextlib.contextmanager
def counted(module: Any, told: Callable[[], object]) -> Iterator[None]:
    hook = module.register_forward_hook(lambda *_: told() and None)
    yield
    hook.remove()


def known(prompt: Prompt) -> Prompt:
    """The same with digests, so that what is made of its images is shared."""
    return dataclasses.replace(
        prompt, digests=tuple(f"{image.size} {image.tobytes()[:9]!r}" for image in prompt.images)
    )


def test_answers_and_costs_are_the_librarys(family: Family, ours: HFMultimodal) -> None:
    every = prompts(family.name)
    expected = [stock(family, prompt) for prompt in every]
    assert len(set(expected)) == len(every)
    assert ours.generate(every) == expected
    assert [ours.generate([prompt])[0] for prompt in every] == expected
    two = every[1:3]  # of two images, and of none
    told = [answer.cost for answer in HFImageTextToText(str(family.folder)).answer(two)]
    costs = [answer.cost for answer in ours.answer(two)]
    read = [(cost.text_tokens, cost.visual_tokens, cost.flops) for cost in costs if cost]
    assert read == [(cost.text_tokens, cost.visual_tokens, cost.flops) for cost in told if cost]


@pytest.mark.parametrize("text", [hf.Qwen3Config(**TEXT, head_dim=8), hf.LlamaConfig(**TEXT)], ids=["qwen3", "llama"])
def test_internvl_answers_as_the_librarys_with_other_language_models(text: Any, tmp_path: Path) -> None:
    family, every = save("internvl", tmp_path / "internvl", lambda: internvl(text)), prompts("internvl")
    ours, theirs = HFInternVL(str(family.folder)), HFImageTextToText(str(family.folder))
    assert ours.generate(every) == [stock(family, prompt) for prompt in every]
    costs, told = ([answer.cost for answer in one.answer(every[:1])] for one in (ours, theirs))
    assert [cost and cost.flops for cost in costs] == [cost and cost.flops for cost in told]


def test_questions_on_one_image_share_it_and_answers_stay_the_same(family: Family, ours: HFMultimodal) -> None:
    image = noise(3, 64, 48)
    every = [known(asked(text, image)) for text in ("how many cat", "Is there a dog ?", "What colour is this dog ?")]
    assert ours.generate(every) == [stock(family, prompt) for prompt in every]
    pair = [known(asked(text, image, noise(4, 90, 30))) for text in ("how many cat", "Is there a dog ?")]
    assert ours.generate(pair) == [stock(family, prompt) for prompt in pair]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_methods_act_alike_alone_in_a_batch_and_on_shared_images(
    ours: HFMultimodal, whole: list[int], method: Method
) -> None:
    model = method.apply(ours)
    alone = [model.answer([prompt])[0] for prompt in PAIR]
    assert model.generate(PAIR) == [one.text for one in alone]
    shared = [known(prompt) for prompt in (PAIR[0], *PAIR)]
    assert model.generate(shared) == [alone[0].text, alone[0].text, alone[1].text]
    costs = [one.cost for one in alone if one.cost]
    assert all(cost.flops < base for cost, base in zip(costs, whole, strict=True))
    if method.stage == "vision":
        assert [cost.visual_tokens for cost in costs] == [3, 3]


class Watch:
    """A method of the decoder that changes nothing and remembers the state before its last block."""

    first = 0
    state: State

    def after_prompt(self, batch: int) -> None:
        """Add no tokens."""

    def before(self, index: int, state: State) -> State:
        self.state = state
        return state


@pytest.mark.parametrize("method", [*METHODS, PooledTokens(grid=1)], ids=lambda method: type(method).__name__)
def test_batches_of_1_2_and_16_select_alike(ours: HFMultimodal, method: Method) -> None:
    def left(*prompts: Prompt) -> list[torch.Tensor]:
        watch = Watch()
        method.apply(ours).with_method(watch).prefill(prompts)()
        visual = watch.state.tokens.visual
        return [hidden[flags] for hidden, flags in zip(watch.state.hidden, visual, strict=True)]

    sizes, texts = ((90, 60), (60, 90), (64, 64), (56, 112)), ("how many cat", "how many", "Is there a dog ?", "cat")
    every = [asked(text, noise(n, *size)) for n, (text, size) in enumerate(zip(texts, sizes, strict=True))]
    alone = [left(prompt)[0] for prompt in every]
    found = [*left(*every[:2]), *left(*every[2:]), *left(*every * 4)]
    for one, other in zip(alone * 5, found, strict=True):  # another token would have another state
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-3)


def test_what_selectors_compute_is_priced_as_torch_counts_it(family: Family, eager: HFMultimodal) -> None:
    tiled, of_tower = family.name in ("internvl", "llava-next"), [one for one in METHODS if one.stage == "vision"]
    for size in [(28, 28)] if tiled else [(28, 28), (56, 140)]:  # one tile; one token, and several
        prompt = asked("how many cat", noise(3, *size), noise(1, 60, 90), tokens=1)
        keep = min(eager.family.seeing(image).visual_tokens for image in prompt.images)
        for method in (DivPrune(keep=keep), *(of_tower if keep >= 3 else []), *([Hired(keep=3)] if tiled else [])):
            model = method.apply(eager)
            cost = model.answer([prompt])[0].cost
            assert cost is not None
            with FlopCounterMode(display=False) as counter:
                model.prefill([prompt])()
            assert counter.get_total_flops() == cost.flops, method
            assert (cost.methods > 0) == (not isinstance(method, RandomTokens)), method


def test_a_selector_is_told_from_the_tower_image_by_image(ours: HFMultimodal) -> None:
    model, marks = DivPrune(keep=3).apply(ours), list[str]()
    run = model.stages([asked("how many cat", noise(3, 90, 60)), asked("Is there a dog ?", noise(1, 60, 90))])
    with counted(ours.family.tower, lambda: marks.append("saw")):
        run(marks.append)
    assert marks == [*["saw", "tower", "method"] * 2, "tower", "prefill", "token"]


def test_a_method_that_keeps_all_tokens_changes_nothing(family: Family, ours: HFMultimodal) -> None:
    prompt = known(asked("how many cat", noise(3, 90, 60)))
    tokens = ours.token_counts(prompt)[1]
    selectors = () if family.name == "llava-next" else (RandomTokens(keep=tokens), DivPrune(keep=tokens))
    for method in (*selectors, FastV(k=1, r=0)):
        assert method.apply(ours).generate([prompt, prompt]) == ours.generate([prompt, prompt])


def test_what_is_not_supported_is_refused_by_name(family: Family, ours: HFMultimodal) -> None:
    prompt = asked("how many cat", noise(3, 90, 60))
    with pytest.raises(
        UserError, match=r"two by two patches, which merging inside its tower breaks|llava_next reads an image in views"
    ):
        ToMe(keep=8).apply(ours)
    with pytest.raises(UserError, match="Own runs a LLaVA's tower itself"):
        Own().apply(ours).generate([prompt])
    prefix = "qwen-vl" if family.name.startswith("qwen") else family.name
    with pytest.raises(UserError, match=f"is not a LLaVA.*name it {prefix}:PATH"):
        HFMultimodal(str(family.folder))
    with pytest.raises(UserError, match="attention is shown of LLaVAs"):
        ours.attention(prompt)


@pytest.mark.parametrize("size", [(57, 150), (160, 24)], ids=str)
def test_images_are_scaled_to_a_number_of_tokens(family: Family, ours: HFMultimodal, size: tuple[int, int]) -> None:
    image, base = noise(3, *size), ours.answer([asked("how many cat", noise(3, *size))])[0].cost
    assert base is not None
    sides = range(-(-8 * max(size) // min(size)), max(size) + 1)
    counts = [ours.family.size(SmallerImages(side=side).shown(image)).tokens for side in sides]
    for tokens in (1, base.visual_tokens // 2, base.visual_tokens - 1, base.visual_tokens):
        model = SmallerImages(tokens=tokens).apply(ours)
        if tokens < counts[0]:
            with pytest.raises(UserError, match=f"has {counts[0]} visual tokens, however small it is"):
                model.generate([asked("how many cat", image)])
            continue
        cost = model.answer([asked("how many cat", image)])[0].cost
        assert cost.visual_tokens == max(count for count in counts if count <= tokens)
        assert (cost.flops < base.flops) == (cost.visual_tokens < base.visual_tokens)
    assert counts[0] < base.visual_tokens or family.name in ("internvl", "llava-next")  # by shape


def test_recipes_fit_what_methods_take(ours: HFMultimodal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [asked("how many cat", noise(3, 90, 60)), asked("Is there a dog ?", noise(1, 56, 140))]
    for module in (fit_fitprune, search_vtw):
        monkeypatch.setattr(module, "load_base", lambda _: ours)
        monkeypatch.setattr(module, "calibration", lambda *_: every)
    fit_fitprune.fit_fitprune(tmp_path, "tiny", average=0.75)
    for answer in FitPrune(schedule=str(tmp_path / "schedule.json")).apply(ours).answer(every):
        assert answer.cost is not None
        first, last = (layer.tokens - answer.cost.text_tokens for layer in answer.cost.ran.layers)
        assert 1 <= last < (first + last) / 2 <= 0.8 * first == 0.8 * answer.cost.visual_tokens
    search_vtw.search_vtw(tmp_path, "tiny", eta=0, first=1)
    assert json.loads((tmp_path / "vtw.json").read_text())["k"] == 2  # where nothing is dropped, nothing diverges


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> HFQwenVL:
    """With windows of 2 x 2 tokens, of which the last block knows nothing."""
    return HFQwenVL(str(save("qwen2.5-vl", tmp_path_factory.mktemp("families") / "qwen").folder))


def test_kept_tokens_keep_their_rows_and_columns_and_the_text_goes_on_where_it_would(qwen: HFQwenVL) -> None:
    prompt = asked("how many cat", noise(3, 112, 56))
    (whole,), (left,) = qwen.sight.of(prompt), RandomTokens(keep=4).apply(qwen).sight.of(prompt)
    assert whole.places is not None
    assert left.places is not None
    assert (len(whole.places), left.span, whole.span) == (8, 4, 4)
    among = [whole.places.tolist().index(place) for place in left.places.tolist()]
    assert among == sorted(among)
    assert torch.equal(whole.features[among], left.features)
    full, cut = qwen._embedded(qwen._ids(prompt), [whole]), qwen._embedded(qwen._ids(prompt), [left])
    assert full.positions is not None
    assert cut.positions is not None
    assert torch.equal(full.positions[~full.visual], cut.positions[~cut.visual])


@pytest.mark.parametrize("method", [PooledTokens, GridTokens])
def test_a_grid_stands_on_the_rows_and_columns_of_an_image(qwen: HFQwenVL, method: Any) -> None:
    (whole,) = qwen.see(qwen.family.inputs([noise(3, 84, 56)]))  # two rows of three tokens
    (seen,), square = method(grid=2).apply(qwen).see(qwen.family.inputs([noise(3, 84, 56)])), whole.features
    assert seen.places is not None
    assert seen.places.tolist() == [[0, 0, 0], [0, 0, 2], [0, 1, 0], [0, 1, 2]]
    means = [square[[0, 1]].mean(0), square[[1, 2]].mean(0), square[[3, 4]].mean(0), square[[4, 5]].mean(0)]
    expected = torch.stack(means) if method is PooledTokens else square[[0, 2, 3, 5]]
    assert torch.allclose(seen.features, expected, atol=1e-6)


def test_a_merged_token_stands_where_the_pruned_token_stood_that_it_has_most_of(qwen: HFQwenVL) -> None:
    inputs, method = qwen.family.inputs([noise(3, 84, 56)]), PruMerge(tokens=3, query="mean")
    (seen,) = method.apply(qwen).see(inputs)
    with torch.inference_mode():
        signals = QwenSignals(qwen.network, inputs["pixel_values"], inputs["image_grid_thw"][0])
        ranked = signals.received(-1, "mean", "single")[0].argsort(descending=True).tolist()
    assert seen.places is not None
    assert seen.places.tolist() == [[0, place // 3, place % 3] for place in ranked[:3]]


def test_what_the_tower_says_is_said_of_tokens_in_raster_order(qwen: HFQwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, tower = qwen.family.inputs([noise(5, 84, 56)]), qwen.network.model.visual
    given: list[tuple[torch.Tensor, torch.Tensor]] = []
    fused = functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, key: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        given.append((query, key))
        return fused(query, key, *others, **named)

    with torch.inference_mode():
        monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
        states = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).last_hidden_state
        monkeypatch.undo()
        signals = QwenSignals(qwen.network, inputs["pixel_values"], inputs["image_grid_thw"][0])
        assert signals.grid == (2, 3)
        order = torch.tensor([0, 1, 3, 4, 2, 5])  # a window of 2 x 2 tokens, and what is left of the next one
        assert torch.equal(tower.merger(states), signals.features[0][order])
        query, key = given[-1]  # of the block that attends to the whole image
        every = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(dim=-1).mean(dim=(0, 1, 2))
        assert torch.allclose(signals.received(-1, "mean", "mean")[0, order], every.view(-1, 4).mean(dim=1), atol=1e-6)


def test_options_that_ask_for_what_the_tower_lacks_are_refused(qwen: HFQwenVL) -> None:
    for options, message in (
        ({}, "no CLS token"), ({"query": "mean"}, "layer -2 of its tower attends within windows; give one of 1"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            Hired(keep=3, **options).apply(qwen)
    with pytest.raises(UserError, match="cannot put a grid of 2 x 2 on 1 x 4 visual tokens; give grid from 1 to 1"):
        GridTokens(grid=2).apply(qwen).generate([asked("how many", noise(3, 112, 28))])
    with pytest.raises(UserError, match="no gaps to close"):
        FastV(k=1, keep=1, positions="compacted").apply(qwen).generate([asked("how many", noise(3, 112, 56))])


def test_a_tiles_tokens_are_what_pixel_shuffle_makes_of_their_patches(tmp_path: Path) -> None:
    model = HFInternVL(str(save("internvl", tmp_path / "internvl").folder))
    inputs = model.family.inputs([noise(2, 90, 30)])
    signals = InternVLSignals(model.network, inputs["pixel_values"])
    (whole,) = model.see(inputs)
    assert isinstance(whole, Seen)
    with torch.inference_mode():
        assert torch.allclose(signals.projected[0], whole.features, atol=1e-6)
        assert signals.grid == (2, 2)
        assert len(inputs["pixel_values"]) == model.family.size(noise(2, 90, 30)).tiles == 4  # the whole comes last
        shares = signals.received(-1, "cls", "mean").view(4, 4).sum(dim=1) * 4  # four patches a token
        assert bool((shares < 1).all())  # the rest is the CLS token's
        assert bool((shares > 0.5).all())
    fewer = Hired(keep=3).apply(model)  # by its CLS tokens' attention
    assert fewer.token_counts(asked("how many", noise(2, 90, 30)))[1] == 3
    cells = GridTokens(grid=1).apply(model)  # of each tile
    assert cells.token_counts(asked("how many", noise(2, 90, 30)))[1] == 4
    patches = torch.arange(16.0)  # their numbers
    groups = model.network.model.pixel_shuffle(patches.view(1, 4, 4, 1), scale_factor=0.5).view(4, 4)
    assert torch.equal(signals._of_tokens(patches.view(1, 16, 1))[0, :, 0], groups.mean(dim=1))


@pytest.mark.parametrize("kind", [AdaLlavaL, AdaLlavaH])
def test_schedulers_run_parts_of_blocks(ours: HFMultimodal, kind: type[AdaLlavaL]) -> None:
    full = kind(scheduler="full", latency_token=False, checkpoint="none", budget=1).apply(ours)
    assert full.generate(PAIR) == ours.generate(PAIR)
    half = kind(scheduler="random", latency_token=False, checkpoint="none", budget=0.75).apply(ours)
    alone = [half.answer([prompt])[0] for prompt in PAIR]
    assert half.generate(PAIR) == [one.text for one in alone]
    assert all(one.cost and one.cost.language and one.cost.language.spent < one.cost.language.full for one in alone)


def test_what_is_kept_is_told_by_rows_and_columns(family: Family, ours: HFMultimodal) -> None:
    if family.name == "llava-next":
        with pytest.raises(UserError, match="the image is read as 5 tiles, whose tokens are in no grid"):
            ours.kept(asked("how many cat", noise(3, 90, 60)))
        return
    image = noise(3, 90, 60) if family.name != "internvl" else noise(0, 28, 28)
    size = ours.family.size(image)
    model = FastV(k=1, keep=1).apply(RandomTokens(keep=2).apply(ours))
    entering, after = model.kept(asked("how many cat", image)).stages
    assert entering.kept.shape == (size.rows, size.columns)
    assert (entering.kept.sum(), after.kept.sum(), after.block) == (2, 1, 1)
    if family.name == "internvl":
        with pytest.raises(UserError, match="the image is read as 4 tiles, whose tokens are in no grid"):
            model.kept(asked("how many cat", noise(2, 90, 30)))


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> HFQwenVL:
    """A Qwen3-VL of three blocks, the first two of which have features added behind them."""
    vision = MERGED | {"num_position_embeddings": 16, "deepstack_visual_indexes": [1, 0]}
    folder = tmp_path_factory.mktemp("families") / "deep"
    return HFQwenVL(
        str(save("qwen3-vl", folder, lambda: make_qwen("Qwen3VL", vision, head_dim=8, num_hidden_layers=3)).folder)
    )


class Odd:
    """Drops every second visual token before a block."""

    def __init__(self, first: int) -> None:
        self.first = first

    def after_prompt(self, batch: int) -> None:
        """Add nothing."""

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        return state.keep(~(state.tokens.visual & (state.tokens.visual.cumsum(dim=1) % 2 == 1)))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_dropped_tokens_drop_what_is_added_to_them_in_later_blocks(deep: HFQwenVL, first: int) -> None:
    """The library's own blocks, with tokens taken out by hand."""
    prompt, language = asked("how many cat", noise(3, 90, 60), noise(1, 60, 90)), deep.network.model.language_model
    with torch.inference_mode():
        row = deep._embedded(deep._ids(prompt), deep.sight.of(prompt))
        assert row.positions is not None
        assert row.deep is not None
        hidden, kept = row.embeddings[None], torch.ones_like(row.visual)
        added, kept[row.visual] = row.deep[None], torch.arange(int(row.visual.sum())) % 2 == 1
        positions = row.positions.T[:, None]
        for index, block in enumerate(language.layers):
            if index == first:
                hidden, added, positions = hidden[:, kept], added[:, kept], positions[..., kept]
            rotary = language.rotary_emb(hidden, positions)
            hidden = block(hidden, attention_mask=None, position_embeddings=rotary)
            hidden = hidden + added[:, :, index] if index < 2 else hidden
        expected = deep.network.lm_head(language.norm(hidden))[0, -1]
        for times in (1, 3):  # alone, and as prompts that share their images
            asking = deep.with_method(Odd(first))
            ((_, logits, _),) = asking._opened([known(prompt) if times > 1 else prompt] * times)
            assert all(torch.allclose(one, expected, atol=1e-5) for one in logits)


def test_a_selector_keeps_what_is_added_to_the_tokens_that_it_keeps(deep: HFQwenVL) -> None:
    prompt = asked("how many cat", noise(3, 90, 60))
    (whole,), (left,) = deep.sight.of(prompt), DivPrune(keep=3).apply(deep).sight.of(prompt)
    assert whole.places is not None
    assert left.places is not None
    assert whole.deep is not None
    assert left.deep is not None
    among = [whole.places.tolist().index(place) for place in left.places.tolist()]
    assert torch.equal(whole.deep[among], left.deep)
    assert whole.deep.shape == (len(whole.features), 2, whole.features.shape[1])
