"""The budgets of a sweep share tower, lower blocks and weights, and answer as models do that share nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.decoder import Decoder, PartialPrefill
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.abilities import Sweepable
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.hashing import image_digest
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.scheduler import Scheduler, save
from adaptbench.models.adaptive.switches import SchedulerConfig
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.prumerge import PruMerge, PruMergePlus
from adaptbench.models.reference.tiny_llava import WEIGHTS
from PIL import Image
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, threads only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def load() -> Callable[..., HFMultimodal]:
    """A model of its own for each test, as what it remembers is looked at: ten blocks, 64 visual tokens."""
    return lambda **options: HFMultimodal(str(WEIGHTS), **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Kind of switch -> folder of a scheduler that looks at what it reads, and of a decoder trained with it."""

    def write(switch: str) -> str:
        folder, model = tmp_path_factory.mktemp("trained"), HFMultimodal(str(WEIGHTS))
        size = model.decoder.embed(torch.zeros(1, dtype=torch.long)).shape[-1]
        heads = model.decoder.blocks.heads
        fields = {"switch": switch, "layers": 10, "heads": heads, "prefix": 5, "rank": 1, "hidden": size}
        scheduler, chance = Scheduler(SchedulerConfig.model_validate(fields)), torch.Generator().manual_seed(1)
        for parameter in scheduler.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=chance)
        save(scheduler, folder)
        weights = dict(model.module.model.named_parameters())
        name = next(name for name in weights if "layers.3" in name and "down_proj" in name and "vision" not in name)
        save_file({name: weights[name].detach() * 1.5}, folder / "model.safetensors")
        return str(folder)

    return write


def prompts(known: bool = True) -> list[Prompt]:
    """Two images with two questions each, and a question without one."""
    rng = np.random.default_rng(0)
    asked = []
    for _ in range(2):
        image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        digests = (image_digest(image),) if known else ()
        asked += [
            Prompt(text, (image,), digests, 4) for text in ("Is there a red circle?", "How many squares are there?")
        ]
    return [asked[0], Prompt("What is it?", max_new_tokens=4), asked[2], asked[1], asked[3]]


def counted(module: torch.nn.Module, values: list[int], axes: tuple[int, ...]) -> None:
    """Add to a list how many images or tokens a module is given, call by call."""

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs.get("pixel_values", kwargs.get("hidden_states"))
        values.append(int(np.prod([given.shape[axis] for axis in axes])))

    module.register_forward_pre_hook(note, with_kwargs=True)


MODELS: dict[str, Callable[[HFMultimodal, float, str], HFMultimodal]] = {
    "layers": lambda base, budget, path: AdaLlavaL(budget=budget, checkpoint=path).apply(base),
    "heads": lambda base, budget, path: AdaLlavaH(budget=budget, checkpoint=path).apply(base),
    "first": lambda base, budget, _: AdaLlavaL(budget=budget, scheduler="first").apply(base),
    "prumerge": lambda base, budget, path: PruMerge().apply(AdaLlavaL(budget=budget, checkpoint=path).apply(base)),
    "plus-heads": lambda base, budget, path: AdaLlavaH(budget=budget, checkpoint=path).apply(base),
    "fastv": lambda base, budget, path: FastV(k=2).apply(AdaLlavaL(budget=budget, checkpoint=path).apply(base)),
    "fastv-at-the-split": lambda base, budget, _: AdaLlavaL(budget=budget, scheduler="first").apply(base),
}
BEFORE: dict[str, Callable[[HFMultimodal], HFMultimodal]] = {
    "plus-heads": PruMergePlus().apply,
    "fastv-at-the-split": lambda base: FastV(k=5).apply(base),
}
"""Methods that stand before the one that takes a budget."""


@pytest.mark.parametrize("name", MODELS)
def test_six_budgets_answer_as_six_models_that_share_nothing(name: str, load: Callable, trained: Callable) -> None:
    make, before = MODELS[name], BEFORE.get(name, lambda base: base)
    base = before(load()).for_sweep()
    path = trained("heads" if "heads" in name else "layers")
    together = [make(base, budget, path) for budget in BUDGETS]
    assert all(base.shares_weights(model) for model in together)
    answers = [model.answer(prompts()) for model in together]
    assert answers == [make(before(load()), budget, path).answer(prompts()) for budget in BUDGETS]
    assert answers[::-1] == [model.answer(prompts()) for model in reversed(together)]
    assert len({str([answer.cost.ran for answer in each]) for each in answers}) >= 5, "the budgets do run other plans"


def test_each_image_and_each_prompt_goes_through_tower_and_lower_blocks_once(load: Callable, trained: Callable) -> None:
    path, base = trained("layers"), load().for_sweep()
    models = [AdaLlavaL(budget=budget, checkpoint=path).apply(base) for budget in BUDGETS]
    seen: list[int] = []
    tokens: list[list[int]] = [[], []]
    counted(models[0].module.model.model.vision_tower, seen, (0,))
    for block, values in zip((0, 4), tokens, strict=True):
        counted(models[0].decoder.blocks.layers[block].self_attn.q_proj, values, (0, 1))
    asked = [Prompt(p.text, p.images, p.digests, 1) for p in prompts()]  # one token: nothing is decoded
    models[0].generate(asked)
    first, count = [list(values) for values in tokens], len(asked)
    assert seen == [1, 1]
    for model in models[1:]:
        model.generate(asked)
    assert seen == [1, 1]
    for values, before in zip(tokens, first, strict=True):
        assert sum(before) > 64 * 2
        assert sum(values) - sum(before) == 5 * count, "only the latency token of each prompt, at each other budget"
    AdaLlavaL(budget=0.5, checkpoint=path).apply(load())
    models[0].generate(asked[::-1])
    assert sum(tokens[0]) - sum(first[0]) < sum(first[0]), "another batch shares prefixes"


def test_without_a_sweep_or_digests_no_prompts_are_remembered(load: Callable) -> None:
    alone, swept = load(), load().for_sweep()
    for base, asked in ((alone, prompts()), (swept, prompts(known=False)), (load(share=False).for_sweep(), prompts())):
        model = AdaLlavaL(budget=0.6, scheduler="first").apply(base)
        tokens: list[int] = []
        counted(model.decoder.blocks.layers[0].self_attn.q_proj, tokens, (0, 1))
        answers = model.generate(asked)
        once = sum(tokens)
        assert model.generate(asked) == answers
        assert sum(tokens) - once > 20, "the ends of the prompts are read again"


def test_what_is_remembered_stays_within_its_bytes(load: Callable) -> None:
    roomy = load().for_sweep()
    expected = [AdaLlavaL(budget=budget, scheduler="first").apply(roomy).answer(prompts()) for budget in BUDGETS]
    most = roomy._memory.bytes
    for memory in (0, most // 4, most // 2, most):
        base = load(memory=memory).for_sweep()
        models = [AdaLlavaL(budget=budget, scheduler="first").apply(base) for budget in BUDGETS]
        assert [model.answer(prompts()) for model in models] == expected
        assert base._memory.bytes <= memory


def test_a_checkpoint_is_read_once_and_again_when_it_has_changed(
    load: Callable, trained: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adaptbench.models.adaptive import steering

    reads: list[str] = []
    real = steering.finetuned
    monkeypatch.setattr(steering, "finetuned", lambda path: reads.append(path) or real(path))
    base, one, other = load(), trained("layers"), trained("layers")
    models = [AdaLlavaL(budget=budget, checkpoint=one).apply(base) for budget in BUDGETS]
    assert reads == [one]
    assert len({id(model.module.model) for model in models}) == 1
    assert models[0].module.model is not base.module.model
    assert base.shares_weights(models[0])
    different = AdaLlavaL(budget=0.5, checkpoint=other).apply(base)
    assert reads == [one, other]
    assert different.module.model is not models[0].module.model
    assert not base.shares_weights(models[0]), "those of another checkpoint are more weights"
    file = Path(other) / "model.safetensors"
    save_file(
        {"model.language_model.norm.weight": torch.ones(different.decoder.embed(torch.zeros(1).long()).shape[-1])}, file
    )
    assert AdaLlavaL(budget=0.5, checkpoint=other).apply(base).module.model is not different.module.model
    pruned = PruMerge().apply(base)
    assert AdaLlavaL(budget=0.5, checkpoint=one).apply(pruned)._selector is not None, (
        "a copy does not take over what was made"
    )


def test_a_model_says_whether_it_can_be_swept(load: Callable) -> None:
    base, other = load(), load()
    assert isinstance(base, Sweepable)
    assert base.shares_weights(FastV().apply(base))
    assert not base.shares_weights(other)
    assert not base.shares_weights("a model")


@pytest.mark.parametrize(
    "config",
    [
        hf.MistralConfig(sliding_window=6, num_key_value_heads=2, **(SIZE := {
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
            "vocab_size": 20,
        })),
        hf.LlamaConfig(**SIZE),
    ],
    ids=["window", "whole"],
)  # fmt: skip
def test_a_context_can_be_used_up_many_times(config: Any) -> None:
    torch.manual_seed(0)
    decoder = Decoder(hf.AutoModelForCausalLM.from_config(config).eval())
    rows, tokens = torch.randn(2, 9, 16), torch.randn(3, 2, 1, 16)
    ids = torch.tensor([3, 4])

    def finished(partial: PartialPrefill, extra: torch.Tensor) -> list[torch.Tensor]:
        logits, cache = decoder.finish(decoder.extend(partial, extra))
        return [logits, decoder.step(ids, cache), decoder.step(ids, cache)]

    with torch.inference_mode():
        kept = decoder.start(rows, depth=2)
        size = kept.bytes
        for extra in tokens:
            ours, fresh = finished(kept.copy(), extra), finished(decoder.start(rows, depth=2), extra)
            assert all(torch.equal(a, b) for a, b in zip(ours, fresh, strict=True))
        assert kept.bytes == size
