"""What AdaLLaVA's answers say that they spent: units, FLOPs and plans, against the closed form and the budget."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench import Record
from adaptbench.adapters.decoder import SKIPPED, Block, State, Tokens
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.measure.closed_form import COUNTED, prefill
from adaptbench.harness.prefill_cost import PrefillCost, Units
from adaptbench.harness.spending import beyond, spending, units
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.scheduler import ContentNoise, Scheduler, best, in_order, save
from adaptbench.models.adaptive.steering import Steering, plans
from adaptbench.models.adaptive.switches import SchedulerConfig, Switches
from adaptbench.models.pruning.dropping import row_flops
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMerge
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

    from adaptbench.harness.contracts import Answer, Prompt

WIDTH = 16
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@st.composite
def switches(draw: st.DrawFn) -> SchedulerConfig:
    rank = draw(st.sampled_from([1, 2, 8]))
    layers = draw(st.integers(2, 40))
    return SchedulerConfig(
        switch=draw(st.sampled_from(["layers", "heads"])),
        layers=layers,
        prefix=draw(st.integers(1, layers - 1)),
        heads=rank * draw(st.integers(1, 4)),
        rank=rank,
        hidden=WIDTH,
    )


@pytest.mark.parametrize("kind", ["probabilistic", "random", "first"])
@settings(max_examples=200, deadline=None)
@given(of=switches(), seed=st.integers(0, 2**31), budget=st.integers(1, 10_000), dtype=st.sampled_from(DTYPES))
def test_no_plan_is_beyond_its_budget_of_units_and_none_could_use_more(
    kind: str, of: SchedulerConfig, seed: int, budget: int, dtype: torch.dtype
) -> None:
    """Three times 200 draws of three prompts each, whatever the budget."""
    share = max(budget / 10_000, -(-of.always * 10_000 // of.total) / 10_000)
    k = of.k(share)
    chance = torch.Generator().manual_seed(seed)
    score: dict[str, Any] = {
        "probabilistic": lambda hidden: torch.randn(len(hidden), *of.logits, generator=chance),
        "random": ContentNoise(WIDTH, of.logits, seed),
        "first": in_order(of.logits),
    }
    channels = 11 * of.heads + 5
    method = Steering(of, channels, lambda hidden: best(score[kind](hidden), [k] * len(hidden), of))
    hidden = torch.randn(3, 2, WIDTH, generator=chance).to(dtype)
    real = torch.ones(3, 2, dtype=torch.bool)
    state = method.before(of.prefix, State(hidden, Tokens.following(None, real, ~real), ({}, {}, {})))
    costs = [PrefillCost(units=Units(*method.units(plan))) for plan in state.plans]
    assert beyond(Record("", "", "", costs=tuple(costs)), share, units) == 0
    assert all(Fraction(cost.units.on + 1, cost.units.all) > Fraction(str(share)) for cost in costs)


def test_a_unit_that_has_started_counts_where_heads_and_channels_differ() -> None:
    heads = Switches(switch="heads", layers=4, heads=4, prefix=2, rank=2)
    method = Steering(heads, 48, lambda hidden: hidden)
    assert method.units({}) == (8, 8)
    assert method.units({2: SKIPPED, 3: SKIPPED}) == (4, 8)
    assert method.units({2: SKIPPED, 3: Block((0, 3), (range(12, 36),))}) == (5, 8)
    assert method.units({2: SKIPPED, 3: Block((0,), ())}) == (5, 8)
    assert method.units({2: Block((), None), 3: Block(None, ())}) == (6, 8)
    assert method.units({2: Block((), None), 3: Block((0, 1, 2), (range(12),))}) == (6, 8)
    assert method.units({2: Block((), None), 3: Block((0, 1, 2), (range(24),))}) == (7, 8)


@pytest.mark.parametrize("switch", ["layers", "heads"])
def test_a_scheduler_without_a_bound_shows_how_often_it_is_beyond_the_budget(switch: str) -> None:
    of = SchedulerConfig(switch=switch, layers=8, heads=4, prefix=4, hidden=WIDTH, rule="deterministic")
    logits = torch.randn(500, *of.logits, generator=torch.Generator().manual_seed(0)) + 0.3
    method = Steering(of, 48, lambda hidden: hidden)
    made = plans(Scheduler(of).choose(logits, [2] * 500), of, 48)
    costs = tuple(PrefillCost(units=Units(*method.units(plan))) for plan in made)
    over = beyond(Record("", "", "", costs=costs), 0.75, units)
    each = 1 if switch == "layers" else 2  # of a unit, entries of the choice
    opened = of.always + ((logits > 0).flatten(1).sum(dim=1) / each).ceil()
    assert over == int((opened > 0.75 * of.total).sum())
    assert 0 < over < 500


# On a LLaVA


@pytest.fixture
def prompts(ask: Any) -> list[Prompt]:
    return [
        ask("Is there dog", 1),
        ask("no"),
        ask("What colour is this image ?", 2),
        ask("Is there cat in image", 1, 3),
    ]


def language(model: Any, execution: Execution) -> int:
    return sum(operator.flops for operator in prefill(model.architecture, execution, COUNTED))


def blocks(counts: list[int], heads: int = 4) -> Execution:
    return Execution(tuple(LayerWork(block, count, heads) for block, count in enumerate(counts)))


def test_a_model_without_methods_spends_the_whole(llava: Any, prompts: list[Prompt], one_thread: Any) -> None:
    for answer in llava().answer(prompts):
        all_of_it = language(llava(), blocks([answer.cost.tokens] * 4))
        assert answer.cost.language == (all_of_it, all_of_it, all_of_it)
        assert answer.cost.units is None
        assert answer.cost.ran is None


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize("method", [AdaLlavaL, AdaLlavaH])
def test_a_budget_is_a_share_of_the_same_prefill_without_scheduler_and_token(
    method: Any, token: bool, llava: Any, prompts: list[Prompt], one_thread: Any
) -> None:
    pruned = FastV(k=1, r=0.5).apply(llava())
    model = method(scheduler="random", budget=0.75, latency_token=token).apply(pruned)
    for alone, answer in zip(pruned.answer(prompts), model.answer(prompts), strict=True):
        cost = answer.cost
        kept = [cost.tokens] + [cost.tokens - cost.visual_tokens // 2] * 3
        assert cost.language.full == language(model, blocks(kept)) + alone.cost.methods == alone.cost.language.spent
        assert cost.language.base == language(model, blocks([cost.tokens] * 4)) == alone.cost.language.base
        assert cost.language.spent == language(model, cost.ran) + cost.methods
        stack, drops = model.architecture.language.stack, cost.visual_tokens > 0
        assert alone.cost.methods == drops * row_flops(stack, cost.tokens)
        assert cost.methods == drops * row_flops(stack, cost.tokens + token) + model.methods[1].flops
        assert [work.tokens for work in cost.ran.layers] == [kept[work.layer] + token for work in cost.ran.layers]
        assert cost.units.on * 4 == 3 * cost.units.all
        assert alone.cost.ran == blocks(kept)


def test_the_base_model_reads_what_a_selector_drops(llava: Any, prompts: list[Prompt], one_thread: Any) -> None:
    whole, merged = llava().answer(prompts), PruMerge(tokens=9).apply(llava()).answer(prompts)
    for prompt, before, after in zip(prompts, whole, merged, strict=True):
        assert after.cost.language.base == before.cost.language.spent
        assert after.cost.language.full == after.cost.language.spent
        assert (after.cost.language.spent < after.cost.language.base) == bool(prompt.images)


def test_tokens_that_are_dropped_where_a_block_is_skipped_are_not_in_the_whole(
    llava: Any, ask: Any, one_thread: Any
) -> None:
    """FastV acts before block 3, which none of the prompts runs."""
    later = FastV(k=3, r=0.5, select="random").apply(llava())
    model = AdaLlavaL(scheduler="first", budget=0.75).apply(later)
    (whole,), (answer,) = later.answer([ask("Is there dog", 1)]), model.answer([ask("Is there dog", 1)])
    assert [work.layer for work in answer.cost.ran.layers] == [0, 1, 2]
    assert answer.cost.language.full == whole.cost.language.spent
    assert answer.cost.language.spent < whole.cost.language.spent


def records(answers: list[Answer]) -> list[Record]:
    return [Record(str(place), "", answer.text, costs=(answer.cost,)) for place, answer in enumerate(answers)]


def test_a_deterministic_scheduler_and_a_budget_of_flops_show_as_violations(
    llava: Any, prompts: list[Prompt], tmp_path: Path, one_thread: Any
) -> None:
    made = Scheduler(SchedulerConfig(switch="layers", layers=4, heads=4, prefix=2, hidden=32, rule="deterministic"))
    torch.nn.init.constant_(made.mlp_head.bias, 9.0)  # both switches are always on
    save(made, tmp_path)
    of = functools.partial(spending, budget=0.75)
    loose = of(records(AdaLlavaL(checkpoint=str(tmp_path), budget=0.75).apply(llava()).answer(prompts)))
    assert loose.units.success.value == 0
    assert loose.units.utilisation.value == pytest.approx(4 / 3)
    strict = of(records(AdaLlavaL(scheduler="random", budget=0.75).apply(llava()).answer(prompts)))
    assert strict.units.success.value == 1
    assert strict.units.utilisation.value == 1
    assert strict.flops.success.value == 0  # the head and the scheduler come on top of three blocks of four
    assert strict.flops.utilisation.value > 1
