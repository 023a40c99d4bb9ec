"""The decoder runs as the library does, bit by bit, until a method steers it; then what that leaves out is skipped."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters.decoder import SKIPPED, WHOLE, Block, Decoder, Gates, PartialPrefill
from adaptbench.adapters.installed import cache_name
from adaptbench.adapters.kv_cache import KVCache
from adaptbench.adapters.lru import ByteLru
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution, LayerWork
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

SIZE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 99,
    "pad_token_id": 0,
}  # fmt: skip
GROUPED = SIZE | {"num_key_value_heads": 2}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, SIZE),
    "llama-gqa": (hf.LlamaForCausalLM, hf.LlamaConfig, GROUPED | {"attention_bias": True, "mlp_bias": True}),
    "phi": (hf.PhiForCausalLM, hf.PhiConfig, SIZE),
    "phi-gqa-norms": (hf.PhiForCausalLM, hf.PhiConfig, GROUPED | {"qk_layernorm": True}),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, GROUPED),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config, GROUPED | {"head_dim": 8}),
    "qwen2-windows": (
        hf.Qwen2ForCausalLM,
        hf.Qwen2Config,
        GROUPED | {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    ),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, GROUPED | {"sliding_window": None}),
    "mistral-window": (hf.MistralForCausalLM, hf.MistralConfig, GROUPED | {"sliding_window": 5}),
}
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def build(name: str, attention: str = "sdpa", **changed: Any) -> Any:
    kind, config, size = MODELS[name]
    torch.manual_seed(0)
    model = kind._from_config(config(**size | changed), attn_implementation=attention).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sdpa", "eager"])
def attention(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def prompts(padding: tuple[int, ...], count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and which of them are real, with so much padding on the left of each row."""
    ids = torch.randint(1, 99, (len(padding), count), generator=torch.Generator().manual_seed(1))
    real = torch.arange(count)[None] >= torch.tensor(padding)[:, None]
    return ids * real, real


def stock_logits(model: Any, ids: torch.Tensor, real: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """Logits of the last position: of the prompt, then of some greedy steps, with the library's own cache."""
    cache, logits, mask, given = hf.DynamicCache(config=model.config), [], real.long(), ids
    for _ in range(steps + 1):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -given.shape[1] :]
        out = model(given, attention_mask=mask, position_ids=positions, **{cache_name(): cache}, logits_to_keep=1)
        logits.append(out.logits[:, -1])
        given = logits[-1].argmax(-1, keepdim=True)
        mask = torch.cat([mask, torch.ones_like(given)], dim=1)
    return logits


def our_logits(decoder: Decoder, ids: torch.Tensor, real: torch.Tensor, steps: int, methods: Any = ()) -> Any:
    logits, cache = decoder.prefill(decoder.embed(ids), real, methods=methods)
    every = [logits]
    for _ in range(steps):
        every.append(decoder.step(every[-1].argmax(-1), cache))
    return every


def close(ours: Any, theirs: Any) -> bool:
    return all(torch.allclose(a, b, **CLOSE) for a, b in zip(ours, theirs, strict=True))


# As the library


@pytest.mark.parametrize("padding", [(0,), (0, 0, 0), (0, 3, 7)])
def test_without_methods_every_bit_is_the_librarys(name: str, attention: str, padding: tuple[int, ...]) -> None:
    model = build(name, attention)
    ids, real = prompts(padding)
    ours, theirs = our_logits(Decoder(model), ids, real, 6), stock_logits(model, ids, real, 6)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_window_longer_than_the_prompt_is_left_only_while_decoding(attention: str) -> None:
    model = build("mistral-window", attention, sliding_window=14)
    ids, real = prompts((0, 2))
    ours, theirs = our_logits(Decoder(model), ids, real, 8), stock_logits(model, ids, real, 8)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_eager_and_fused_attention_agree(name: str) -> None:
    ids, real = prompts((0, 3, 7))
    fused, eager = (our_logits(Decoder(build(name, kind)), ids, real, 4) for kind in ("sdpa", "eager"))
    assert close(fused, eager)


def test_a_row_of_a_batch_is_what_it_is_alone(name: str) -> None:
    decoder = Decoder(build(name))
    ids, real = prompts((0, 3, 7))
    batch = our_logits(decoder, ids, real, 4)
    for row, padding in enumerate((0, 3, 7)):
        alone = our_logits(decoder, ids[row : row + 1, padding:], real[row : row + 1, padding:], 4)
        assert close([step[row : row + 1] for step in batch], alone)


def test_the_language_model_inside_a_llava_is_found() -> None:
    text = hf.LlamaConfig(**SIZE)
    vision = hf.CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    model = hf.LlavaForConditionalGeneration(hf.LlavaConfig(text_config=text, vision_config=vision)).eval()
    ids, real = prompts((0, 2))
    theirs = model(
        ids, attention_mask=real.long(), position_ids=(real.cumsum(1) - 1).clamp(min=0), logits_to_keep=1
    ).logits[:, -1]
    assert torch.equal(our_logits(Decoder(model), ids, real, 0)[0], theirs)


def test_bfloat16_runs() -> None:
    model = build("llama-gqa").to(torch.bfloat16)
    ids, real = prompts((0, 3))
    ours, theirs = our_logits(Decoder(model), ids, real, 2), stock_logits(model, ids, real, 2)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_other_decoders_are_refused_in_a_line() -> None:
    gpt = hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SIZE))
    gpt.model = gpt.gpt_neox
    gpt.model.embed_tokens = gpt.gpt_neox.embed_in
    with pytest.raises(UserError, match="gpt_neox cannot be run block by block; name one of llama"):
        Decoder(gpt)


# Sharing a beginning


@pytest.mark.parametrize("depth", [4, 2, 0])
def test_shared_prefixes_change_nothing(name: str, depth: int) -> None:
    """Two prefixes of different lengths, shared by three and two endings of different lengths."""
    decoder, of = Decoder(build(name)), torch.Generator().manual_seed(3)
    prefixes = [torch.randint(1, 99, (1, count), generator=of) for count in (6, 4)]
    endings = [torch.randint(1, 99, (1, count), generator=of) for count in (3, 1, 5, 2, 4)]
    which = [0, 0, 0, 1, 1]
    partials = [decoder.start(decoder.embed(ids), depth=depth) for ids in prefixes]
    longest = max(ids.shape[1] for ids in endings)
    real = torch.stack([torch.arange(longest) >= longest - ids.shape[1] for ids in endings])
    padded = torch.cat([torch.nn.functional.pad(ids, (longest - ids.shape[1], 0)) for ids in endings])
    for _ in range(2):  # a second time, to see that partials survive being shared
        batch = decoder.extend(PartialPrefill.batch([partials[i] for i in which]), decoder.embed(padded), real)
        logits, cache = decoder.finish(batch)
        every = [logits]
        for _ in range(4):
            every.append(decoder.step(every[-1].argmax(-1), cache))
        for row, (begin, ending) in enumerate(zip(which, endings, strict=True)):
            whole = torch.cat([prefixes[begin], ending], dim=1)
            alone = our_logits(decoder, whole, torch.ones_like(whole, dtype=torch.bool), 4)
            assert close([step[row : row + 1] for step in every], alone)


def test_a_shared_prefix_is_neither_copied_nor_read_for_what_nobody_asks(name: str) -> None:
    """Its keys and values stay where they are, unless a window moves past them; its last block makes nothing else."""
    decoder = Decoder(build(name))
    ids = torch.randint(1, 99, (3, 10), generator=torch.Generator().manual_seed(3))
    ids[:, :7] = ids[0, :7]
    prefix = decoder.start(decoder.embed(ids[:1, :7]), only_last=True)
    batch = PartialPrefill.batch([prefix] * 3)
    logits, cache = decoder.finish(decoder.extend(batch, decoder.embed(ids[:, 7:]), only_last=True))
    ours = [logits, decoder.step(logits.argmax(-1), cache)]
    assert close(ours, our_logits(decoder, ids, torch.ones_like(ids, dtype=torch.bool), 1))
    for kept, before in zip(cache.kept, prefix.cache.kept, strict=True):
        shared = kept[WHOLE][0].shared
        assert shared == (() if kept[WHOLE][0].most else (before[WHOLE][0],) * 3)


@st.composite
def plans_of(draw: st.DrawFn) -> list[list[dict[int, Block]]]:
    """Plans of five rows at two budgets, of few kinds, so that some agree for a while."""
    kinds = [WHOLE, SKIPPED, Block(heads=(0, 1, 3)), Block((2,), (range(5, 20), range(30, 31))), Block((), (range(8),))]
    block = st.sampled_from(kinds)
    plan = st.fixed_dictionaries({2: block, 3: block})
    return draw(st.lists(st.lists(plan, min_size=5, max_size=5), min_size=2, max_size=2))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(sweep=plans_of(), name=st.sampled_from(sorted(MODELS)), limit=st.sampled_from([0, 20_000, 10**9]))
def test_budgets_that_share_prefixes_answer_as_if_they_did_not(
    sweep: list[list[dict[int, Block]]], name: str, limit: int
) -> None:
    """Bit by bit, whatever is still remembered; and as prompts do that share nothing, but for rounding."""
    decoder, of = Decoder(build(name)), torch.Generator().manual_seed(3)
    prefixes = [torch.randint(1, 99, (1, count), generator=of) for count in (7, 4)]
    which, ends = [0, 1, 0, 0, 1], torch.randint(1, 99, (5, 3), generator=of)
    memory = ByteLru(limit)

    def answers(plans: list[dict[int, Block]], memory: ByteLru | None) -> list[torch.Tensor]:
        partials = [decoder.start(decoder.embed(ids), depth=2) for ids in prefixes]
        batch = PartialPrefill.batch([partials[place] for place in which], which)
        logits, cache = decoder.finish(decoder.extend(batch, decoder.embed(ends)), [Planner(2, plans)], memory)
        return [logits, *(decoder.step(torch.tensor([5, 6, 7, 8, token]), cache) for token in (9, 10))]

    for plans in sweep:
        ours = answers(plans, memory)
        assert all(torch.equal(a, b) for a, b in zip(ours, answers(plans, None), strict=True))
        for row, (place, plan) in enumerate(zip(which, plans, strict=True)):
            ids = torch.cat([prefixes[place], ends[row : row + 1]], dim=1)
            logits, cache = decoder.prefill(decoder.embed(ids), methods=[Planner(2, [plan])])
            tokens = [torch.tensor([[5, 6, 7, 8, last][row]]) for last in (9, 10)]
            alone = [logits, *(decoder.step(token, cache) for token in tokens)]
            assert close([step[row : row + 1] for step in ours], alone)
        assert memory.bytes <= limit


def test_a_beginning_runs_once_for_all_whose_plans_agree_so_far() -> None:
    decoder, ran = Decoder(build("llama")), []
    for index in (2, 3):
        projection = decoder.blocks.layers[index].mlp.up_proj
        projection.register_forward_pre_hook(lambda _, given, index=index: ran.append((index, given[0].shape[1])))
    partial, memory = decoder.start(torch.randn(1, 7, 32), depth=2), ByteLru(10**9)

    def run(plans: list[dict[int, Block]]) -> list[tuple[int, int]]:
        ran.clear()
        batch = decoder.extend(PartialPrefill.batch([partial] * 3, ["the same"] * 3), torch.randn(3, 2, 32))
        decoder.finish(batch, [Planner(2, plans)], memory)
        return [which for which in ran if which[1] == 7]

    assert run([{}, {2: SKIPPED}, {}]) == [(2, 7), (3, 7), (3, 7)]
    assert run([{3: SKIPPED}, {}, {2: SKIPPED}]) == []


def test_tokens_of_answers_copy_no_weights() -> None:
    """Not even where rows run different parts, and what none of them runs is left out."""
    decoder, (ids, real) = Decoder(build("llama", "eager")), prompts((0, 0))
    plans = [{1: Block((0, 2), (range(12), range(24, 36)))}, {1: Block((0,), (range(6), range(40, 44)))}]
    logits, cache = decoder.prefill(decoder.embed(ids), real, methods=[Planner(0, plans)])
    cut, flops = decoder.blocks._slices.bytes, []
    for left in (cache, decoder.prefill(decoder.embed(ids), real)[1]):
        with FlopCounterMode(display=False) as counter:
            decoder.step(logits.argmax(-1), left)
        flops.append(counter.get_total_flops())
    assert decoder.blocks._slices.bytes == cut
    assert flops[1] - flops[0] > 2 * 2 * 32 * (3 * 16 + 2 * (48 - 28))


def test_copies_of_keys_do_not_see_what_is_added_to_each_other() -> None:
    one, tokens = KVCache(), torch.arange(4.0).reshape(4, 1, 1, 1, 1)
    one.update(tokens[0], tokens[0])
    one.update(tokens[1], tokens[1])
    other = one.copy()
    assert one.update(tokens[2], tokens[2])[0].flatten().tolist() == [0, 1, 2]
    assert other.update(tokens[3], tokens[3])[1].flatten().tolist() == [0, 1, 3]
    assert one.pair is not None
    assert one.pair[0].flatten().tolist() == [0, 1, 2]


def test_a_context_says_its_bytes() -> None:
    partial = Decoder(build("llama-gqa")).start(torch.zeros(2, 5, 32))
    assert partial.bytes == 4 * (2 * 5 * 32 + 4 * 2 * (2 * 2 * 5 * 8))


def test_rows_that_have_ended_are_forgotten(name: str) -> None:
    decoder = Decoder(build(name))
    ids, real = prompts((0, 3, 7, 1))
    plans = [{2: Block(heads=(1, 2))}, {}, {2: SKIPPED}, {2: Block(heads=(1, 2)), 3: Block(heads=())}]
    methods = [Planner(2, plans)]
    whole = our_logits(decoder, ids, real, 3, methods)
    logits, cache = decoder.prefill(decoder.embed(ids), real, methods=methods)
    first = decoder.step(logits.argmax(-1), cache)
    for alive in ([1, 2, 3], [1, 2], [1]):
        kept = {1: [3], 2: [1, 2], 3: [1, 2, 3]}[len(alive)]
        cache.keep_rows([1, 2, 3] if len(alive) == 3 else [0, 1] if len(alive) == 2 else [0])
        if len(alive) == 3:
            second = decoder.step(first.argmax(-1)[alive], cache)
            assert torch.allclose(second, whole[2][alive], **CLOSE)
            third = decoder.step(second.argmax(-1), cache)
            assert torch.allclose(third, whole[3][kept], **CLOSE)
    assert len(cache.plans) == 1


# Methods


@dataclasses.dataclass
class Planner:
    """A scheduler with a given plan for each row."""

    first: int
    plans: list[dict[int, Block]]

    def after_prompt(self, batch: int) -> None:
        return None

    def before(self, index: int, state: Any) -> Any:
        return state.planned(self.plans) if index == self.first else state


@dataclasses.dataclass
class Dropper:
    """A token selector that keeps the visual tokens which the last token looks at most."""

    first: int
    keep: int
    compact: bool = False

    def after_prompt(self, batch: int) -> None:
        return None

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        score = state.attention().mean(dim=1).masked_fill(~state.tokens.visual, -1)
        best = torch.zeros_like(state.tokens.visual).scatter(1, score.topk(self.keep).indices, True)
        state = state.keep(best | ~state.tokens.visual)
        return state.compacted() if self.compact else state


@dataclasses.dataclass
class Latency:
    """Puts a token after each prompt, and plans by what has become of it."""

    first: int
    token: torch.Tensor
    seen: list[torch.Tensor] = dataclasses.field(default_factory=list)

    def after_prompt(self, batch: int) -> torch.Tensor:
        return self.token.expand(batch, 1, -1)

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        self.seen.append(state.hidden[:, -1])
        return state.planned([{index + int((row > 0).sum()) % 2: SKIPPED} for row in state.hidden[:, -1]])


@dataclasses.dataclass
class Watcher:
    first: int = 1
    rows: dict[int, torch.Tensor] = dataclasses.field(default_factory=dict)

    def after_prompt(self, batch: int) -> None:
        return None

    def before(self, index: int, state: Any) -> Any:
        self.rows[index - 1] = state.attention()
        return state


def reference(model: Any, plan: dict[int, Block]) -> Any:
    """The library's own model with everything else set to zero in its output weights: masked instead of skipped."""
    config = model.config
    width, phi = config.hidden_size // config.num_attention_heads, config.model_type == "phi"
    copy = build_like(model)
    for index, block in plan.items():
        attention, mlp = copy.model.layers[index].self_attn, copy.model.layers[index].mlp
        out, down = (attention.dense, mlp.fc2) if phi else (attention.o_proj, mlp.down_proj)
        heads = set(range(config.num_attention_heads) if block.heads is None else block.heads)
        inactive = [h * width + i for h in range(config.num_attention_heads) if h not in heads for i in range(width)]
        out.weight.data[:, inactive] = 0
        runs = [range(config.intermediate_size)] if block.channels is None else block.channels
        open_channels = {channel for run in runs for channel in run}
        down.weight.data[:, [c for c in range(config.intermediate_size) if c not in open_channels]] = 0
        for linear, left in ((out, block.heads), (down, block.channels)):
            if left == () and linear.bias is not None:
                linear.bias.data[:] = 0
    return copy


def build_like(model: Any) -> Any:
    copy = type(model)._from_config(model.config, attn_implementation=model.config._attn_implementation).eval()
    copy.load_state_dict(model.state_dict())
    return copy


PLANS = [
    {1: SKIPPED},
    {2: Block(heads=(0, 1, 3), channels=(range(12), range(24, 36)))},
    {1: Block(heads=(2,)), 3: Block(channels=(range(5, 6),))},
    {2: Block(heads=()), 3: Block(channels=())},
    {1: Block(heads=(0, 1, 2, 3), channels=(range(48),))},
    {},
]


def test_what_is_left_out_of_a_block_is_as_if_its_weights_were_zero(name: str, attention: str) -> None:
    model = build(name, attention)
    ids, real = prompts((0, 3, 0, 1, 4, 0, 2))
    plans = [*PLANS, PLANS[1]]
    ours = our_logits(Decoder(model), ids, real, 3, [Planner(1, plans)])
    for row, plan in enumerate(plans):
        alone = slice(row, row + 1)
        start = int((~real[row]).sum())
        theirs = stock_logits(reference(model, plan), ids[alone, start:], real[alone, start:], 3)
        assert close([step[alone] for step in ours], theirs), plan


def test_skipped_work_is_not_done_and_keeps_nothing() -> None:
    decoder = Decoder(build("llama-gqa", "eager"))  # torch's counter does not know the CPU's fused kernel
    ids, real = prompts((0,))

    def flops(plan: dict[int, Block]) -> int:
        with FlopCounterMode(display=False) as counter:
            decoder.prefill(decoder.embed(ids), real, methods=[Planner(0, [plan])])
        return counter.get_total_flops()

    n, whole = 12, flops({})
    attention, mlp = 2 * n * 32 * (32 + 16 + 16 + 32) + 4 * n * n * 32, 2 * n * 3 * 32 * 48
    assert whole - flops({2: SKIPPED}) == attention + mlp
    assert whole - flops({2: Block(heads=())}) == attention
    assert whole - flops({2: Block(channels=(range(12), range(20, 32)))}) == mlp // 2
    half = 2 * n * 32 * (16 + 8 + 8 + 16) + 4 * n * n * 16
    assert whole - flops({2: Block(heads=(2, 3))}) == attention - half
    _, cache = decoder.prefill(decoder.embed(ids), real, methods=[Planner(0, [{2: SKIPPED, 3: Block(heads=(3,))}])])
    assert [len(kept) for kept in cache.kept] == [1, 1, 0, 1]
    assert cache.kept[3][Block(heads=(3,))][0].pair.shape == (2, 1, 1, 12, 8)


def test_a_cache_says_what_ran_for_each_row() -> None:
    decoder = Decoder(build("llama-gqa"))
    ids, real = prompts((0, 3))
    visual = torch.zeros_like(real)
    visual[:, 4:10] = True
    plans = [{2: SKIPPED}, {3: Block(heads=(0, 1), channels=(range(24),))}]
    _, cache = decoder.prefill(decoder.embed(ids), real, visual, [Dropper(1, 2), Planner(2, plans)])
    first, second = (cache.work(row, heads=4, channels=48) for row in (0, 1))
    assert first == Execution((LayerWork(0, 12, 4), LayerWork(1, 8, 4), LayerWork(3, 8, 4)))
    halved = dataclasses.replace(LayerWork(3, 5, 2), mlp=first.layers[0].mlp / 2)
    assert second == Execution((LayerWork(0, 9, 4), LayerWork(1, 5, 4), LayerWork(2, 5, 4), halved))


def test_the_last_row_of_attention_is_the_librarys(name: str) -> None:
    model = build(name, "eager", **({"sliding_window": 32} if "window" in name else {}))
    ids, real = prompts((0, 3))
    watcher = Watcher()
    our_logits(Decoder(model), ids, real, 0, [watcher])
    theirs = model(
        ids, attention_mask=real.long(), position_ids=(real.cumsum(1) - 1).clamp(min=0), output_attentions=True
    ).attentions
    assert sorted(watcher.rows) == [0, 1, 2, 3]
    assert all(torch.allclose(watcher.rows[i], theirs[i][:, :, -1], atol=1e-6) for i in range(4))


def test_a_row_is_read_across_a_shared_beginning() -> None:
    decoder, watcher = Decoder(build("llama-gqa")), Watcher(first=2)
    ids, real = prompts((0,))
    decoder.prefill(decoder.embed(ids), real, methods=[watcher])
    whole = dict(watcher.rows)
    partial = decoder.start(decoder.embed(ids[:, :7]), depth=2)
    decoder.finish(decoder.extend(PartialPrefill.batch([partial]), decoder.embed(ids[:, 7:])), [watcher])
    assert all(torch.allclose(whole[i], watcher.rows[i], atol=1e-6) for i in (1, 2, 3))


@pytest.mark.parametrize("compact", [False, True])
def test_dropped_tokens_are_as_if_masked_from_that_block_on(name: str, attention: str, compact: bool) -> None:
    """Held against a plain loop over the library's blocks, one prompt at a time, without any cache."""
    model = build(name, attention, **({"sliding_window": 40} if "window" in name else {}))
    ids, real = prompts((0, 3))
    visual = torch.zeros_like(real)
    visual[0, 2:9] = visual[1, 5:11] = True
    decoder, dropper = Decoder(model), Dropper(2, 3, compact)
    logits, cache = decoder.prefill(decoder.embed(ids), real, visual, [dropper])
    assert [kept[WHOLE][1].count for kept in cache.kept] == [12, 12, 8, 8]
    second = decoder.step(logits.argmax(-1), cache)
    for row, start in enumerate((0, 3)):
        answer = logits[row].argmax()
        text = torch.cat([ids[row, start:], answer[None]])[None]
        for ours, count in ((logits, text.shape[1] - 1), (second, text.shape[1])):
            theirs = dropped_by_hand(model, text[:, :count], visual[row, start:], 12 - start, compact)
            assert torch.allclose(ours[row], theirs, **CLOSE)


def dropped_by_hand(model: Any, ids: torch.Tensor, visual: torch.Tensor, prompt: int, compact: bool) -> torch.Tensor:
    inner, count = model.model, ids.shape[1]
    hidden, positions = inner.embed_tokens(ids), torch.arange(count)[None]
    weights = torch.empty(0)
    for index, layer in enumerate(inner.layers):
        if index == 2:
            score = weights[0, :, prompt - 1, :prompt].mean(0).masked_fill(~visual, -1)
            keep = ~visual
            keep[score.topk(3).indices] = True
            keep = torch.cat([keep, torch.ones(count - prompt, dtype=torch.bool)])
            hidden, positions = hidden[:, keep], positions[:, keep]
            if compact:
                positions = torch.arange(hidden.shape[1])[None]
        rotary = inner.rotary_emb(hidden, position_ids=positions)
        shape = (1, 1, hidden.shape[1], hidden.shape[1])
        mask = torch.full(shape, torch.finfo(torch.float32).min).triu(1)
        if index == 1:
            config = model.config._attn_implementation
            model.config._attn_implementation = "eager"
            _, weights = layer.self_attn(
                hidden_states=layer.input_layernorm(hidden), attention_mask=mask, position_embeddings=rotary
            )
            model.config._attn_implementation = config
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
    norm = inner.norm if hasattr(inner, "norm") else inner.final_layernorm
    return model.lm_head(norm(hidden[:, -1]))[0]


def test_a_token_after_the_prompt_can_plan_for_its_own_row(name: str) -> None:
    decoder = Decoder(build(name))
    ids, real = prompts((0, 3, 7, 2, 5, 1))
    latency = Latency(2, 0.1 * torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2)))
    together = our_logits(decoder, ids, real, 3, [latency])
    hidden, rows = latency.seen[0], []
    for row, start in enumerate((0, 3, 7, 2, 5, 1)):
        alone = our_logits(decoder, ids[row : row + 1, start:], real[row : row + 1, start:], 3, [latency])
        assert close([step[row : row + 1] for step in together], alone)
        rows.append(latency.seen[-1])
    assert torch.allclose(hidden, torch.cat(rows), **CLOSE)
    assert {int((row > 0).sum()) % 2 for row in hidden} == {0, 1}  # both plans were made


def test_the_budgets_of_a_prompt_share_the_blocks_below_the_plan() -> None:
    decoder = Decoder(build("llama-gqa"))
    ids, real = prompts((0, 3))
    shared = decoder.start(decoder.embed(ids), real, depth=2)
    for seed in range(3):
        latency = Latency(2, torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(seed)))
        [token] = decoder.extras([latency], 2)
        logits, _ = decoder.finish(decoder.extend(shared.copy(), token), [latency])
        assert torch.allclose(logits, our_logits(decoder, ids, real, 0, [latency])[0], **CLOSE)


def test_gates_multiply_and_gradients_reach_them(name: str) -> None:
    model, plan = build(name), {2: Block(heads=(0, 3), channels=(range(20),))}
    ids, real = prompts((0, 3))
    open_parts = (torch.tensor([1.0, 0, 0, 1]), (torch.arange(48) < 20).float())
    gates = Gates(*(part.expand(2, -1).clone().requires_grad_() for part in open_parts))

    class Gating(Planner):
        def before(self, index: int, state: Any) -> Any:
            return dataclasses.replace(state, gates={2: gates})

    decoder = Decoder(model)
    planned = our_logits(decoder, ids, real, 0, [Planner(2, [plan, plan])])[0]
    with torch.enable_grad():
        gated = our_logits(decoder, ids, real, 0, [Gating(2, [])])[0]
        gated.square().sum().backward()
    assert torch.allclose(gated, planned, **CLOSE)
    for gate in (gates.heads, gates.channels):
        assert gate is not None
        assert bool((gate.grad != 0).any(dim=1).all())


@pytest.mark.parametrize("inactive", [Gates(block=torch.zeros(2)), Gates(torch.zeros(2, 4), torch.zeros(2, 48))])
def test_an_inactive_gate_is_a_skipped_block_biases_included(name: str, inactive: Gates) -> None:
    ids, real = prompts((0, 3))

    class Gating(Planner):
        def before(self, index: int, state: Any) -> Any:
            return dataclasses.replace(state, gates={2: inactive})

    decoder = Decoder(build(name))
    skipped = our_logits(decoder, ids, real, 0, [Planner(2, [{2: SKIPPED}] * 2)])[0]
    assert torch.allclose(our_logits(decoder, ids, real, 0, [Gating(2, [])])[0], skipped, **CLOSE)


def test_an_open_gate_is_the_whole_block_and_gradients_reach_it(name: str) -> None:
    ids, real = prompts((0, 3))
    gate = torch.tensor([1.0, 1.0], requires_grad=True)

    class Gating(Planner):
        def before(self, index: int, state: Any) -> Any:
            return dataclasses.replace(state, gates={2: Gates(block=gate)})

    decoder = Decoder(build(name))
    with torch.enable_grad():
        gated = our_logits(decoder, ids, real, 0, [Gating(2, [])])[0]
        gated.square().sum().backward()
    assert torch.allclose(gated, our_logits(decoder, ids, real, 0)[0], **CLOSE)
    assert gate.grad is not None
    assert bool((gate.grad != 0).all())


def test_restricted_heads_can_be_traced_as_the_cost_counter_does(name: str, attention: str) -> None:
    decoder = Decoder(build(name, attention).requires_grad_(False))
    ids, real = prompts((0,))
    embeddings, methods = decoder.embed(ids), [Planner(1, [{2: Block(heads=(0, 3))}])]

    class Prefill(torch.nn.Module):
        def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
            return decoder.prefill(embeddings, real, None, methods)[0]

    traced = torch.jit.trace(Prefill(), embeddings, check_trace=False)
    assert torch.allclose(traced(embeddings), decoder.prefill(embeddings, real, None, methods)[0], **CLOSE)


def test_trained_weights_are_sliced_anew() -> None:
    model = build("llama")
    decoder, (ids, real) = Decoder(model), prompts((0,))
    methods = [Planner(0, [{1: Block(heads=(0, 2))}])]
    before = our_logits(decoder, ids, real, 0, methods)[0]
    model.model.layers[1].self_attn.q_proj.weight.mul_(-2)
    assert torch.equal(
        our_logits(decoder, ids, real, 0, methods)[0], our_logits(Decoder(model), ids, real, 0, methods)[0]
    )
    assert not torch.equal(our_logits(decoder, ids, real, 0, methods)[0], before)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Planner(0, [{1: Block(heads=(0, 2, 4))}]), "a plan names heads or channels that block 1 does not have"),
        (Dropper(0, 1), "no block has run yet"),
    ],
)
def test_a_wrong_method_is_told_in_a_line(method: Any, message: str) -> None:
    decoder, (ids, real) = Decoder(build("llama")), prompts((0,))
    with pytest.raises(UserError, match=message):
        our_logits(decoder, ids, real, 0, [method])


def test_attention_that_cannot_be_read_is_refused() -> None:
    ids, real = prompts((0,))
    with pytest.raises(UserError, match="block 1 did not run whole"):
        our_logits(Decoder(build("llama")), ids, real, 0, [Planner(1, [{1: Block(heads=(0,))}]), Watcher(2)])
    with pytest.raises(UserError, match="block 0 has forgotten tokens that left its sliding window"):
        our_logits(Decoder(build("mistral-window")), ids, real, 0, [Watcher(1)])


def test_the_last_token_cannot_be_dropped() -> None:
    class Last(Planner):
        def before(self, index: int, state: Any) -> Any:
            return state.keep(torch.arange(12)[None] < 11)

    ids, real = prompts((0,))
    with pytest.raises(UserError, match="drops the last token"):
        our_logits(Decoder(build("llama")), ids, real, 0, [Last(0, [])])


def test_a_context_that_is_too_deep_is_refused() -> None:
    decoder = Decoder(build("llama"))
    with pytest.raises(UserError, match="a method acts before block 3, which has run"):
        decoder.finish(decoder.start(torch.zeros(1, 3, 32), depth=3), [Planner(2, [{}])])
