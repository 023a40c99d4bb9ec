"""FastV: which tokens are dropped, what that costs, and that nothing else changes."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.adapters.decoder import State, Tokens
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMerge
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ("Is there a dog in the image ?", "What colour is the cat ?", "how many", "no")


@pytest.fixture
def prompts(ask: Callable) -> list[Any]:
    """Three images, one of them asked three times, two images in a prompt, and none."""
    return [
        ask(QUESTIONS[0], 1), ask(QUESTIONS[1], 2), ask(QUESTIONS[2], 1), ask(QUESTIONS[1]), ask(QUESTIONS[3], 1),
        ask(QUESTIONS[0], 3, 2), ask(QUESTIONS[3], 3, known=False),
    ]  # fmt: skip


# Selection


def state_of(visual: list[list[bool]], padding: list[int], heads: int, seed: int) -> State:
    """What a decoder might hand to a method: each hidden state is the token's own number."""
    of, width = torch.Generator().manual_seed(seed), max(map(len, visual))
    flags = torch.zeros(len(visual), width, dtype=torch.bool)
    real = torch.zeros_like(flags)
    for row, (own, missing) in enumerate(zip(visual, padding, strict=True)):
        real[row, missing:] = True
        flags[row, : len(own)] = torch.tensor(own)
    tokens = Tokens.following(None, real, flags & real)
    numbers = torch.arange(flags.numel()).view(*flags.shape, 1).float()
    attention = torch.rand(len(visual), heads, width, generator=of) * real[:, None]
    attention = attention / attention.sum(-1, keepdim=True)
    return State(numbers, tokens, tuple({} for _ in visual), attention=lambda: attention)


@st.composite
def states(draw: Any) -> State:
    rows, width = draw(st.integers(1, 4)), draw(st.integers(2, 24))
    flags = [[*draw(st.lists(st.booleans(), min_size=width - 1, max_size=width - 1)), False] for _ in range(rows)]
    padding = [draw(st.integers(0, width - 1)) for _ in range(rows)]
    return state_of(flags, padding, draw(st.integers(1, 3)), draw(st.integers(0, 2**16)))


def by_hand(state: State, method: FastV) -> list[list[tuple[float, int]]]:
    """Number and position of every token that a row keeps, from the formulas of the paper."""
    rows = []
    for row in range(len(state.hidden)):
        probabilities = state.attention()[row].tolist()
        reduce = max if method.heads == "max" else lambda own: sum(own) / len(own)
        visual = [i for i, flag in enumerate(state.tokens.visual[row].tolist()) if flag]
        count = round(len(visual) * (1 - method.r)) if method.keep is None else method.keep
        best = sorted(visual, key=lambda i: -reduce([head[i] for head in probabilities]))[:count]
        real = [i for i, flag in enumerate(state.tokens.real[row].tolist()) if flag]
        kept = [i for i in real if i in best or i not in visual]
        first = real[0]
        places = range(len(kept)) if method.positions == "compacted" else [i - first for i in kept]
        rows.append([(float(state.hidden[row, i]), place) for i, place in zip(kept, places, strict=True)])
    return rows


def left(state: State) -> list[list[tuple[float, int]]]:
    return [
        list(zip(state.hidden[row, real, 0].tolist(), state.tokens.positions[row, real].tolist(), strict=True))
        for row, real in enumerate(state.tokens.real)
    ]


@settings(deadline=None, max_examples=150)
@given(
    states(),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.integers(1, 12),
    st.sampled_from(["mean", "max"]),
    st.sampled_from(["original", "compacted"]),
)
def test_selection_is_that_of_the_formulas(
    state: State, r: float, keep: int | None, heads: str, positions: str
) -> None:
    many = {"r": r} if keep is None else {"keep": keep}
    method = FastV(k=2, heads=heads, positions=positions, **many)
    assert left(method.before(2, state)) == by_hand(state, method)


def test_it_acts_once() -> None:
    state, method = state_of([[True] * 9 + [False]], [0], 2, 0), FastV(k=2)
    assert method.before(1, state) is method.before(3, state) is state
    assert method.before(2, state).tokens.count == 5
    assert method.after_prompt(4) is None


def no_attention() -> torch.Tensor:
    raise AssertionError


def test_random_places_depend_on_the_seed_alone() -> None:
    visual = [[True] * 20 + [False] * 2, [False] + [True] * 20 + [False], [False] * 11 + [True] * 10 + [False]]
    state = dataclasses.replace(state_of(visual, [0, 0, 0], 2, 0), attention=no_attention)
    method = FastV(k=2, select="random")
    after = method.before(2, state)
    places = [[int(number) - 22 * row for number, _ in own] for row, own in enumerate(left(after))]
    assert [sum(visual[row][i] for i in own) for row, own in enumerate(places)] == [10, 10, 5]
    assert [i for i in places[0] if visual[0][i]] == [i - 1 for i in places[1] if visual[1][i]]
    again = FastV(k=2, select="random", seed=1).before(2, state)
    assert left(again) != left(after) == left(method.before(2, state))


# In a model


class Watch:
    """Notes which tokens a block is given."""

    def __init__(self, first: int) -> None:
        self.first, self.tokens = first, []

    def after_prompt(self, batch: int) -> None:
        return None

    def before(self, index: int, state: State) -> State:
        if index == self.first:
            self.tokens.append(state.tokens)
        return state


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_row_read_is_the_librarys_at_the_block_before(k: int, llava: Callable, ask: Callable) -> None:
    model, prompt = llava(attention="eager"), ask(QUESTIONS[0], 5, 6, known=False)
    watch = Watch(k)
    FastV(k=k, r=0.75).apply(model).with_method(watch).generate([prompt])
    images = [model.module.model.config.image_token_id]
    ids = model.prepare([prompt])["input_ids"][0].tolist()
    repeated = torch.tensor([[i for i in ids for _ in range(36 if i in images else 1)]])
    with torch.inference_mode():
        stock = model.module.model(
            repeated, pixel_values=model.prepare([prompt])["pixel_values"], output_attentions=True
        )
    score = stock.attentions[k - 1][0, :, -1].mean(0)
    visual = (repeated[0] == images[0]).nonzero()[:, 0]
    best = visual[score[visual].argsort(descending=True)[:18]]
    expected = sorted({*range(len(repeated[0]))} - {*visual.tolist()} | {*best.tolist()})
    assert watch.tokens[0].positions[0].tolist() == expected


def test_with_nothing_to_drop_all_is_as_without(llava: Callable, prompts: list) -> None:
    for tower in ("clip", "siglip"):
        whole = llava(tower).answer(prompts)
        for options in ({"r": 0}, {"keep": 999}):
            answers = FastV(**options).apply(llava(tower)).answer(prompts)
            assert [replace(answer, cost=replace(answer.cost, ran=None)) for answer in answers] == whole
            for cost in (answer.cost for answer in answers):
                assert cost.ran == Execution.full(llava(tower).architecture.language.stack, cost.tokens)


@pytest.mark.parametrize("options", [{}, {"r": 0.9, "k": 1}, {"positions": "compacted"}, {"select": "random"}])
def test_a_batch_is_its_prompts_alone(llava: Callable, prompts: list, options: dict) -> None:
    for tower in ("clip", "siglip"):
        model = FastV(**options).apply(llava(tower))
        together = model.answer(prompts)
        assert together == [model.answer([prompt])[0] for prompt in prompts]
        unshared = FastV(**options).apply(llava(tower, share=False))
        assert together == unshared.answer(prompts)
        assert [answer.text for answer in together] == model.generate(prompts)


def test_dropping_tokens_can_change_an_answer(llava: Callable, prompts: list) -> None:
    model = llava()
    assert FastV(r=0.95).apply(model).generate(prompts) != model.generate(prompts)


def work_of(model: Any, text: int, visual: int) -> Work:
    return Work.whole(read_architecture(model.module.model.config.to_dict()), text_tokens=text, visual_tokens=visual)


def flops(work: Work) -> int:
    return sum(operator.flops for operator in work.operators(COUNTED))


@pytest.mark.parametrize("r", [0.0, 0.1, 0.3, 0.5, 0.7, 0.875, 0.99])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_flops_are_those_of_what_it_leaves(llava: Callable, ask: Callable, k: int, r: float) -> None:
    model = FastV(k=k, r=r).apply(llava())
    for answer in model.answer([ask(QUESTIONS[0], 1, tokens=1), ask(QUESTIONS[3], 2, tokens=1)]):
        work = work_of(model, answer.cost.text_tokens, answer.cost.visual_tokens)
        assert answer.cost.flops == flops(FastV(k=k, r=r).leaves(work))


def test_the_work_is_really_not_done(llava: Callable, ask: Callable) -> None:
    """torch's own count of the whole prefill is the plan's, and the one row of attention that is read."""
    model, prompt = FastV(k=2, r=0.5).apply(llava(attention="eager")), ask(QUESTIONS[0], 1, known=False, tokens=1)
    with FlopCounterMode(display=False) as counter:
        model.prefill([prompt])()
    cost = model.answer([prompt])[0].cost
    assert counter.get_total_flops() == cost.flops


def test_it_combines_with_a_selector_before_the_decoder(llava: Callable, prompts: list) -> None:
    merged = PruMerge().apply(llava())
    both = FastV(k=2, r=0.5).apply(merged)
    assert both.answer(prompts) == PruMerge().apply(FastV(k=2, r=0.5).apply(llava())).answer(prompts)
    for prompt, one, two in zip(prompts, merged.answer(prompts), both.answer(prompts), strict=True):
        assert one.cost.visual_tokens == two.cost.visual_tokens < 36 * max(1, len(prompt.images))
        if len(prompt.images) == 1:
            work = work_of(merged, two.cost.text_tokens, 36)
            left = FastV(k=2, r=0.5).leaves(PruMerge(tokens=two.cost.visual_tokens).leaves(work))
            assert two.cost.flops == flops(left) < one.cost.flops


def test_the_given_model_stays_as_it_was(llava: Callable, prompts: list) -> None:
    model = llava()
    before = model.answer(prompts)
    FastV(r=0.9).apply(model).answer(prompts)
    assert (model.methods, model.answer(prompts)) == ((), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, not 0; k: the number of blocks"),
        ({"k": 5}, "cannot drop tokens after 5 of 4 blocks; give k from 1 to 4"),
        ({"k": 2.0}, "k must be a whole number of at least 1, not 2.0"),
        ({"r": 1.0}, "r must be a number of at least 0 and below 1, not 1.0"),
        ({"r": -0.1}, "r must be a number of at least 0 and below 1, not -0.1"),
        ({"keep": 0}, "keep must be a whole number of at least 1, not 0"),
        ({"heads": "sum"}, "heads must be one of mean, max, not sum"),
        ({"positions": "new"}, "positions must be one of original, compacted, not new"),
        ({"select": "worst"}, "select must be one of attention, random, not worst"),
        ({"kept": 3}, r"unknown argument 'kept' \(did you mean 'keep'\?\); it takes positions, k, r, keep"),
    ],
)
def test_bad_options_are_told_in_a_line(llava: Callable, method: Callable, options: dict, said: str) -> None:
    with pytest.raises(UserError, match=r"^method fastv(\(.*\))?: .*" + said):
        method("fastv", **options).apply(llava())


def test_other_models_are_refused() -> None:
    with pytest.raises(UserError, match="method 'fastv' needs decoder, visual-tokens; 'constant' offers nothing"):
        plan_model(load_plugins().registry, parse("constant+fastv"))
