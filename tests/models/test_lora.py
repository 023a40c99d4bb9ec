"""The method ``lora``: a LLaVA says what peft's says, alone and with other methods, and its cost is told beforehand."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import peft
import pytest
import torch
import transformers as hf
from adaptbench.adapters.live_adapters import beside, shapes, targets
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.flops import count_again, count_flops
from adaptbench.harness.measure.work import Beside
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.finetuning.lora import Lora

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adaptbench.harness.registry import Registry

REST = ["", "+fastv(k=2)+prumerge(tokens=9)", "+blind"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins().registry


@pytest.fixture(scope="module")
def theirs(llava_folder: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """peft's model, a LoRA on tower, projector and language model; its folder is its attribute ``folder``."""
    torch.manual_seed(0)
    stock = hf.AutoModelForImageTextToText.from_pretrained(llava_folder()).eval()
    model = peft.get_peft_model(stock, peft.LoraConfig(target_modules="all-linear", r=3, lora_alpha=5)).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.folder = str(tmp_path_factory.mktemp("lora") / "all")
    model.save_pretrained(model.folder)
    return model


@pytest.mark.parametrize("merged", [True, False])
def test_a_llava_says_what_pefts_says_and_so_does_its_base(
    merged: bool, theirs: Any, llava: Callable[[], HFMultimodal], ask: Callable[..., Any]
) -> None:
    base, prompts = llava(), [ask("is there a dog ?", 3), ask("What colour ?", 4)]
    model = Lora(checkpoint=theirs.folder, merged=merged).apply(base)
    answers, own = model.generate(prompts), base.generate(prompts)
    stock = HFMultimodal(base.network.name_or_path, conversation="plain")
    assert stock.generate(prompts) == own
    given = model.prepare(prompts[:1])
    logits = model.module(**given)
    assert (logits - base.module(**given)).abs().max() > 1e-3
    image = given["input_ids"] == model.network.config.image_token_id
    ids = given["input_ids"].repeat_interleave(torch.where(image, 36, 1)[0], dim=1)
    with torch.inference_mode():
        said = theirs.generate(
            input_ids=ids, pixel_values=given["pixel_values"], attention_mask=torch.ones_like(ids), do_sample=False,
            max_new_tokens=6,
        )[0, ids.shape[1] :]  # fmt: skip
        first = theirs(input_ids=ids, pixel_values=given["pixel_values"]).logits[:, -1]
    torch.testing.assert_close(logits, first, rtol=0, atol=1e-4 if merged else 1e-6)
    assert answers[0] == model.loaded.decoding.text(said.tolist(), prompts[0]).strip()


@pytest.mark.parametrize("rest", REST)
def test_with_other_methods_it_comes_first_and_costs_what_is_told(
    rest: str, registry: Registry, theirs: Any, llava: Callable[[], HFMultimodal], ask: Callable[..., Any]
) -> None:
    prompt, base = ask("is there a dog ?", 3), llava()
    answers = []
    for merged in ("true", "false"):
        spec = f'llava:"{base.network.name_or_path}"(conversation=plain){rest}+lora({theirs.folder},merged={merged})'
        planned, model = plan_model(registry, parse(spec)), base
        assert planned.as_applied[0].entry.name == "lora"
        for method in planned.as_applied:
            model = method.method.apply(model)
        [answer] = model.answer([prompt])
        priced = Costing(registry, spec).cost(CostRequest(answer.cost.text_tokens, convention=COUNTED))
        assert answer.cost.flops == sum(priced.flops.values())
        assert answer.cost.language.spent / answer.cost.language.base == priced.of_base
        answers.append(answer.text)
    assert answers[0] == answers[1]


def test_live_flops_are_those_of_both_counters(
    theirs: Any, llava: Callable[[], HFMultimodal], ask: Callable[..., Any]
) -> None:
    """2 r (in + out) a token and target; DoRA's norm adds 2 in r (in + out) for each pass."""
    base, prompt = llava(), ask("is there a dog ?", 3)
    live, merged = (Lora(checkpoint=theirs.folder, merged=merged).apply(base) for merged in (False, True))
    given = base.prepare([prompt])
    tokens = given["input_ids"].shape[1] + 35
    work = {"tower": Execution.full(base.architecture.vision.stack, 37), "visual_tokens": 36}
    blocks = Execution(tuple(LayerWork(block, tokens, 4) for block in range(4)))
    told = beside(targets(shapes(live.network)), **work, blocks=blocks)
    counts = [count_again(model.module, given) for model in (live, merged, base)]
    assert counts[1] == counts[2]
    assert counts[0] - counts[1] == told.vision + told.language


def test_dora_on_an_encoder_costs_what_the_counters_say(tmp_path: Path) -> None:
    vit = hf.ViTModel(hf.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )).eval()  # fmt: skip
    pixels = {"pixel_values": torch.zeros(1, 3, 16, 16)}
    alone = count_flops(vit, pixels).value
    config = peft.LoraConfig(target_modules=["q_proj"], r=2, use_dora=True)
    live = peft.get_peft_model(vit, config).get_base_model().eval()
    encoder = Execution(tuple(LayerWork(block, 5, 2) for block in range(2)))
    told = beside(targets(shapes(live)), tower=encoder, visual_tokens=0, blocks=None)
    assert told == Beside(2 * (5 + 16) * 2 * 2 * (16 + 16))
    assert count_flops(live, pixels).value - alone == told.vision


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("adallava-l(scheduler=first)+lora({},merged=false)", "a live adapter only runs whole; leave merged=false out"),
        ("lora({}/missing)", "there is no such folder"),
        ("lora", "argument 'checkpoint' is missing"),
        ("lora({},checkpoint=x)", "takes nothing after ':', nor a value without a name"),
        ("lora({})+lora({})", "exclude each other"),
        ("layers(3)", "takes nothing after ':', nor a value without a name"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_loads(
    spec: str, said: str, registry: Registry, theirs: Any, llava_folder: Callable[[], Path]
) -> None:
    base = "vit-glyphs" if "layers" in spec else f"llava:{llava_folder()}"
    with pytest.raises(UserError, match=said):
        plan_model(registry, parse(f"{base}+{spec.format(*[theirs.folder] * 2)}"))


def test_a_kind_of_unknown_cost_is_merged_only(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    (tmp_path / "adapter_model.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")
    with pytest.raises(UserError, match="a LOHA can only be merged"):
        Lora(checkpoint=str(tmp_path), merged=False).leaves(None)


def test_the_other_model_that_an_adapter_names_is_noted(theirs: Any, llava: Callable[..., HFMultimodal]) -> None:
    base = llava()
    assert Lora(checkpoint=theirs.folder).apply(base).notes == base.notes
    other = base.with_network(copy.copy(base.network))
    other.network.config = copy.copy(base.network.config)
    other.network.name_or_path = "other/llava"
    assert Lora(checkpoint=theirs.folder).apply(other).notes[-1].startswith("the adapter says that it was made for /")


def test_where_its_cost_is_not_known_it_says_so() -> None:
    with pytest.raises(UserError, match=r"the cost of a live LoRA on model\.embed_tokens is not known"):
        targets({"base_model.model.model.embed_tokens.lora_embedding_A": (4, 300)})
