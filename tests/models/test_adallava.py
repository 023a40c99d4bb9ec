"""AdaLLaVA on small LLaVAs: what a plan switches off is not run, each prompt has its own, and training can reach it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.decoder import SKIPPED, WHOLE, Block, Decoder
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import image_digest
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import Call, Spec
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.scheduler import Scheduler, best, save
from adaptbench.models.adaptive.steering import gates, plans
from adaptbench.models.adaptive.switches import SchedulerConfig, Switches
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.reference.tiny_llava import tiny_llava
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
VOCABULARY = {word: place for place, word in enumerate([*SPECIAL, *(f"w{n}" for n in range(60))])}
SIZE = {
    "hidden_size": 32, "intermediate_size": 50, "num_hidden_layers": 6, "num_attention_heads": 4,
    "vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LAYERS, HEADS, CHANNELS, WIDTH = 6, 4, 50, 32
DECODERS: dict[str, Any] = {
    "llama": hf.LlamaConfig(**SIZE),
    "qwen2-gqa": hf.Qwen2Config(**SIZE, num_key_value_heads=2),
    "phi": hf.PhiConfig(**SIZE),
}
EVEN = hf.LlamaConfig(**SIZE | {"intermediate_size": 48})
"""Its channels fall into groups of equal size, so that a plan's cost depends on the number of units only."""
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
METHODS = {"layers": AdaLlavaL, "heads": AdaLlavaH}


def write(folder: Path, decoder: str) -> Path:
    """Write a LLaVA of random weights, so large that answers depend on all that is read."""
    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=SPECIAL[4:],
    )  # fmt: skip
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION), text_config=DECODERS.get(decoder, EVEN), image_token_index=4
    )
    model = hf.LlavaForConditionalGeneration(config)
    for part, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else 0.5)
        if "norm" in part and part.endswith("weight"):
            parameter.data += 1
    model.lm_head.weight.data[: len(SPECIAL)] = 0
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    hf.LlavaProcessor(images, tokenizer, patch_size=8, vision_feature_select_strategy="default").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Decoder -> folder of a LLaVA; written once and not to be changed."""
    known: dict[str, Path] = {}

    def get(decoder: str) -> Path:
        if decoder not in known:
            known[decoder] = write(tmp_path_factory.mktemp("llava") / decoder, decoder)
        return known[decoder]

    return get


@pytest.fixture(scope="session")
def base(saved: Callable) -> HFMultimodal:
    return HFMultimodal(str(saved("llama")), conversation="plain")


@pytest.fixture(scope="session")
def even(saved: Callable) -> HFMultimodal:
    """Eager, as torch's counter does not know the CPU's fused kernel."""
    return HFMultimodal(str(saved("even")), conversation="plain", attention="eager")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Folder of a scheduler whose plans depend on what it reads."""

    def get(switch: str, **changed: Any) -> str:
        folder = tmp_path_factory.mktemp("scheduler")
        save(scheduler(switch, **changed), folder)
        return str(folder)

    return get


def scheduler(switch: str, **changed: Any) -> Scheduler:
    given = {"switch": switch, "layers": LAYERS, "heads": HEADS, "prefix": 3, "rank": 1, "hidden": WIDTH}
    made = Scheduler(SchedulerConfig.model_validate(given | changed))
    chance = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=chance)
    return made


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


def batch(known: bool = True) -> list[Prompt]:
    """Questions of different lengths to three images, and one without."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 60, 2 + place % 5)) for place in range(9)]
    prompts = [
        Prompt(text, (images[place % 3],), (image_digest(images[place % 3]),) if known else (), 6)
        for place, text in enumerate(texts)
    ]
    return [*prompts, Prompt("w1 w2 w3", max_new_tokens=6)]


def plans_made(model: HFMultimodal, prompts: list[Prompt]) -> list[dict[int, Block]]:
    """What each prompt's plan was, in order."""
    made = {}
    with torch.inference_mode():
        for places, _, cache in model._opened(prompts):
            made |= dict(zip(places, cache.plans, strict=True))
    return [made[place] for place in range(len(prompts))]


def units(plan: dict[int, Block], switch: str) -> int:
    """Units that run of blocks 3 to 5; ``-1`` where heads and channels are not opened alike."""
    if switch == "layers":
        return sum(plan.get(block, WHOLE) == WHOLE for block in range(3, 6))
    opened = 0
    groups = [range(13), range(13, 26), range(26, 38), range(38, 50)]
    for block in (plan.get(block, WHOLE) for block in range(3, 6)):
        heads = HEADS if block.heads is None else len(block.heads)
        runs = [range(CHANNELS)] if block.channels is None else block.channels
        channels = {channel for run in runs for channel in run}
        assert all(channels >= set(group) or not channels & set(group) for group in groups)
        if heads != sum(channels >= set(group) for group in groups):
            return -1
        opened += heads
    return opened


# What a plan does


@dataclasses.dataclass
class Token:
    """Only puts a token after the prompt."""

    token: torch.Tensor
    first: int = LAYERS

    def after_prompt(self, batch: int) -> torch.Tensor:
        return self.token.expand(batch, 1, -1)

    def before(self, index: int, state: Any) -> Any:
        return state


@pytest.mark.parametrize("switch", METHODS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_with_all_switches_on_it_is_the_model_with_the_latency_token(
    switch: str, decoder: str, saved: Callable
) -> None:
    base = HFMultimodal(str(saved(decoder)), conversation="plain")
    model = METHODS[switch](scheduler="full", latency_token=True, seed=5).apply(base)
    token = base.with_method(Token(model.methods[0].after_prompt(1)))
    assert torch.equal(model.prefill(batch())(), token.prefill(batch())())
    assert model.generate(batch()) == token.generate(batch())
    assert model.generate(batch()) != base.generate(batch())
    assert METHODS[switch](scheduler="full").apply(base).generate(batch()) == base.generate(batch())


@pytest.mark.parametrize(("budget", "kept"), [(0.5, 3), (0.7, 4), (0.85, 5), (1.0, 6)])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_first_blocks_are_the_library_without_the_others(
    budget: float, kept: int, decoder: str, saved: Callable
) -> None:
    ours = AdaLlavaL(scheduler="first", budget=budget).apply(HFMultimodal(str(saved(decoder)), conversation="plain"))
    cut = HFMultimodal(str(saved(decoder)), conversation="plain")
    language = cut.module.model.model.language_model
    language.layers = language.layers[:kept]
    language.config.num_hidden_layers = kept
    cut.decoder = Decoder(cut.module.model)
    assert ours.generate(batch()) == cut.generate(batch())


@pytest.mark.parametrize("switch", METHODS)
@pytest.mark.parametrize("kind", ["learned", "sampled", "random"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_each_prompt_has_its_own_plan_and_it_is_that_of_a_single_run(
    switch: str, kind: str, decoder: str, saved: Callable, trained: Callable
) -> None:
    of = {"checkpoint": trained(switch), "scheduler": kind, "budget": 0.7}
    shared, apart = (
        METHODS[switch](**of).apply(HFMultimodal(str(saved(decoder)), conversation="plain", share=share))
        for share in (True, False)
    )
    made = plans_made(shared, batch())
    assert len({str(sorted(plan.items())) for plan in made}) > 1
    assert made == plans_made(apart, batch()) == [plans_made(shared, [prompt])[0] for prompt in batch()]
    assert {units(plan, switch) for plan in made} == {1 if switch == "layers" else 4}
    answers = shared.generate(batch())
    assert answers == [shared.generate([prompt])[0] for prompt in batch()]
    assert answers == apart.generate(batch(known=False))


@pytest.mark.parametrize("switch", METHODS)
def test_a_seed_draws_other_plans(switch: str, base: HFMultimodal) -> None:
    one, same, other = (METHODS[switch](scheduler="random", budget=0.7, seed=seed).apply(base) for seed in (0, 0, 1))
    assert plans_made(one, batch()) == plans_made(same, batch())
    assert plans_made(one, batch()) != plans_made(other, batch())


def test_the_latency_token_tells_the_budget(base: HFMultimodal, trained: Callable) -> None:
    """Learned plans at two budgets need not be nested: the scheduler reads which one it is."""
    tokens = [
        AdaLlavaL(checkpoint=(folder := trained("layers")), budget=budget).apply(base).methods[0].after_prompt(2)
        for budget in (0.7, 0.7, 0.85)
    ]
    assert folder
    assert tokens[0].shape == (2, 1, WIDTH)
    assert torch.equal(tokens[0][0], tokens[0][1])
    assert torch.allclose(tokens[0], tokens[1])
    assert not torch.allclose(tokens[0], tokens[2], atol=0.1)
    assert AdaLlavaL(checkpoint=trained("layers"), latency_token=False).apply(base).methods[0].after_prompt(2) is None
    assert AdaLlavaL(scheduler="random").apply(base).methods[0].after_prompt(2) is None


def test_a_scheduler_that_was_trained_otherwise_decides_otherwise(base: HFMultimodal, trained: Callable) -> None:
    by_sign = AdaLlavaL(checkpoint=trained("layers", rule="deterministic"), budget=0.5).apply(base)
    assert {units(plan, "layers") for plan in plans_made(by_sign, batch())} - {0}  # beyond the budget, as it may be
    folder = trained("layers", rule="random")
    learned, random = (AdaLlavaL(checkpoint=folder, budget=0.7, scheduler=k).apply(base) for k in ("learned", "random"))
    assert plans_made(learned, batch()) == plans_made(random, batch())


def test_half_precision_runs(saved: Callable, trained: Callable) -> None:
    for dtype in ("bfloat16", "float16"):
        model = HFMultimodal(str(saved("qwen2-gqa")), conversation="plain", dtype=dtype)
        for switch, method in METHODS.items():
            steered = method(checkpoint=trained(switch), budget=0.7).apply(model)
            assert all(len(answer.split()) == 6 for answer in steered.generate(batch()))
            assert len({units(plan, switch) for plan in plans_made(steered, batch())}) == 1


def test_a_choice_becomes_the_least_that_says_it() -> None:
    of = Switches(switch="heads", layers=4, heads=4, prefix=1)
    on, off = [True] * 4, [False] * 4
    choice = torch.tensor([[[on, on], [off, off], [[True, False, True, False], [True, True, False, True]]]])
    assert plans(choice, of, 50) == [
        {1: WHOLE, 2: SKIPPED, 3: Block(heads=(0, 2), channels=(range(26), range(38, 50)))}
    ]
    layers = Switches(switch="layers", layers=4, heads=4, prefix=1)
    assert plans(torch.tensor([[True, False, True], [True, True, True]]), layers, 50) == [{2: SKIPPED}, {}]


# What it costs


def work_of(base: HFMultimodal, prompt: Prompt) -> Work:
    text, visual = base.token_counts(prompt)
    model = read_architecture(base.module.model.config.to_dict())
    return Work.whole(model, text_tokens=text, visual_tokens=visual)


def flops(work: Work) -> int:
    """Without those of the tower."""
    return sum(operator.flops for operator in work.operators(COUNTED) if not operator.module.startswith("vision"))


@pytest.mark.parametrize("budget", [0.5, 0.7, 0.85, 1.0])
@pytest.mark.parametrize("switch", METHODS)
@pytest.mark.parametrize("decoder", ["even", "llama"])
def test_an_answer_costs_less_by_what_the_method_leaves_out(
    budget: float, switch: str, decoder: str, request: pytest.FixtureRequest
) -> None:
    """The channels of ``llama`` fall into groups of unequal size."""
    base = request.getfixturevalue("even" if decoder == "even" else "base")
    method = METHODS[switch](scheduler="first", budget=budget).for_base(None)
    answers = method.apply(base).answer(batch())
    for prompt, before, after in zip(batch(), base.answer(batch()), answers, strict=True):
        work = work_of(base, prompt)
        saved = flops(work) - flops(method.leaves(work))
        assert before.cost.flops - after.cost.flops == saved
        assert (saved > 0) == (budget < 1)


@pytest.mark.parametrize("kind", ["learned", "sampled", "random", "first"])
@pytest.mark.parametrize("switch", METHODS)
def test_a_prefill_runs_plan_token_and_scheduler_and_nothing_else(
    kind: str, switch: str, even: HFMultimodal, trained: Callable
) -> None:
    """By torch's own counter, while it runs."""
    prompt, whole = batch()[0], even.answer(batch()[:1])[0].cost.flops
    work = work_of(even, prompt)
    tower = whole - flops(work)
    method = METHODS[switch](checkpoint=trained(switch), scheduler=kind, budget=0.7)
    model, left = method.apply(even), method.leaves(work)
    run = model.prefill([prompt])
    with FlopCounterMode(display=False) as counter:
        run()
    assert counter.get_total_flops() == tower + flops(left) < whole
    assert left.tokens == work.tokens + 1
    assert left.added == model.methods[0].flops > 0


@pytest.mark.parametrize("switch", METHODS)
def test_it_goes_together_with_fewer_tokens(switch: str, base: HFMultimodal, trained: Callable) -> None:
    of = {"checkpoint": trained(switch), "budget": 0.7}
    fewer = FastV(k=1, r=0.5).apply(base)
    both, alone = METHODS[switch](**of).apply(fewer), METHODS[switch](**of).apply(base)
    assert plans_made(both, batch()) == [plans_made(both, [prompt])[0] for prompt in batch()]
    answers = both.answer(batch())
    assert [answer.text for answer in answers] == [both.generate([prompt])[0] for prompt in batch()]
    for ours, first, second in zip(answers[:-1], alone.answer(batch()), fewer.answer(batch()), strict=False):
        assert ours.cost.flops < min(first.cost.flops, second.cost.flops)


# Training


@dataclasses.dataclass
class Trains:
    """Gates instead of plans, as a trainer makes them."""

    scheduler: Scheduler
    k: list[int]
    first: int = 3
    drawn: Any = None

    def after_prompt(self, batch: int) -> torch.Tensor:
        return self.scheduler.token(self.k)[:, None]

    def before(self, index: int, state: Any) -> Any:
        if index != self.first:
            return state
        logits = self.scheduler.logits(state.hidden[:, -1])
        self.drawn = self.scheduler.sample(logits, self.k, generator=torch.Generator().manual_seed(2))
        return dataclasses.replace(state, gates=gates(self.drawn, self.scheduler.config, CHANNELS))


@dataclasses.dataclass
class Given:
    """A plan that is given."""

    choice: torch.Tensor
    of: Switches
    token: torch.Tensor
    first: int = 3

    def after_prompt(self, batch: int) -> torch.Tensor:
        return self.token

    def before(self, index: int, state: Any) -> Any:
        return state.planned(plans(self.choice, self.of, CHANNELS)) if index == self.first else state


@pytest.mark.parametrize("switch", METHODS)
@pytest.mark.parametrize("decoder", ["llama", "qwen2-gqa"])
def test_gates_train_the_scheduler_and_multiply_to_what_the_plan_runs(
    switch: str, decoder: str, saved: Callable
) -> None:
    model = HFMultimodal(str(saved(decoder)), conversation="plain").module.model
    steering = Decoder(model)
    made = scheduler(switch).train()
    k = [1, 2, 3, 0] if switch == "layers" else [1, 5, 12, 0]
    hidden = 0.5 * torch.randn(4, 7, WIDTH, generator=torch.Generator().manual_seed(0))
    method = Trains(made, k)
    logits, _ = steering.prefill(hidden, methods=[method])
    logits.logsumexp(1).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
    before = model.model.language_model.layers[0].mlp.up_proj.weight.grad
    assert float(before.abs().sum()) > 0  # the prefix learns, too
    with torch.no_grad():
        plan = Given(method.drawn > 0.5, made.config, made.token(k)[:, None])
        run, _ = steering.prefill(hidden, methods=[plan])
    assert torch.allclose(run, logits.detach(), atol=1e-3, rtol=1e-3)


# What cannot work


def test_what_does_not_fit_is_said_in_a_line(base: HFMultimodal, method: Callable, tmp_path: Path) -> None:
    for name in ("l", "h"):
        for arguments, message in (
            ({}, f"method adallava-{name}: a learned scheduler needs a checkpoint; give checkpoint=FOLDER"),
            ({"scheduler": "sampled"}, "a sampled scheduler needs a checkpoint"),
            ({"scheduler": "best"}, "scheduler must be one of learned, sampled, random, first, full, not best"),
            ({"scheduler": "random", "budget": 1.2}, r"budget 1.2 is not in \(0, 1\]"),
            ({"scheduler": "random", "budget": 0.4}, "budget 0.4 is below 0.5, which the first 3 of 6 blocks take"),
            ({"scheduler": "random", "prefix": 6}, "a prefix of 6 of 6 blocks leaves nothing"),
            ({"scheduler": "full", "budget": 0.9}, "scheduler=full runs everything, which a budget of 0.9 does not"),
            ({"checkpoint": str(tmp_path / "none" / "there")}, "there is no such folder"),
        ):
            with pytest.raises(UserError, match=message):
                method(f"adallava-{name}", **arguments).apply(base)
    with pytest.raises(UserError, match="4 heads do not fall into groups of 3"):
        AdaLlavaH(scheduler="random", rank=3).apply(base)
    with pytest.raises(UserError, match="method 'adallava-l' needs decoder; 'constant' offers nothing"):
        plan_model(load_plugins().registry, Spec(Call("constant"), (Call("adallava-l"),)))


@pytest.mark.parametrize(
    ("switch", "changed", "arguments", "message"),
    [
        ("heads", {}, {}, "made for switch heads, and here switch is layers"),
        ("layers", {"layers": 8}, {}, "made for layers 8, and here layers is 6"),
        ("layers", {"heads": 8}, {}, "made for heads 8, and here heads is 4"),
        ("layers", {"hidden": 64}, {}, "made for hidden 64, and here hidden is 32"),
        ("layers", {"prefix": 2}, {"prefix": 3}, "made for prefix 2, and here prefix is 3"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    switch: str, changed: Any, arguments: Any, message: str, base: HFMultimodal, trained: Callable
) -> None:
    with pytest.raises(UserError, match=message):
        AdaLlavaL(checkpoint=trained(switch, **changed), **arguments).apply(base)


def test_a_checkpoint_says_its_own_prefix_and_rank(base: HFMultimodal, trained: Callable) -> None:
    model = AdaLlavaH(checkpoint=trained("heads", prefix=2, rank=2), budget=0.75).apply(base)
    made = plans_made(model, batch())
    assert {block for plan in made for block in plan} == {2, 3, 4, 5}
    opened = [sum(HEADS if b.heads is None else len(b.heads) for b in plan.values()) for plan in made]
    assert set(opened) == {2 * (9 - 4)}
    with pytest.raises(UserError, match="made for rank 2, and here rank is 1"):
        AdaLlavaH(checkpoint=trained("heads", prefix=2, rank=2), rank=1).apply(base)


def test_the_fingerprint_is_that_of_the_checkpoint(trained: Callable) -> None:
    folder = trained("layers")
    one = AdaLlavaL(checkpoint=folder, budget=0.5, seed=0).fingerprint()
    assert one == AdaLlavaL(checkpoint=folder, budget=1.0).fingerprint()
    save(scheduler("layers", prefix=2), folder)
    assert one != AdaLlavaL(checkpoint=folder).fingerprint()
    assert AdaLlavaH(scheduler="random", checkpoint="none").fingerprint() == "untrained"
    learned, random = (AdaLlavaL(scheduler=kind).for_base(tiny_llava).fingerprint() for kind in ("learned", "random"))
    assert learned == random
    assert random not in (one, "untrained")


def test_what_is_wrong_with_arguments_or_checkpoint_is_told_before_the_model_loads(
    saved: Callable, trained: Callable, tmp_path: Path
) -> None:
    """A folder with nothing but the base's config is enough."""
    empty, registry = tmp_path / "empty", load_plugins().registry
    empty.mkdir()
    (tmp_path / "config.json").write_bytes((saved("llama") / "config.json").read_bytes())
    for arguments, budget, message in (
        ({"checkpoint": "none"}, None, "method adallava-h: a learned scheduler needs a checkpoint"),
        ({"scheduler": "best"}, None, "scheduler must be one of learned, sampled, random, first, full, not best"),
        ({"checkpoint": str(empty)}, None, "no config of a scheduler can be read"),
        ({"checkpoint": trained("heads")}, 0.4, "budget 0.4 is below 0.5"),
        ({"checkpoint": trained("layers")}, None, "made for switch layers, and here switch is heads"),
        ({"scheduler": "random", "rank": 3}, None, "4 heads do not fall into groups of 3"),
    ):
        call = Call("adallava-h", None, tuple(arguments.items()))
        with pytest.raises(UserError, match=message):
            plan_model(registry, Spec(Call("llava", str(tmp_path)), (call,), budget))


def test_weights_that_were_trained_with_a_scheduler_are_loaded_with_it(base: HFMultimodal, trained: Callable) -> None:
    folder, name = trained("layers"), "model.language_model.layers.0.mlp.up_proj.weight"
    before = AdaLlavaL(checkpoint=folder).apply(base)
    assert before.module.model is base.module.model
    weight = base.module.model.get_parameter(name)
    save_file({name: -weight.detach().half()}, f"{folder}/model.safetensors")
    after = AdaLlavaL(checkpoint=folder).apply(base)
    assert torch.equal(after.module.model.get_parameter(name), -weight.detach().half().float())
    assert after.generate(batch()) != before.generate(batch())
    assert base.module.model.get_parameter(name) is weight


def test_the_model_that_is_given_stays_as_it_was(base: HFMultimodal) -> None:
    before = base.generate(batch())
    steered = AdaLlavaH(scheduler="random", budget=0.6).apply(base)
    assert steered.generate(batch()) != before
    assert base.methods == ()
    assert base.generate(batch()) == before
    assert steered.module.model is base.module.model


def test_equal_plans_are_equal_choices() -> None:
    of = Switches(switch="heads", layers=4, heads=4, prefix=1, rank=2)
    choice = best(torch.zeros(2, 3, 2, 4), [3, 3], of)
    first, second = plans(choice, of, 50)
    assert first == second
