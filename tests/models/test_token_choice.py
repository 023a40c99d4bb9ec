"""Selectors that choose patches, against the same rules written out one patch after the other."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import Any

import pytest
import torch
from adaptbench.adapters.tower_features import patch_features
from adaptbench.adapters.tower_signals import TowerSignals
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.plugins import load_plugins
from adaptbench.models.pruning.choosing import KeptTokens, highest
from adaptbench.models.pruning.divprune import DivPrune, spread
from adaptbench.models.pruning.g_prune import GPrune
from adaptbench.models.pruning.g_prune import spread as passed_on
from adaptbench.models.pruning.grid_tokens import GridTokens
from adaptbench.models.pruning.hired import Hired
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.pruning.tome import Merging, ToMe, merge
from adaptbench.models.pruning.visionzip import VisionZip
from adaptbench.models.pruning.vispruner import VisPruner, distinct
from adaptbench.models.reference.tiny_llava import WEIGHTS, tiny_llava
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import cosine_similarity, normalize
from torch.utils.flop_counter import FlopCounterMode

pytestmark = pytest.mark.usefixtures("one_thread")
CHOICES = [
    RandomTokens(keep=9), GridTokens(grid=3), DivPrune(keep=9), Hired(keep=9), VisPruner(keep=9),
    VisPruner(keep=9, important=0.25), VisionZip(dominant=7, contextual=2), VisionZip(dominant=9, contextual=0),
    VisionZip(dominant=5, contextual=4, cls_token=False), GPrune(keep=9), ToMe(keep=9), ToMe(keep=9, sizes=False),
]  # fmt: skip


@pytest.fixture(scope="module")
def base() -> HFMultimodal:
    return tiny_llava()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Four images."""
    torch.manual_seed(0)
    return torch.randn(4, 3, 96, 96)


def features(seed: int, patches: int, width: int = 8, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Unit vectors."""
    drawn = torch.randn(patches, width, generator=torch.Generator().manual_seed(seed))
    return normalize(drawn.to(dtype).float(), dim=-1)


@pytest.mark.parametrize("choice", [*CHOICES, PruMerge(tokens=9), PruMergePlus(tokens=9)], ids=str)
def test_batches_of_1_2_and_16_select_alike(base: Any, pixels: torch.Tensor, choice: Any) -> None:
    model = base.module.model

    def left(*batches: torch.Tensor) -> torch.Tensor:
        return torch.stack([image for batch in batches for image in choice(model, batch)])

    alone = left(*pixels.split(1))
    assert alone.shape[:2] == (4, choice.kept(64))
    assert torch.allclose(left(*pixels.split(2)), alone, atol=1e-4)
    assert torch.allclose(left(pixels.repeat(4, 1, 1, 1)), alone.repeat(4, 1, 1), atol=1e-4)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_runs_is_what_is_priced(base: HFMultimodal, choice: Any) -> None:
    from adaptbench.harness.contracts import Prompt

    shown = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 30).convert("RGB")
    (answer,) = choice.apply(base).answer([Prompt("Is there a circle ?", (shown,))])
    assert answer.cost is not None
    assert answer.cost.visual_tokens == choice.kept(64)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 24), st.booleans(), st.data())
def test_divprune_is_the_greedy_rule(seed: int, patches: int, half: bool, data: st.DataObject) -> None:
    count, dtype = data.draw(st.integers(1, patches)), torch.bfloat16 if half else torch.float32
    distances = 1 - features(seed, patches, dtype=dtype) @ features(seed, patches, dtype=dtype).T
    nearest = [min(distances[i, j].item() for j in range(patches) if j != i) for i in range(patches)]
    chosen = [max(range(patches), key=lambda i: (nearest[i], -i))]
    while len(chosen) < count:
        rest = [i for i in range(patches) if i not in chosen]
        chosen.append(max(rest, key=lambda i: (min(distances[i, j].item() for j in chosen), -i)))
    assert spread(distances, count).tolist() == chosen


def test_divprune_picks_no_patch_twice_where_features_repeat() -> None:
    same = features(0, 3).repeat(3, 1)
    assert sorted(spread(1 - same @ same.T, 8).tolist()) == sorted(set(spread(1 - same @ same.T, 8).tolist()))
    assert spread(torch.zeros(5, 5), 5).tolist() == [0, 1, 2, 3, 4]


def test_divprune_follows_a_permutation_of_patches() -> None:
    one, order = features(3, 20), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    plain, moved = (spread(1 - each @ each.T, 7) for each in (one, one[order]))
    assert sorted(order[moved].tolist()) == sorted(plain.tolist())


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 40), st.data())
def test_vispruner_removes_what_others_are_like(seed: int, patches: int, data: st.DataObject) -> None:
    unit, count = features(seed, patches), data.draw(st.integers(0, patches))
    ranked = [*range(patches)]
    while len(ranked) > max(count, 0) and count:
        even, odd = ranked[::2], ranked[1::2]
        like = {i: max(float(unit[i] @ unit[j]) for j in odd) for i in even}
        removed = min(8, len(ranked) - count, len(even))
        ranked = sorted(even, key=lambda i: -like[i])[removed:] + odd
    found = distinct(torch.arange(patches), unit, count)
    assert sorted(found.tolist()) == sorted(ranked if count else [])


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 30), st.sampled_from(["target+mean", "mean", "none"]), st.data())
def test_visionzip_merges_the_rest(seed: int, patches: int, merge: Any, data: st.DataObject) -> None:
    contextual = data.draw(st.integers(1, patches - 2))
    dominant = data.draw(st.integers(1, patches - contextual))
    given_features, metric = features(seed, patches), features(seed + 1, patches, 4)
    kept = torch.randperm(patches, generator=torch.Generator().manual_seed(seed))[:dominant].sort().values
    rest = [i for i in range(patches) if i not in kept.tolist()]
    stride = max(1, len(rest) // contextual)
    targets = [rest[n * stride] for n in range(contextual)]
    groups: dict[int, list[int]] = {one: [] for one in targets}
    for i in rest:
        if i not in groups:
            like = [float(cosine_similarity(metric[i], metric[t], dim=0)) for t in targets]
            groups[targets[like.index(max(like))]].append(i)
    wanted = []
    for target, others in groups.items():
        mean = given_features[others].mean(dim=0) if others else torch.zeros(8)
        whole = {"target+mean": given_features[target] + mean, "none": given_features[target],
                 "mean": given_features[[target, *others]].mean(dim=0)}  # fmt: skip
        wanted.append(whole[merge])
    zipped = VisionZip(dominant=dominant + 1, contextual=contextual, merge=merge)
    assert torch.allclose(zipped.context(given_features, metric, kept)[0], torch.stack(wanted), atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 5), st.booleans())
def test_g_prune_passes_on_what_patches_have(seed: int, patches: int, steps: int, half: bool) -> None:
    drawn = torch.randn(patches, 4, generator=torch.Generator().manual_seed(seed))
    given_features = drawn.to(torch.bfloat16).float() if half else drawn
    like = [[float(cosine_similarity(one, two, dim=0)) for two in given_features] for one in given_features]
    assume(all(abs(cosine - 0.5) > 1e-4 for row in like for cosine in row))  # else the last digits decide
    has = [float(one.norm()) for one in given_features]
    for _ in range(steps):
        after = [0.0] * patches
        for one in range(patches):
            weights = [math.exp((cosine - 1) / 0.03) * (cosine >= 0.5) for cosine in like[one]]
            after = [old + has[one] * weight / sum(weights) for old, weight in zip(after, weights, strict=True)]
        has = after
    joined = [sum(like[other][one] >= 0.5 for other in range(patches)) for one in range(patches)]
    found = passed_on(given_features[None], 0.5, 0.03, steps)[0]
    assert torch.allclose(found, torch.tensor(has) / torch.tensor(joined), rtol=1e-3)
    order = torch.randperm(patches, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(passed_on(given_features[None, order], 0.5, 0.03, steps)[0], found[order], rtol=1e-4)


def test_g_prune_joins_no_patch_without_features_to_others() -> None:
    found = passed_on(torch.cat([torch.zeros(1, 4), torch.eye(4)])[None], 0.5, 0.03, 5)
    assert found[0].tolist() == pytest.approx([0, 1, 1, 1, 1])


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(3, 14), st.booleans(), st.booleans(), st.data())
def test_tome_merges_pairs_that_are_most_alike(
    seed: int, count: int, cls: bool, weighted: bool, data: st.DataObject
) -> None:
    gone = data.draw(st.integers(1, (count - cls) // 2))
    hidden, metric = features(seed, count), features(seed + 1, count, 3)
    sizes = torch.randint(1, 4, (count,), generator=torch.Generator().manual_seed(seed)).float()
    best = {}
    for a in range(2 * cls, count, 2):
        like = {b: float(metric[a] @ metric[b]) for b in range(1, count, 2)}
        best[a] = max(like.items(), key=lambda pair: pair[1])
    chosen = sorted(best, key=lambda a: -best[a][1])[:gone]
    members = {b: [b, *(a for a in chosen if best[a][0] == b)] for b in range(1, count, 2)}
    left = [[a] for a in range(0, count, 2) if a not in chosen] + [*members.values()]
    means = []
    for group in left:
        weights = sizes[group] if weighted else torch.ones(len(group))
        means.append((hidden[group] * weights[:, None]).sum(dim=0) / weights.sum())
    given_tokens = Merging(hidden[None], sizes[None], torch.arange(count)[None])
    found = merge(given_tokens, metric[None], gone, protected=int(cls), weighted=weighted)
    assert torch.allclose(found.hidden[0], torch.stack(means), atol=1e-5)
    assert found.sizes[0].tolist() == [float(sizes[group].sum()) for group in left]
    assert found.places[0].tolist() == [group[0] for group in left]


def test_tome_that_merges_nothing_is_the_tower(base: HFMultimodal, pixels: torch.Tensor) -> None:
    model = base.module.model
    assert torch.allclose(ToMe(keep=64)(model, pixels), patch_features(model, pixels), atol=1e-4)


@pytest.mark.parametrize(("r", "left"), [(8, 392), (16, 208), (22, 70), (23, 47), (24, 24)])
def test_a_constant_number_of_merges_leaves_what_the_release_leaves(r: int, left: int) -> None:
    work = Costing(load_plugins().registry, f"llava-1.5-7b+tome(r={r})").cost(CostRequest(text_tokens=64)).work
    assert work.visual_tokens == left
    assert len(work.tower.layers) == 23


@pytest.mark.parametrize("keep", [192, 128, 64])
def test_merges_are_spread_evenly(keep: int) -> None:
    merges = ToMe(keep=keep).merges(576, 23)
    assert sum(merges) == 576 - keep
    assert max(merges) - min(merges) <= 1


def shown() -> Any:
    from adaptbench.harness.contracts import Prompt

    image = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 30).convert("RGB")
    return Prompt("Is there a circle ?", (image,), max_new_tokens=1)


def test_flops_of_choosing_are_those_that_torch_counts() -> None:
    base, prompt = HFMultimodal(str(WEIGHTS), attention="eager"), shown()
    merging = PruMerge(tokens=9), PruMerge(merged=False, tokens=8), PruMergePlus()
    for choice in (*CHOICES, Hired(keep=9, query="mean"), VisPruner(keep=9, important=1), *merging):
        model = choice.apply(base)
        cost = model.answer([prompt])[0].cost
        with FlopCounterMode(display=False) as counter:
            model.prefill([prompt])()
        # The counter does not see the fused kernel that merging needs.
        tower = choice.tower(base.architecture)
        fused = 0 if tower is None else sum(4 * work.tokens**2 * 128 for work in tower.layers)
        assert counter.get_total_flops() + fused == cost.flops
        if not isinstance(choice, PruMergePlus):
            work = Work.whole(base.architecture, text_tokens=cost.text_tokens)
            assert sum(one.flops for one in choice.leaves(work).operators(COUNTED)) == cost.flops


def test_hired_keeps_what_the_cls_token_attends_to(base: HFMultimodal, pixels: torch.Tensor) -> None:
    """The tower's own attention, which it gives when it is asked for it without a fused kernel."""
    model = base.module.model
    tower = model.model.vision_tower
    kernel = tower.config._attn_implementation
    tower.set_attn_implementation("eager")
    try:
        maps = tower(pixels, output_attentions=True, return_dict=True).attentions
    finally:
        tower.set_attn_implementation(kernel)
    signals = TowerSignals(model, pixels)
    for layer, heads in itertools.product((-2, 0), ("sum", "mean")):
        one = maps[layer][:, :, 0, 1:]
        wanted = one.sum(dim=1) if heads == "sum" else one.mean(dim=1)
        assert torch.allclose(signals.received(layer, "cls", heads), wanted, atol=1e-5)
    best = maps[-2][:, :, 0, 1:].sum(dim=1).topk(9).indices.sort(dim=1).values
    assert torch.equal(Hired(keep=9).choose(signals).sort(dim=1).values, best)


def test_nothing_of_an_image_is_kept_once_its_tokens_are_chosen(base: HFMultimodal, pixels: torch.Tensor) -> None:
    signals = TowerSignals(base.module.model, pixels)
    signals.received(-2, "cls", "sum")
    alive = weakref.ref(signals)
    del signals
    assert alive() is None


def test_visionzip_begins_with_the_cls_token(base: HFMultimodal, pixels: torch.Tensor) -> None:
    model, zipped = base.module.model, VisionZip(dominant=5, contextual=2)
    signals = TowerSignals(model, pixels)
    found = zipped(model, pixels)
    assert torch.equal(found[:, 0], signals.cls)
    kept = zipped.choose(signals).sort(dim=1).values
    assert torch.equal(found[0, 1:5], signals.features[0, kept[0]])


def test_grid_tokens_are_the_middles_of_cells(base: HFMultimodal, pixels: torch.Tensor) -> None:
    places = GridTokens(grid=2).choose(TowerSignals(base.module.model, pixels))
    assert places[0].tolist() == [8 * row + column for row in (2, 6) for column in (2, 6)]


def test_equal_scores_are_told_apart_by_the_place() -> None:
    assert highest(torch.tensor([1.0, 3.0, 3.0, 0.0, 3.0]), 4).tolist() == [1, 2, 4, 0]


def test_a_choice_that_repeats_a_patch_is_refused(base: HFMultimodal, pixels: torch.Tensor) -> None:
    class Twice(KeptTokens):
        def choose(self, tower: TowerSignals) -> torch.Tensor:
            return torch.zeros(len(tower.features), 2, dtype=torch.int64)

    with pytest.raises(UserError, match="Twice chose a patch twice"):
        Twice(keep=2)(base.module.model, pixels)


def test_vtw_leaves_no_visual_token_after_its_blocks(base: HFMultimodal) -> None:
    registry = load_plugins().registry
    work = Costing(registry, "llava-1.5-7b+vtw").cost(CostRequest(text_tokens=64)).work
    tokens = [layer.tokens for layer in work.language[1].layers]
    assert tokens == [640] * 15 + [64] * 17
    assert sum(tokens) / 32 - 64 == 270  # visual tokens of a block on average
    small = Costing(registry, "tiny-llava+vtw").cost(CostRequest(text_tokens=9)).work.language[1].layers
    assert [layer.tokens for layer in small] == [73] * 5 + [9] * 5


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("llava-1.5-7b+divprune(keep=577)", "cannot keep 577 of 576 visual tokens"),
        ("llava-1.5-7b+grid-tokens(grid=25)", "cannot put a grid of 25 x 25 on 576 visual tokens; give grid from 1"),
        ("llava-1.5-7b+visionzip(dominant=570)", "cannot make 570 dominant and 10 contextual tokens of 576 patches"),
        ("llava-1.5-7b+tome(keep=577)", "cannot keep 577 of 576 visual tokens"),
        ("tiny-llava+tome(keep=3)", "cannot merge 64 patches into 3 in 4 blocks, each of which merges half"),
        ("llava-1.5-7b+hired(layer=24)", "there is no layer 24 among the 24 of its tower"),
        ("llava-1.5-7b+visionzip(query=mean)", "say cls_token=false as well"),
        ("llava-1.5-7b+vtw(k=33)", "cannot drop tokens after 33 of 32 blocks"),
        ("llava-1.5-7b+hired+divprune", "exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Costing(load_plugins().registry, spec).cost(CostRequest(text_tokens=64))
