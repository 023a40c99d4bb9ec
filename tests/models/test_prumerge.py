"""PruMerge and PruMerge+: which patches are kept, what becomes of the others, and what that costs."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from adaptbench.adapters.tower_signals import TowerSignals
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus, Signals, outliers
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ("Is there a dog in the image ?", "What colour is the cat ?", "how many", "no")
BOTH = pytest.mark.parametrize("kind", [PruMerge, PruMergePlus])


def seen_by(model: HFMultimodal, pixels: torch.Tensor) -> list[torch.Tensor]:
    """What its language model is given of images."""
    return [seen.features for seen in model.see({"pixel_values": pixels})]


@pytest.fixture
def prompts(ask: Callable) -> list[Any]:
    """Three images, one of them asked three times, two images in a prompt, and none."""
    return [
        ask(QUESTIONS[0], 1), ask(QUESTIONS[1], 2), ask(QUESTIONS[2], 1), ask(QUESTIONS[1]), ask(QUESTIONS[3], 1),
        ask(QUESTIONS[0], 3, 2), ask(QUESTIONS[3], 3, known=False),
    ]  # fmt: skip


# Selection and merging, on random tensors


@st.composite
def signals(draw: Any) -> Signals:
    """Patches of which some may stand out, and are attended to as a softmax does it."""
    patches, of = draw(st.integers(4, 48)), torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    peak = torch.rand(patches, generator=of) < draw(st.sampled_from([0, 0.1, 0.3]))
    scores = (torch.randn(patches + 1, generator=of) + torch.cat([peak, peak[:1]]) * 4).softmax(0)[:-1]
    return Signals(torch.randn(patches, 6, generator=of), scores, torch.randn(patches, 5, generator=of))


def chosen_by_hand(scores: list[float], how: PruMerge) -> list[int]:
    """The patches that are kept, from the formulas."""
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
    low, high = np.percentile(scores, [25, 75])
    count = sum(score > high + how.iqr * (high - low) for score in scores)
    count = min(max(count, how.least), how.most or len(scores), len(scores))
    kept = ranked[:count]
    if not isinstance(how, PruMergePlus):
        return kept
    ratio = count / len(scores)
    stride = max(1, int(math.floor(1 / ratio + 1e-9) / how.divisor))
    end = len(scores) if how.last_patch else len(scores) - 1
    return kept + [i for i in range(0, end, stride) if i not in kept]


def merged_by_hand(given: Signals, chosen: list[int], how: PruMerge) -> np.ndarray:
    """The tokens that are left, patch by patch, from the formulas."""
    x, a, k = (part.double().numpy() for part in given)
    pruned = [j for j in range(len(a)) if j not in chosen]
    tokens = []
    for i in sorted(chosen) if how.order == "raster" else chosen:
        others = pruned if how.pool == "pruned" else [j for j in range(len(a)) if j != i]
        cosine = {j: k[i] @ k[j] / np.linalg.norm(k[i]) / np.linalg.norm(k[j]) for j in others}
        near = sorted(others, key=lambda j: -cosine[j])[: how.neighbours]
        total = sum(a[j] for j in near) if how.weights == "normalised" else 1
        tokens.append(x[i] + sum((a[j] / total * x[j] for j in near), np.zeros_like(x[i])))
    if how.merged and pruned:
        tokens.append(sum(a[j] * x[j] for j in pruned))
    return np.array(tokens)


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "iqr": st.sampled_from([0.5, 1.5, 3]),
    "least": st.integers(1, 4),
    "most": st.none() | st.integers(4, 9),
    "neighbours": st.sampled_from([0, 1, 3, 32]),
    "pool": st.sampled_from(["all", "pruned"]),
    "weights": st.sampled_from(["attention", "normalised"]),
    "merged": st.booleans(),
    "order": st.sampled_from(["attention", "raster"]),
}
SELECTORS = st.builds(PruMerge, **OPTIONS) | st.builds(
    PruMergePlus, **OPTIONS, divisor=st.sampled_from([1, 3, 7]), last_patch=st.booleans()
)


@settings(deadline=None, max_examples=300)
@given(signals(), SELECTORS)
def test_selection_and_merging_are_those_of_the_formulas(given: Signals, how: PruMerge) -> None:
    chosen = how.chosen(given.scores)
    assert chosen == chosen_by_hand(given.scores.double().tolist(), how)
    np.testing.assert_allclose(how.select(given), merged_by_hand(given, chosen, how), rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(signals(), st.sampled_from([PruMerge, PruMergePlus]), st.data())
def test_the_number_of_tokens_that_is_given_is_what_is_left(given: Signals, kind: type[PruMerge], data: Any) -> None:
    tokens = data.draw(st.integers(2, len(given.scores)))
    how = kind(tokens=tokens)
    chosen = how.chosen(given.scores)
    assert len(how.select(given)) == tokens == len(set(chosen)) + 1
    best = tokens - 1 if kind is PruMerge else tokens // 2
    assert chosen[:best] == sorted(range(len(given.scores)), key=lambda i: -given.scores[i])[:best]
    assert chosen[best:] == sorted(chosen[best:])


def test_the_published_fixed_ratio() -> None:
    """An eighth of 576 patches, then as many spread over the others: no two neighbours of a row are far apart."""
    scores = torch.rand(576, generator=torch.Generator().manual_seed(0))
    assert len(PruMerge(tokens=73).chosen(scores)) == 72
    chosen = PruMergePlus(tokens=145).chosen(scores)
    assert len({*chosen}) == 144
    rest = sorted({*range(576)} - {*chosen[:72]})
    assert {rest.index(b) - rest.index(a) for a, b in itertools.pairwise(chosen[72:])} == {7}


@pytest.mark.parametrize(("count", "total"), [(24, 96), (36, 144), (48, 192), (72, 288)])
def test_samples_are_a_grid(count: int, total: int) -> None:
    """N / n / 3 apart: three samples for each outlier, but for those that are outliers and the last patch."""
    scores = torch.full((576,), 1e-3)
    scores[1 : 1 + 2 * count : 2] = 0.5  # odd patches, on no even grid
    chosen = PruMergePlus().chosen(scores)
    stride = 576 // count // 3
    grid = [i for i in range(0, 575, stride) if i not in chosen[:count]]
    assert sorted(chosen[:count]) == list(range(1, 1 + 2 * count, 2))
    assert chosen[count:] == grid
    assert abs(len(chosen) - total) <= count


# Degenerate images


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60))
def test_never_more_than_a_quarter_are_outliers(scores: list[float]) -> None:
    assert outliers(torch.tensor(scores)) <= len(scores) / 4


def even(patches: int = 12) -> Signals:
    of = torch.Generator().manual_seed(0)
    scores = torch.full((patches,), 1 / 16)
    return Signals(torch.randn(patches, 6, generator=of), scores, torch.randn(patches, 5, generator=of))


def test_an_image_without_outliers_keeps_one_patch_and_the_rest_merged() -> None:
    given = even()
    assert outliers(given.scores) == 0
    assert PruMerge().chosen(given.scores) == [0]
    kept, merged = PruMerge().select(given)
    assert torch.allclose(kept, given.features[0] + given.features[1:].sum(0) / 16, atol=1e-6)
    assert torch.allclose(merged, given.features[1:].sum(0) / 16, atol=1e-6)
    assert PruMergePlus().chosen(given.scores) == [0, 4, 8]


@pytest.mark.parametrize("least", [5, 6, 12])
def test_a_third_or_more_kept_samples_every_patch(least: int) -> None:
    """The published stride would be 0."""
    chosen = PruMergePlus(least=least).chosen(even().scores)
    assert sorted(chosen) == list(range(12 if least == 12 else 11))


def test_with_nothing_pruned_there_is_nothing_to_merge() -> None:
    given, how = even(), PruMerge(least=12)
    assert how.select(given).shape == (12, 6)
    lonely = PruMerge(least=12, pool="pruned").select(given)
    assert torch.equal(lonely, given.features)


def test_bounds_count_outliers() -> None:
    scores = torch.tensor([0.01] * 20 + [0.2, 0.3, 0.25, 0.22])
    assert PruMerge().chosen(scores) == [21, 22, 23, 20]
    assert PruMerge(most=2).chosen(scores) == [21, 22]
    assert PruMerge(least=6).chosen(scores) == [21, 22, 23, 20, 0, 1]
    assert len(PruMerge(least=99).chosen(scores)) == 24


def test_more_tokens_than_patches_are_refused() -> None:
    with pytest.raises(UserError, match="an image has 12 patches, so 12 cannot be picked"):
        PruMerge(tokens=13).chosen(even().scores)


# What the tower says


def pixels_of(model: Any, ask: Callable, *seeds: int) -> torch.Tensor:
    return model.prepare([ask("no", *seeds)])["pixel_values"]


def asked_of_the_tower(model: Any, pixels: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """What the tower returns, and the queries and keys of its last block, noted while it runs."""
    noted: dict[str, torch.Tensor] = {}
    tower = model.module.model.model.vision_tower
    attention = tower.encoder.layers[-1].self_attn
    hooks = [
        getattr(attention, name).register_forward_hook(lambda *given, name=name: noted.update({name: given[2]}))
        for name in ("q_proj", "k_proj")
    ]
    out = tower(pixels, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    return out, noted["q_proj"], noted["k_proj"]


@torch.no_grad()
def test_a_patch_scores_what_cls_attends_to_it(llava: Callable, ask: Callable) -> None:
    model = llava()
    pixels = pixels_of(model, ask, 1, 2, 3)
    out, query, key = asked_of_the_tower(model, pixels)
    attention = (query @ key.transpose(1, 2) / math.sqrt(16)).softmax(-1)
    found = PruMerge().signals(TowerSignals(model.module.model, pixels))
    assert len(found) == 3
    for image, own in enumerate(found):
        assert torch.allclose(own.scores, attention[image, 0, 1:], atol=1e-6)
        assert torch.allclose(own.keys, key[image, 1:], atol=1e-6)
        assert torch.equal(own.features, out.hidden_states[-2][image, 1:])


@torch.no_grad()
@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_with_heads_it_is_the_towers_own_attention(llava: Callable, ask: Callable, layer: int) -> None:
    clip, siglip = llava(attention="eager"), llava("siglip", attention="eager")
    for model, query in ((clip, "cls"), (clip, "mean"), (siglip, "mean")):
        pixels = pixels_of(model, ask, 1, 2)
        attention = asked_of_the_tower(model, pixels)[0].attentions[layer]
        skipped = int(model is clip)
        expected = attention[:, :, 0] if query == "cls" else attention.mean(2)
        found = PruMerge(query=query, heads="mean", layer=layer).signals(TowerSignals(model.module.model, pixels))
        for image, own in enumerate(found):
            assert torch.allclose(own.scores, expected[image, :, skipped:].mean(0), atol=1e-6)
            assert len(own.features) == 36


def test_several_layers_of_features_stand_side_by_side(llava: Callable, ask: Callable) -> None:
    model = llava()
    pixels, config = pixels_of(model, ask, 1), model.module.model.config
    config.vision_feature_layer = [-2, 1]
    try:
        (own,) = PruMerge().signals(TowerSignals(model.module.model, pixels))
    finally:
        config.vision_feature_layer = -2
    assert own.features.shape == (36, 32)


# In a model


@BOTH
def test_a_batch_is_its_prompts_alone(llava: Callable, prompts: list, kind: type[PruMerge]) -> None:
    model = kind().apply(llava())
    together = model.answer(prompts)
    assert together == [model.answer([prompt])[0] for prompt in prompts]
    assert together == kind().apply(llava(share=False)).answer(prompts)
    assert [answer.text for answer in together] == model.generate(prompts)
    assert [answer.text for answer in together] != llava().generate(prompts)


@BOTH
@torch.no_grad()
def test_each_image_has_its_own_number_of_tokens(llava: Callable, ask: Callable, kind: type[PruMerge]) -> None:
    model, seeds = kind().apply(llava()), range(12)
    together = seen_by(model, pixels_of(model, ask, *seeds))
    alone = [seen_by(model, pixels_of(model, ask, seed))[0] for seed in seeds]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(together, alone, strict=True))
    assert len({len(features) for features in alone}) > 1


def test_the_projector_is_given_the_selected_features(llava: Callable, ask: Callable) -> None:
    model = PruMerge(neighbours=0, merged=False, order="raster").apply(llava())
    pixels = pixels_of(model, ask, 1)
    with torch.no_grad():
        (given,) = PruMerge().signals(TowerSignals(model.module.model, pixels))
        whole, (left,) = seen_by(llava(), pixels)[0], seen_by(model, pixels)
    kept = sorted(PruMerge().chosen(given.scores))
    assert 1 < len(kept) < 10
    assert torch.allclose(left, whole[kept], atol=1e-5)


@BOTH
@pytest.mark.parametrize("options", [{}, {"tokens": 10}])
def test_flops_are_those_of_what_it_leaves(llava: Callable, ask: Callable, kind: type[PruMerge], options: dict) -> None:
    model = kind(**options).apply(llava())
    architecture = read_architecture(model.module.model.config.to_dict())
    for answer in model.answer([ask("no", seed, tokens=1) for seed in range(6)]):
        tokens = answer.cost.visual_tokens
        assert tokens == options.get("tokens", tokens) < 36
        work = kind(tokens=tokens).leaves(Work.whole(architecture, text_tokens=answer.cost.text_tokens))
        assert answer.cost.flops == sum(operator.flops for operator in work.operators(COUNTED))


@pytest.mark.parametrize("heads", ["single", "mean"])
def test_a_tower_without_cls_token_may_average(llava: Callable, prompts: list, heads: str) -> None:
    with pytest.raises(UserError, match="method prumerge: its tower has no CLS token; say query=mean"):
        PruMerge().apply(llava("siglip"))
    for kind in (PruMerge, PruMergePlus):
        answers = kind(query="mean", heads=heads).apply(llava("siglip")).answer(prompts)
        assert all(0 < answer.cost.visual_tokens < 37 for answer in answers if answer.cost.visual_tokens)
        assert [bool(answer.cost.visual_tokens) for answer in answers] == [bool(p.images) for p in prompts]


def test_bfloat16_runs(llava: Callable, prompts: list) -> None:
    model = llava(dtype="bfloat16")
    with torch.no_grad():
        (left,) = seen_by(PruMergePlus().apply(model), pixels_of(model, lambda *_: prompts[0]))
    assert left.dtype == torch.bfloat16
    assert len(PruMergePlus().apply(model).generate(prompts)) == len(prompts)


def test_the_given_model_stays_as_it_was(llava: Callable, prompts: list) -> None:
    model = llava()
    before = model.answer(prompts)
    PruMerge().apply(model).answer(prompts)
    assert model.answer(prompts) == before


def test_an_image_is_seen_once_whatever_the_options(llava: Callable, ask: Callable) -> None:
    model, seen = llava(), []
    hook = model.module.model.model.vision_tower.register_forward_hook(lambda *_: seen.append(1))
    counts = [
        PruMerge(tokens=tokens).apply(model).answer([ask("no", 99)])[0].cost.visual_tokens for tokens in (5, 9, 5)
    ]
    hook.remove()
    assert (counts, len(seen)) == ([5, 9, 5], 1)


@pytest.mark.parametrize("name", ["prumerge", "prumerge-plus"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": 1}, "tokens=1 leaves none beside the merged one; give 2 or more, or merged=false"),
        ({"tokens": 0, "merged": False}, "tokens must be a whole number of at least 1, not 0"),
        ({"tokens": 38}, "an image has 36 patches, so 37 cannot be picked from it; give fewer tokens"),
        ({"iqr": -1.5}, "iqr must be a number of at least 0, not -1.5"),
        ({"least": 0}, "least must be a whole number of at least 1, not 0"),
        ({"most": 0}, "most must be a whole number of at least 1, not 0"),
        ({"least": 3, "most": 2}, "at least more than at most"),
        ({"neighbours": -1}, "neighbours must be a whole number of at least 0, not -1"),
        ({"layer": 3}, "there is no layer 3 among the 3 of its tower; give -3 to 2"),
        ({"query": "patch"}, "query must be one of cls, mean, not patch"),
        ({"heads": "max"}, "heads must be one of single, mean, not max"),
        ({"pool": "none"}, "pool must be one of all, pruned, not none"),
        ({"weights": "raw"}, "weights must be one of attention, normalised, not raw"),
        ({"order": "random"}, "order must be one of attention, raster, not random"),
    ],
)
def test_bad_options_are_told_in_a_line(llava: Callable, method: Callable, name: str, options: dict, said: str) -> None:
    with pytest.raises(UserError, match=rf"^method {name}(\(.*\))?: .*{said}"):
        method(name, **options).apply(llava())


def test_a_grid_must_be_a_grid(method: Callable) -> None:
    with pytest.raises(UserError, match="divisor must be a whole number of at least 1, not 0"):
        method("prumerge-plus", divisor=0)
    with pytest.raises(UserError, match="unknown argument 'divisor'"):
        method("prumerge", divisor=3)


def test_what_does_not_suit_is_refused(llava_folder: Callable) -> None:
    for name in ("prumerge", "prumerge-plus"):
        with pytest.raises(UserError, match=f"method '{name}' needs visual-tokens; 'constant' offers nothing"):
            plan_model(load_plugins().registry, parse(f"constant+{name}"))
    model = HFMultimodal(str(llava_folder("clip")))  # its own, as its config is changed before anything is read of it
    config = model.module.model.config
    config.vision_feature_select_strategy = "full"
    with pytest.raises(UserError, match="it projects its tower's CLS token"):
        PruMerge().apply(model)
    with pytest.raises(UserError, match="it projects its tower's CLS token"):
        PruMerge().leaves(Work.whole(read_architecture(config.to_dict()), text_tokens=5))
    config.vision_config.model_type = "dinov2"
    with pytest.raises(UserError, match="cannot read queries and keys of a dinov2"):
        PruMergePlus().apply(model)
