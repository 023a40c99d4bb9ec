"""What drops tokens in the decoder, against the same rules written out one token after the other."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.adapters.decoder import State, Tokens
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.plugins import load_plugins
from adaptbench.models.pruning import fit_fitprune, search_vtw
from adaptbench.models.pruning.calibration import calibration, load_base
from adaptbench.models.pruning.dart import Dart, taken
from adaptbench.models.pruning.density_peaks import clusters
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.fit_fitprune import Paid, fit, schedule
from adaptbench.models.pruning.fitprune import FitPrune, read_schedule
from adaptbench.models.pruning.pyramiddrop import PyramidDrop
from adaptbench.models.pruning.sparsevlm import SparseVLM, raters, recycled
from adaptbench.models.pruning.vtw import VTW
from adaptbench.models.reference.tiny_llava_recipe import draw_scenes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, normalize
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adaptbench.harness.contracts import Prompt
    from adaptbench.harness.methods import Method
    from adaptbench.models.pruning.dropping import Dropping

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ("Is there a dog in the image ?", "What colour is the cat ?", "how many", "no")
SCHEDULE = str(Path(__file__).parent / "fitprune_schedule.json")
STAGES = {"layers": "1/2/3", "counts": "20/9/4"}
METHODS = [
    PyramidDrop(), PyramidDrop(layers="1/3", shares="0.6/0", positions="original"), Dart(k=1),
    FitPrune(schedule=SCHEDULE), Dart(keep=9, beside=True, text_pivots=0), SparseVLM(**STAGES),
    SparseVLM(version="v2", raters="all", **STAGES),
]  # fmt: skip
HALVES = st.sampled_from([torch.float32, torch.bfloat16])


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


class Read:
    """What a block may have left to be read, at random: two key heads, four query heads."""

    def __init__(self, tokens: Tokens, seed: int, dtype: torch.dtype) -> None:
        rows, count = tokens.real.shape
        self.known, self.tokens = random(seed, rows, 2, count, 3, dtype=dtype), tokens
        self.every = random(seed + 1, rows, 4, count, count, dtype=dtype).float().softmax(dim=-1)
        self.ones = random(seed + 2, rows, count, count)

    def __call__(self) -> torch.Tensor:
        return self.every[:, :, -1]

    def ahead(self, state: State) -> torch.Tensor:
        return self.every[:, :, 0] if state.tokens is self.tokens else self.every[:, :, -1]

    def by_head(self, places: torch.Tensor, *, by_distance: bool = False) -> Iterator[torch.Tensor]:
        for head in (self.every / self.ones[:, None] if by_distance else self.every).unbind(dim=1):
            yield head.gather(1, places[..., None].expand(-1, -1, head.shape[-1]))

    def keys(self) -> torch.Tensor:
        return self.known

    def normed(self, state: State) -> torch.Tensor:
        return 2 * state.hidden


@st.composite
def states(draw: Any) -> State:
    """Rows with text, visual tokens and text, some padded."""
    shapes = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 6)), min_size=1, max_size=3))
    longest, seed, dtype = max(map(sum, shapes)), draw(st.integers(0, 10**6)), draw(HALVES)
    real, visual = (torch.zeros(len(shapes), longest, dtype=torch.bool) for _ in range(2))
    for row, (_, images, after) in enumerate(shapes):
        real[row, longest - sum(shapes[row]) :] = True
        visual[row, longest - after - images : longest - after] = True
    tokens = Tokens.following(None, real, visual)
    hidden = random(seed + 2, *real.shape, 8, dtype=dtype)
    read = Read(tokens, seed, dtype)
    return State(
        hidden, tokens, tuple({} for _ in shapes), attention=read, marked=real & ~visual & (hidden[..., 0] > 0)
    )


def places(flags: torch.Tensor) -> list[int]:
    return flags.nonzero()[:, 0].tolist()


def kept_places(before: State, after: State, row: int) -> list[int]:
    """Which visual tokens a row keeps: hidden states tell."""
    left = after.hidden[row, after.tokens.real[row] & after.tokens.visual[row]]
    found = [place for place in places(before.tokens.visual[row]) if (left == before.hidden[row, place]).all(1).any()]
    assert len(found) == len(left)
    return found


@settings(max_examples=40, deadline=None)
@given(states(), st.floats(0, 1), st.sampled_from(["mean", "max"]))
def test_pyramiddrop_keeps_a_share_of_all_by_the_next_blocks_row(state: State, share: float, heads: Any) -> None:
    after = PyramidDrop(layers="4", shares=f"{share:.3f}", heads=heads, positions="original").before(4, state)
    assert not bool((after.tokens.visual & ~after.tokens.real).any())  # padding would count as tokens at a later stage
    for row, visual in enumerate(state.tokens.visual):
        rows = state.attention.every[row, :, 0].tolist()
        reduce = max if heads == "max" else sum
        score = [reduce(head[place] for head in rows) for place in range(len(visual))]
        count = round(float(f"{share:.3f}") * len(places(visual)))
        best = sorted(places(visual), key=lambda place: (-score[place], place))[:count]
        assert kept_places(state, after, row) == sorted(best)


@settings(max_examples=40, deadline=None)
@given(states(), st.integers(1, 30), st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_dart_takes_what_is_least_like_each_pivot(state: State, keep: int, own: int, text: int, beside: bool) -> None:
    method = Dart(keep=keep, visual_pivots=own, text_pivots=text, beside=beside)
    after = method.before(2, state)
    for row, visual in enumerate(state.tokens.visual):
        norm = [sum(map(abs, state.attention.known[row, :, n].float().flatten().tolist())) for n in range(len(visual))]
        images = places(visual)
        behind = [n for n in places(state.tokens.real[row] & ~visual) if n > images[0]]
        pivots = [sorted(sorted(some, key=lambda n: -norm[n])[:most]) for some, most in ((images, own), (behind, text))]
        count = own + (own + text) * math.ceil(keep / (own + text)) if beside and own + text else keep
        order, turns = pivots[0][:count], pivots[0] + pivots[1]
        rest = min(count, len(images)) - len(order)
        for turn, pivot in enumerate(turns):
            left = [n for n in images if n not in order]
            like = {
                n: cosine_similarity(state.hidden[row, n].float(), state.hidden[row, pivot].float(), dim=0)
                for n in left
            }
            order += sorted(left, key=lambda n: like[n])[: rest // len(turns) + (turn < rest % len(turns))]
        order += [n for n in images if n not in order][: min(count, len(images)) - len(order)]
        assert kept_places(state, after, row) == sorted(order)


def test_dart_takes_other_tokens_where_those_are_permuted() -> None:
    unit, order = normalize(random(0, 20, 6), dim=1), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    moved = torch.tensor([order.tolist().index(place) for place in (3, 8)])
    plain, other = taken(unit, unit[[3, 8]], torch.tensor([3, 8]), 9), taken(unit[order], unit[[3, 8]], moved, 9)
    assert sorted(order[other].tolist()) == sorted(plain.tolist())


@settings(max_examples=30, deadline=None)
@given(states(), st.sampled_from(["v1", "v2"]), st.booleans())
def test_sparsevlm_keeps_what_raters_attend_to(state: State, version: Any, rotary: bool) -> None:
    method, every = SparseVLM(version=version, rotary=rotary, **STAGES), state.attention.every
    scores = method.scores(1, state)
    for row, visual in enumerate(state.tokens.visual):
        rate = places(state.marked[row])
        read = every[row] / state.attention.ones[row] if rotary and version == "v2" else every[row]
        heads = [[sum(float(head[q, n]) for q in rate) / max(1, len(rate)) for n in range(len(visual))]
                 for head in read]  # fmt: skip
        if version == "v2":  # of four heads 14 / 32 are two
            heads = sorted(heads, key=lambda head: -sum(head[n] for n in places(visual)))[:2]
        for n in places(visual):
            assert float(scores[row, n]) == pytest.approx(
                sum(head[n] for head in heads) / len(heads), rel=1e-4, abs=1e-6
            )


@settings(max_examples=30, deadline=None)
@given(states(), st.integers(1, 30))
def test_sparsevlm_recycles_what_it_drops(state: State, count: int) -> None:
    method = SparseVLM(layers="1", counts=str(count)).for_depth(4)
    after = method.before(1, dataclasses.replace(state, own=state.own.float()))
    scores = method.scores(1, state)
    for row, visual in enumerate(state.tokens.visual):
        images = places(visual)
        again, made = recycled(max(0, len(images) - count))
        text = places(state.tokens.real[row] & ~visual)
        if len(images) <= count + made:
            count_left, new = len(images), []
            ranked = images
        else:
            ranked, count_left = sorted(images, key=lambda n: (-float(scores[row, n]), n)), count
            dropped = state.hidden[row, ranked[count : count + again]].float()
            group = clusters(dropped, made)
            new = [dropped[group == one].mean(dim=0) for one in range(made)]
        own, hidden = sorted(ranked[:count_left]), state.hidden[row].float()
        before, behind = ([n for n in text if (n > images[0]) == later] for later in (False, True))
        wanted = [*hidden[before], *hidden[own], *new, *hidden[behind]]
        real = after.tokens.real[row]
        assert torch.allclose(after.hidden[row, real], torch.stack(wanted), atol=1e-5)
        assert after.tokens.positions[row, real].tolist() == [*range(len(wanted))]
        assert int(after.tokens.visual[row].sum()) == len(own) + len(new)
        assert after.marked[row, real].sum() == state.marked[row].sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.data())
def test_clusters_are_those_of_density_peaks(seed: int, count: int, data: st.DataObject) -> None:
    tokens, many = random(seed, count, 4), data.draw(st.integers(1, count))
    if data.draw(st.booleans()):
        tokens = tokens.round()  # some are alike
    far = [[math.dist(one, two) / 2 for two in tokens.tolist()] for one in tokens.tolist()]
    density = [math.exp(-sum(d**2 for d in sorted(row)[:many]) / many) for row in far]
    close = [
        min((far[i][j] for j in range(count) if (density[j], -j) > (density[i], -i)), default=max(map(max, far)))
        for i in range(count)
    ]
    margin = sorted((d * c for d, c in zip(density, close, strict=True)), reverse=True)
    centres = sorted(range(count), key=lambda i: -density[i] * close[i])[:many]
    gaps = {round(one - two, 5) for one, two in itertools.pairwise(margin)}
    apart = len({round(d, 5) for d in density}) == count and 0 not in gaps
    found = clusters(tokens, many).tolist()
    assert sorted(set(found)) == [*range(many)]
    if apart:  # equal ones differ by the last digits of the two ways to compute them
        nearest = [min(range(many), key=lambda c: far[i][centres[c]]) for i in range(count)]
        assert found == [centres.index(i) if i in centres else nearest[i] for i in range(count)]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_raters_are_above_the_mean(seed: int, images: int, text: int) -> None:
    visual, words = random(seed, images, 5), random(seed + 1, text + 2, 5)
    behind = torch.tensor([False, False] + [True] * text)
    shares = [0.0] * text
    for one in visual:
        each = [math.exp(float(one @ word)) for word in words[2:]]
        shares = [share + value / sum(each) / images for share, value in zip(shares, each, strict=True)]
    above = [10 + n for n, share in enumerate(shares) if share > sum(shares) / text]
    found = raters(visual, words, behind, torch.arange(8, 10 + text)).tolist()
    assert found == above or max(shares) - min(shares) < 1e-6


@settings(max_examples=30, deadline=None)
@given(states(), st.booleans())
def test_fitprune_keeps_what_image_and_text_attend_to(state: State, inverted: bool) -> None:
    count = dataclasses.replace(state, asked=torch.full((len(state.hidden),), 36))
    after = FitPrune(schedule=SCHEDULE, inverted=inverted).before(2, count)
    for row, visual in enumerate(state.tokens.visual):
        most = state.attention.every[row].amax(dim=0).tolist()
        images = places(visual)
        text = places(state.tokens.real[row] & ~visual)
        score = {n: sum(most[i][n] for i in images) * sum(most[t][n] for t in text) for n in images}
        best = sorted(images, key=lambda n: score[n] if inverted else -score[n])[:20]
        assert kept_places(state, after, row) == sorted(best)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0, 1))
def test_a_schedule_loses_what_both_pay_least(seed: int, tokens: int, alpha: float) -> None:
    paid = [Paid(*random(seed + 2 * n, 2, 3, tokens).exp()) for n in range(2)]
    lengths = []
    for own in paid:
        alive, counts = [*range(tokens)], [tokens]
        for block in range(2):
            least = []
            for attention in (own.images[block], own.text[block]):
                whole, lost, total = float(attention[alive].sum()), set(), 0.0
                for one in sorted(alive, key=lambda n: float(attention[n])):
                    total += float(attention[one])
                    if total >= alpha * whole * (1 - 1e-6):  # the last digits of a sum depend on its order
                        break
                    lost.add(one)
                least.append(lost)
            alive = [n for n in alive if n not in least[0] & least[1]]
            counts.append(len(alive))
        lengths.append(counts)
    assert schedule(paid, alpha) == [round(sum(both) / 2) for both in zip(*lengths, strict=True)]


def test_a_fit_loses_as_little_as_saves_the_flops() -> None:
    def left(alpha: float) -> list[int]:
        return [100, round(100 * (1 - alpha)), round(100 * (1 - alpha) ** 2)]

    alpha, found = fit(left, sum, 0.4)
    assert sum(found) <= 0.6 * 300 < sum(left(alpha - 0.01))
    with pytest.raises(UserError, match=r"no schedule saves 0\.7: the first block"):
        fit(left, sum, 0.7)


@pytest.mark.parametrize(
    "held",
    [[], {}, {"visual_tokens": 3, "left": [3, 4]}, {"visual_tokens": 3, "left": "x"}, {"visual_tokens": 3, "left": [3]},
     {"visual_tokens": 3, "left": [3, "2"]}, {"visual_tokens": None, "left": [3, 1]}, {"left": [3, 1]}],
)  # fmt: skip
def test_what_is_not_a_schedule_is_refused(held: object, tmp_path: Path) -> None:
    (tmp_path / "schedule.json").write_text(json.dumps(held))
    with pytest.raises(UserError, match="it is not a schedule: left must be counts that fall"):
        read_schedule(str(tmp_path / "schedule.json"))


def test_recipes_fit_what_methods_take(
    llava: Callable, ask: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [ask(QUESTIONS[0], 1, known=False, tokens=1), ask(QUESTIONS[1], 2, known=False, tokens=1)]
    for module in (fit_fitprune, search_vtw):
        monkeypatch.setattr(module, "load_base", lambda _: llava())
        monkeypatch.setattr(module, "calibration", lambda *_: asked)
    fit_fitprune.fit_fitprune(tmp_path, "tiny", r=0.3)
    method = FitPrune(schedule=str(tmp_path / "schedule.json"))
    shares = [answer.cost.language for answer in method.apply(llava()).answer(asked)]
    for share in shares:
        cost = method.leaves(Work.whole(llava().architecture, text_tokens=5))
        assert (share.spent - cost.added) / share.base < 0.75
    search_vtw.search_vtw(tmp_path, "tiny", eta=0, first=3)
    assert json.loads((tmp_path / "vtw.json").read_text())["k"] == 4  # where nothing is dropped, nothing diverges
    assert search_vtw.divergence(llava(), VTW(k=1).apply(llava()), asked) > 0


def test_a_folder_can_be_fitted_in_again_with_more_prompts(tmp_path: Path) -> None:
    assert [len(calibration("", "", tmp_path, samples, 0)) for samples in (1, 2)] == [1, 2]


@pytest.mark.parametrize("given", [{"average": "nan"}, {"r": "half"}, {"r": 1}])
def test_what_is_not_a_share_is_refused(given: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a share; give a number above 0 and below 1"):
        fit_fitprune.fit_fitprune(tmp_path, "tiny", **given)


def test_a_schedule_saves_flops_or_tokens_not_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="r and average say the same; give one of the two"):
        fit_fitprune.fit_fitprune(tmp_path, "tiny", r=0.5, average=0.25)


@pytest.mark.parametrize("base", ["tiny-qwen-vl+divprune", "tiny-llava+fastv(k=1)+adallava-l@0.5"])
def test_nothing_is_fitted_to_a_model_with_methods(base: str) -> None:
    with pytest.raises(UserError, match="a method is fitted to a model without methods; name tiny-"):
        load_base(base)


def test_no_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scenes=0 is not a positive number; give 1 or more"):
        draw_scenes(tmp_path, 0, 0)


# In a model


@pytest.fixture
def prompts(ask: Callable) -> list[Prompt]:
    """An image that is asked twice, two in a prompt, and none."""
    return [ask(QUESTIONS[0], 1, tokens=2), ask(QUESTIONS[2], 1), ask(QUESTIONS[1]), ask(QUESTIONS[3], 3, 2)]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_batches_of_2_4_and_16_are_their_prompts_alone(llava: Callable, prompts: list, method: Method) -> None:
    model = method.apply(llava())
    alone = [model.answer([prompt])[0] for prompt in prompts]
    assert [*model.answer(prompts[:2]), *model.answer(prompts[2:])] == model.answer(prompts) == alone
    assert model.answer(prompts * 4) == alone * 4


@pytest.mark.parametrize("method", [*METHODS, FastV(k=2, r=0.5)], ids=str)
def test_flops_are_those_that_are_priced_and_those_that_torch_counts(
    llava: Callable, ask: Callable, method: Dropping
) -> None:
    model = method.apply(llava(attention="eager"))
    for prompt in (ask(QUESTIONS[0], 1, known=False, tokens=1), ask(QUESTIONS[1], 3, 2, known=False, tokens=1)):
        cost = model.answer([prompt])[0].cost
        work = Work.whole(
            model.architecture,
            text_tokens=cost.text_tokens,
            visual_tokens=cost.visual_tokens,
            images=len(prompt.images),
        )
        assert sum(operator.flops for operator in method.leaves(work).operators(COUNTED)) == cost.flops
        with FlopCounterMode(display=False) as counter:
            model.prefill([prompt])()
        distances = 0
        if isinstance(method, SparseVLM):
            drops = [(before, kept) for before, kept in method.for_depth(4)._recycling(cost.visual_tokens)]
            distances = sum(2 * 32 * recycled(before - kept)[0] ** 2 for before, kept in drops)  # not matrix products
        assert counter.get_total_flops() + distances == cost.flops


class Watch:
    """Reads what a block leaves to be read."""

    first = 0

    def __init__(self, block: int) -> None:
        self.block = block

    def after_prompt(self, batch: int) -> None:
        return None

    def before(self, index: int, state: State) -> State:
        if index == self.block + 1:
            every = torch.arange(state.tokens.count).expand(len(state.hidden), -1)
            self.maps, self.divided = (
                torch.stack([*state.attention.by_head(every, by_distance=divide)], dim=1) for divide in (False, True)
            )
        if index == self.block:
            self.ahead = None if index == 0 else state.attention.ahead(state)
        return state


@pytest.mark.parametrize("tower", ["clip", "siglip"])
@pytest.mark.parametrize("block", [1, 3])
def test_what_is_read_is_the_librarys(llava: Callable, ask: Callable, tower: str, block: int) -> None:
    model, prompt = llava(tower, attention="eager"), ask(QUESTIONS[0], 5, 6, known=False)
    watch = Watch(block)
    model.with_method(watch).generate([prompt])
    image, prepared = model.module.model.config.image_token_id, model.prepare([prompt])
    repeated = torch.tensor([[i for i in prepared["input_ids"][0].tolist() for _ in range(36 if i == image else 1)]])
    with torch.inference_mode():
        stock = model.module.model(repeated, pixel_values=prepared["pixel_values"], output_attentions=True)
    assert torch.allclose(watch.maps, stock.attentions[block], atol=1e-5)
    text = model.network.config.text_config
    width, rope = text.hidden_size // text.num_attention_heads, text.rope_parameters
    turned = int(width * rope.get("partial_rotary_factor", 1))
    distance = torch.arange(repeated.shape[1])[:, None] - torch.arange(repeated.shape[1])
    waves = [2 * (rope["rope_theta"] ** (-2 * n / turned) * distance.double()).cos() for n in range(turned // 2)]
    ones = (sum(waves) + width - turned) / width**0.5
    assert torch.allclose(watch.divided, watch.maps / ones.float(), rtol=1e-3, atol=1e-5)
    assert torch.allclose(watch.ahead, stock.attentions[block][:, :, -1], atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "average"),
    [
        ("pyramiddrop", 270), ("sparsevlm", 206.5), ("sparsevlm(target=128)", 145.4), ("sparsevlm(target=96)", 114.1),
        ("sparsevlm(target=64)", 82.2), ("sparsevlm(version=v2)", 206.8), ("sparsevlm(version=v2,target=96)", 113.9),
        ("dart(keep=128,beside=true)", 159.75), ("dart(keep=192,beside=true)", 219.75), ("fastv(keep=64)", 96),
        ("fastv(r=0.889)", 96), ("fastv(keep=null,r=0.889)", 96), ("dart(r=0.889)", 96), ("vtw", 270),
        ("pyramiddrop(layers=16)", 432), ("pyramiddrop(layers=16,shares=0.5)", 432),
        ("sparsevlm(version=v2,layers=16)", 438), ("sparsevlm(version=v2,layers=16,counts=300)", 438),
        ("pyramiddrop(layers=8/16/24/28)", 265.5),
    ],
)  # fmt: skip
def test_averages_of_visual_tokens_over_blocks_are_those_of_the_releases(spec: str, average: float) -> None:
    """What published settings leave of 576 over 32 blocks; 0.111 of 576 is 64, wherever it is counted."""
    work = Costing(load_plugins().registry, f"llava-1.5-7b+{spec}").cost(CostRequest(text_tokens=64)).work
    tokens = [layer.tokens - 64 for layer in work.language[1].layers]
    assert sum(tokens) / 32 == pytest.approx(average, abs=0.06)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pyramiddrop(layers=8/16,shares=0.5/0.2/0.1)", "2 layers and 3 shares do not belong together"),
        ("pyramiddrop(layers=8/4/2)", "layers must be rising whole numbers of at least 1, not 8/4/2"),
        ("pyramiddrop(shares=0.5/0.7/0.1)", "shares must be shares from 0 to 1 that do not rise"),
        ("pyramiddrop(layers=8/16/33)", "cannot drop tokens after 33 of 32 blocks; give layers from 1 to 32"),
        ("pyramiddrop(layers=true)", "layers must be text, not true"),
        ("sparsevlm(layers=33)", "cannot drop tokens after 33 of 32 blocks"),
        ("fastv(keep=64,r=0.5)", "keep and r say the same; give one of the two"),
        ("dart(keep=64,r=0.5)", "keep and r say the same"),
        ("tome(keep=64,r=8)", "keep and r say the same"),
        ("sparsevlm(target=64,counts=66/30/17)", "target and counts say the same"),
        ("sparsevlm(counts=3/x)", "counts must be whole numbers of at least 1, not 3/x"),
        ("sparsevlm(counts=3/2)", "there must be as many counts as layers"),
        ("sparsevlm(positions=original)", "recycled tokens have no position of their own"),
        ("dart+fastv", "exclude each other"),
        ("fitprune", "there is no schedule for this model; give schedule=FILE, which `adaptbench train fitprune`"),
        (f"fitprune(schedule={SCHEDULE})", "its schedule is for 4 blocks, and there are 32"),
        (
            "sparsevlm(layers=3/7/20)+adallava-l@0.6",
            "it reads the attention of block 19, and a scheduler may switch off all but the first",
        ),
    ],
)
def test_what_does_not_fit_is_refused(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Costing(load_plugins().registry, f"llava-1.5-7b+{spec}").cost(CostRequest(text_tokens=64))
