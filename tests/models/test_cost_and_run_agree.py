"""`adaptbench cost` and `adaptbench run` have one verdict on every spec, and one number of FLOPs."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import peft
import pytest
import torch
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.reference.tiny_llava import tiny_llava
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.planned_models import PlannedModel
    from adaptbench.harness.prefill_cost import PrefillCost
    from adaptbench.harness.registry import Registry
    from adaptbench.harness.transformer import Architecture

TASK = "shapes-pope(scenes=2)"
OPTIONS: dict[str, dict[str, list[Any]]] = {
    "fastv": {
        "k": [0, 1, 2, 10, 11, "two"], "r": [0, 0.25, 0.9, 1, -1], "keep": [-200, 0, 1, 30, 70],
        "heads": ["max", "bogus"], "positions": ["compacted"], "select": ["random"],
    },
    "prumerge": {"tokens": [1, 2, 20, 64, 65, 66], "iqr": [-1, 1], "merged": ["true", "false"], "layer": [-1, 4, 9]},
    "prumerge-plus": {"tokens": [2, 30, 70], "divisor": [0, 2], "least": [1, 5], "most": [2, 9]},
    "adallava-l": {
        "prefix": [0, 3, 5, 10], "scheduler": ["first", "random", "full", "best"], "checkpoint": ["none"],
        "latency_token": ["true", "false"], "budget": [0.5],
    },
    "adallava-h": {"rank": [0, 1, 2, 3], "scheduler": ["first", "full"], "checkpoint": ["none"]},
    "random-tokens": {"keep": [0, 1, 64, 65], "seed": [-1, 4, 2**64 - 1, 2**64]},
    "pooled-tokens": {"grid": [0, 3, 8, 9]},
    "grid-tokens": {"grid": [0, 3, 8, 9]},
    "g-prune": {"keep": [0, 1, 64, 65], "threshold": [0, 0.5, 2], "temperature": [0, 1], "steps": [-1, 0, 3]},
    "tome": {"keep": [0, 3, 64, 65], "r": [-1, 0, 50], "sizes": ["false"], "order": ["release", "x"]},
    "divprune": {"keep": [0, 1, 64, 65]},
    "trim": {
        "keep": [0, 1, 64, 65], "share": [-1, 0, 0.3, 2], "flip": ["false"], "mean": ["false"], "text": ["FOLDER/none"]
    },
    "hired": {"keep": [1, 64, 65], "layer": [-1, 4, 9], "query": ["mean", "last"]},
    "vispruner": {"keep": [1, 64, 65], "important": [0, 0.3, 1, 2], "layer": [-3, 9]},
    "visionzip": {"dominant": [0, 1, 55, 56], "contextual": [0, 10, 64], "cls_token": ["true", "false"]},
    "vtw": {"k": [0, 1, 10, 11], "positions": ["compacted"]},
    "pyramiddrop": {"layers": ["1/2/3", "3/2", "2/5/11"], "shares": ["0.5/0.2/0", "2/1", "x"], "heads": ["max"]},
    "dart": {"k": [0, 1, 10, 11], "keep": [0, 1, 70], "visual_pivots": [0, 70], "beside": ["true"]},
    "fitprune": {"schedule": ["x", 1], "scale": [0, 0.5, 3], "inverted": ["true"], "positions": ["compacted"]},
    "sparsevlm": {
        "target": [64, 65], "version": ["v2", "v3"], "layers": ["1/2/3", "1/2", "2/5/11"], "counts": ["9/5/1", "0"],
        "positions": ["original"],
    },
    "smaller-images": {"side": [0, 30], "tokens": [0, 9]},
    "blind": {"colour": ["red"]},
    "layers": {"keep": [2]},
    "lora": {"checkpoint": ["FOLDER/lora", "FOLDER/dora", "FOLDER/none"], "merged": ["true", "false"]},
    "nothing": {},
}  # fmt: skip
BLIND_TO_INPUT = (
    "random-tokens",
    "pooled-tokens",
    "grid-tokens",
    "divprune",
    "trim(keep",
    "g-prune",
    "tome",
    "hired",
    "vispruner",
    "visionzip",
    "vtw",
    "pyramiddrop",
    "dart",
    "sparsevlm",
    "fitprune",
    "smaller-images",
    "fastv",
    "prumerge(tokens",
    "prumerge-plus(tokens",
    "scheduler=first",
    "scheduler=full",
    "blind",
    "lora",
)
MERGED = ["", "", "lora(FOLDER/lora)", "lora(FOLDER/ia3)"]
LIVE = ["lora(FOLDER/lora,merged=false)", "lora(FOLDER/dora,merged=false)", "lora(FOLDER/ia3,merged=false)"]


RIGHT = {
    "images": ["", "blind", "smaller-images(side=24)"],
    "selector": [
        "", "prumerge", "prumerge(tokens=9)", "prumerge(tokens=63,merged=false)", "prumerge-plus",
        "prumerge-plus(tokens=30)", "random-tokens(keep=9)", "random-tokens(keep=64,seed=3)", "pooled-tokens(grid=3)",
        "grid-tokens(grid=3)", "divprune(keep=9)", "hired(keep=9)", "vispruner(keep=9)",
        "visionzip(dominant=7,contextual=2)", "g-prune(keep=9)", "tome(keep=9)",
        "trim(keep=9)", "trim(keep=9,flip=false,mean=false)", "trim(keep=64)",
    ],
    "dropping": [
        "", "fastv", "fastv(k=1,r=0.9)", "fastv(k=7,keep=3)", "fastv(k=10)", "fastv(select=random,positions=compacted)",
        "vtw(k=5)", "pyramiddrop", "pyramiddrop(layers=3/9,shares=0.3/0.1)", "dart", "dart(k=1,keep=9,beside=true)",
        "sparsevlm", "sparsevlm(version=v2,target=64)", "fitprune", "fitprune(inverted=true,scale=0.6)",
    ],
    "scheduler": [
        "", "adallava-l", "adallava-l(scheduler=first)", "adallava-l(checkpoint=none,scheduler=random)",
        "adallava-l(scheduler=first,latency_token=false)", "adallava-l(scheduler=first,checkpoint=none,prefix=2)",
        "adallava-h", "adallava-h(scheduler=first)", "adallava-h(scheduler=first,checkpoint=none,rank=2)",
        "adallava-h(scheduler=first,checkpoint=none,prefix=3)", "adallava-h(scheduler=random,checkpoint=none,rank=4)",
    ],
}  # fmt: skip


@st.composite
def right(draw: Any) -> str:
    """Specs that can be run."""
    methods = [*filter(None, (draw(st.sampled_from(kinds)) for kinds in RIGHT.values()))]
    scheduled = "adallava" in "".join(methods)
    budget = draw(st.sampled_from(["", "@0.5", "@0.6", "@0.75", "@0.85", "@1"])) if scheduled else ""
    adapter = draw(st.sampled_from(MERGED if scheduled else [*MERGED, *LIVE]))
    methods += [adapter] if adapter else []
    return "+".join(["tiny-llava", *draw(st.permutations(methods))]) + budget


@st.composite
def calls(draw: Any) -> str:
    name = draw(st.sampled_from(list(OPTIONS)))
    chosen = draw(st.lists(st.sampled_from([*OPTIONS[name]] or ["x"]), max_size=2, unique=True))
    given = ",".join(f"{option}={draw(st.sampled_from(OPTIONS[name].get(option, [1])))}" for option in chosen)
    return f"{name}({given})" if given else name


@st.composite
def specs(draw: Any) -> str:
    budget = draw(st.sampled_from(["", "", "@0.3", "@0.5", "@0.7", "@1"]))
    return "+".join(["tiny-llava", *draw(st.lists(calls(), min_size=1, max_size=3))]) + budget


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_plugins().registry


@pytest.fixture(scope="module")
def base() -> HFMultimodal:
    return tiny_llava()


@pytest.fixture(scope="module")
def folder(base: HFMultimodal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of adapters on every linear layer, one of each live kind."""
    where = tmp_path_factory.mktemp("adapters")
    layers = ["q_proj", "v_proj", "fc1", "linear_1", "down_proj"]
    for name, config in {
        "lora": peft.LoraConfig(target_modules="all-linear", r=3),
        "dora": peft.LoraConfig(target_modules=layers, r=2, use_dora=True),
        "ia3": peft.IA3Config(target_modules=layers, feedforward_modules=["down_proj"]),
    }.items():
        model = peft.get_peft_model(copy.deepcopy(base.network), config)
        for weight in (weight for weight in model.parameters() if weight.requires_grad):
            torch.nn.init.normal_(weight, 1, 0.1)
        model.save_pretrained(where / name)
    return where


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    images = [Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), quality).convert("RGB") for quality in (20, 60)]
    return [
        Prompt(text, (image,), (str(place),), max_new_tokens=1)
        for place, (text, image) in enumerate(
            zip(("Is there a red circle ?", "How many squares ?"), images, strict=True)
        )
    ]


def verdict(ask: Any) -> str:
    try:
        ask()
    except UserError as error:
        return f"{error.what}; {error.todo}"
    return ""


@settings(max_examples=60, deadline=None)
@given(spec=specs() | right())
def test_one_verdict(registry: Registry, base: HFMultimodal, folder: Path, spec: str) -> None:
    """What planning lets pass can be built, and has a cost."""
    spec = spec.replace("FOLDER", str(folder))
    planned = verdict(lambda: plan(registry, Request([spec], [TASK])))
    assert planned == verdict(lambda: Costing(registry, spec).cost(CostRequest(12)))
    if not planned:
        modified(base, plan_model(registry, parse(spec)))


@settings(max_examples=40, deadline=None)
@given(spec=right())
def test_one_number_of_flops(
    registry: Registry, base: HFMultimodal, folder: Path, prompts: list[Prompt], spec: str
) -> None:
    spec = spec.replace("FOLDER", str(folder))
    assume(not verdict(lambda: plan_model(registry, parse(spec))))  # FastV may read a block that may be skipped
    planned = plan_model(registry, parse(spec))
    costing = Costing(registry, spec)
    for cost in (answer.cost for answer in modified(base, planned).answer(prompts)):
        priced = costing.cost(CostRequest(cost.text_tokens, convention=COUNTED))
        ran = as_it_ran(costing.architecture, cost).with_tower(priced.work.tower).adding(cost.methods)
        for method in (method for method in planned.as_applied if method.entry.name == "lora"):
            ran = method.method.leaves(ran)
        assert flops(ran) == cost.flops
        if all(any(name in str(call) for name in BLIND_TO_INPUT) for call in parse(spec).methods):
            assert priced.work.visual_tokens == cost.visual_tokens
            assert sum(priced.flops.values()) == cost.flops
            assert priced.of_base == cost.language.spent / cost.language.base
            assert priced.of_full == cost.language.spent / cost.language.full


def modified(model: Any, planned: PlannedModel) -> Any:
    for method in planned.as_applied:
        model = adapted(model, method.method) if method.entry.name == "lora" else method.method.apply(model)
    return model


@functools.cache
def adapted(model: Any, lora: Any) -> Any:
    """Put an adapter on the base, once for all examples."""
    return lora.apply(model)


def as_it_ran(architecture: Architecture, cost: PrefillCost) -> Work:
    """The work that a record says has been done."""
    work = Work.whole(architecture, text_tokens=cost.text_tokens, visual_tokens=cost.visual_tokens)
    return work.with_execution(cost.ran) if cost.ran else work


def flops(work: Work) -> int:
    return sum(operator.flops for operator in work.operators(COUNTED))
