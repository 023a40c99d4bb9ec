"""Methods at a size that is asked for: the spec that comes out is priced, and reads, what was said."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
from adaptbench import Size, UserError
from adaptbench.harness.contracts import Prompt, Record
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.closed_form import COUNTED
from adaptbench.harness.measure.work import Work
from adaptbench.harness.methods import Selector
from adaptbench.harness.planned_models import plan_methods, plan_model, what_is_left
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.sizing import at_sizes
from adaptbench.harness.specs import parse
from adaptbench.harness.spending import visual_tokens
from adaptbench.models.pruning.dropping import Dropping
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from adaptbench.harness.registry import Registry
    from adaptbench.harness.sizing import Sized

TASK = "shapes-pope(scenes=1)"
EXACT = ("random-tokens", "divprune", "g-prune", "hired", "vispruner", "visionzip", "prumerge", "prumerge-plus", "tome")
DROPPING = ("fastv(k=1)", "dart(k=1)", "pyramiddrop", "sparsevlm", "sparsevlm(version=v2)", "fitprune", "vtw")
SHELF = (*EXACT, "grid-tokens", "pooled-tokens", *DROPPING)
PLUGIN = """
import adaptbench

class Simple(adaptbench.Selector):
    size_options = ("keep",)
    keep: int = 9

    def kept(self, given):
        return min(self.keep, given)

class Text(Simple):
    size_options = "keep"

class Nameless(Simple):
    size_options = ()

    def sized(self, share, visual, depth):
        return {"keep": 1}

class Misspelt(Simple):
    size_options = ("kepp",)

class Broken(Simple):
    def sized(self, share, visual, depth):
        return {"keep": 1 // 0}

class Bare(Simple):
    def sized(self, share, visual, depth):
        return 3

@adaptbench.hookimpl
def register(registry):
    part = frozenset({"visual-tokens"})
    for kind in (Simple, Text, Nameless, Misspelt, Broken, Bare):
        registry.method(kind.__name__.lower(), kind, card=adaptbench.MethodCard(needs=part, modifies=part))
"""
STAGES = {"pyramiddrop": 3, "sparsevlm": 3}
OFFERS = {"decoder", "images", "visual-tokens"}


@functools.cache
def registry() -> Registry:
    return load_plugins(installed=()).registry


@functools.cache
def llava(side: int = 24, depth: int = 32) -> Work:
    """A LLaVA's work on a prompt of ``side`` x ``side`` visual tokens."""
    vision = {"model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8}
    vision |= {"num_attention_heads": 4, "image_size": 14 * side, "patch_size": 14}
    text = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": depth}
    text |= {"num_attention_heads": 8, "vocab_size": 50}
    return Work.whole(
        read_architecture({"model_type": "llava", "vision_config": vision, "text_config": text}), text_tokens=64
    )


def at(spec: str, size: Size, whole: Work) -> Sized:
    parsed = parse(f"llava-1.5-7b+{spec}")
    (found,) = at_sizes(parsed, plan_methods(registry(), parsed, OFFERS), [size], lambda _: whole)
    return found


def left(sized: Sized, whole: Work) -> Work:
    return what_is_left(plan_methods(registry(), sized.spec, OFFERS), whole)


def read(sized: Sized, whole: Work) -> list[int]:
    """Visual tokens that each block reads at a size, of the spec as it is priced."""
    return [layer.tokens - 64 for layer in left(sized, whole).language[1].layers]


def flops(work: Work) -> int:
    return sum(operator.flops for operator in work.operators(COUNTED))


class TestLlava15:
    """32 blocks, 576 tokens."""

    @pytest.mark.parametrize(
        ("spec", "asked", "options", "met"),
        [
            ("fastv", 192, "keep=166", 191.625),
            ("fastv", 128, "keep=98", 127.875),
            ("fastv", 64, "keep=30", 64.125),
            ("fastv(k=3)", 192, "k=3,keep=152", 191.75),
            ("dart", 64, "keep=30", 64.125),
            ("visionzip", 192, "contextual=30,dominant=162", 192),
            ("visionzip", 128, "contextual=20,dominant=108", 128),
            ("visionzip", 64, "contextual=10,dominant=54", 64),
            ("divprune", 128, "keep=128", 128),
            ("tome", 64, "keep=64", 64),
            ("prumerge-plus", 145, "tokens=145", 145),
            ("grid-tokens", 128, "grid=11", 121),
            ("grid-tokens", 192, "grid=14", 196),
            ("pooled-tokens", 64, "grid=8", 64),
            ("vtw", 270, "k=15", 270),
            ("pyramiddrop", 270, "shares=0.5/0.25/0.125", 270),
            ("pyramiddrop(layers=16)", 360, 'layers=16,shares="0.25"', 360),
            ("pyramiddrop(layers=4/16,shares=0.5/0.25)", 252, "layers=4/16,shares=0.5/0.25", 252),
        ],
    )
    def test_tokens_on_average_take_these_options(self, spec: str, asked: float, options: str, met: float) -> None:
        found = at(spec, Size("average_tokens", asked), llava())
        assert str(found.spec) == f"llava-1.5-7b+{spec.partition('(')[0]}({options})"
        assert found.met == met

    @pytest.mark.parametrize("layers", ["5", "2/4", "3/9/16/25", "2/4/6/8/10/12/14/16"])
    @pytest.mark.parametrize("method", ["pyramiddrop", "sparsevlm", "sparsevlm(version=v2)"])
    def test_own_layers_go_together_with_a_size(self, method: str, layers: str) -> None:
        (call,) = parse(f"llava-1.5-7b+{method}").methods
        spec = str(replace(call, args=(*call.args, ("layers", layers))))
        found = at(spec, Size("average_tokens", 340), llava())
        assert sum(read(found, llava())) / 32 == pytest.approx(340, abs=len(layers.split("/")))

    def test_a_single_number_may_be_repeated_beside_the_size_that_it_meets(self) -> None:
        spec = "llava-1.5-7b+pyramiddrop(layers=16,shares=0.25)"
        assert at(spec.partition("+")[2], Size("average_tokens", 360), llava()).met == 360

    @pytest.mark.parametrize(("keep", "average"), [(192, 216), (128, 156), (64, 96)])
    def test_what_papers_call_so_many_tokens_is_what_the_last_block_reads(self, keep: int, average: float) -> None:
        found = at("fastv", Size("end_tokens", keep), llava())
        assert str(found.spec.methods[0]) == f"fastv(keep={keep})"
        assert sum(read(found, llava())) / 32 == average

    @pytest.mark.parametrize("version", ["v1", "v2"])
    @pytest.mark.parametrize("asked", [192, 128, 64])
    def test_sparsevlm_reads_on_average_what_its_release_only_says(self, version: str, asked: float) -> None:
        found = at(f"sparsevlm(version={version})", Size("average_tokens", asked), llava())
        assert sum(read(found, llava())) / 32 == pytest.approx(asked, abs=0.5)

    @pytest.mark.parametrize(
        ("spec", "measure", "asked", "said"),
        [
            ("pyramiddrop", "average_tokens", 128, "cannot meet 128: the least is 144 visual tokens on average"),
            ("fastv", "average_tokens", 36, "cannot meet 36: the least is 36.94"),
            ("fastv", "tokens", 192, "cannot meet 192: the least is 576 visual tokens entering"),
            ("fastv", "tokens", 192, r"^model llava-1.5-7b\+fastv, method fastv: "),
            ("fastv(k=33)", "average_tokens", 192, "after 33 of 32"),
            ("divprune", "tokens", 577, "cannot meet 577: the most is 576"),
            ("divprune", "tokens", 0, "the least is 1 visual token entering"),
            ("vtw", "flops", 0.01, r"cannot meet 0.01: the least is 0\.\d+ of the base's FLOPs"),
            ("fastv(r=0.5)", "average_tokens", 128, "r=0.5 is given, and 128 .* take keep=98"),
            ("fastv(keep=128)", "average_tokens", 128, "keep=128 is given, and 128 .* take keep=98"),
            ("sparsevlm(target=64)", "average_tokens", 128, "target=64 is given"),
            ("divprune+fastv", "average_tokens", 128, "which of divprune and fastv has to meet"),
            ("divprune(keep=9)+fastv(keep=9)", "average_tokens", 9, "which of divprune and fastv has to meet"),
        ],
    )
    def test_what_cannot_be_met_is_refused(self, spec: str, measure: Any, asked: float, said: str) -> None:
        with pytest.raises(UserError, match=said):
            at(spec, Size(measure, asked), llava())

    def test_an_option_that_meets_it_already_may_stay(self) -> None:
        spec = "fastv(k=2,keep=98)"
        assert str(at(spec, Size("average_tokens", 128), llava()).spec) == f"llava-1.5-7b+{spec}"

    def test_a_second_method_has_its_size(self) -> None:
        found = at("divprune(keep=288)+fastv(k=16)", Size("average_tokens", 192), llava())
        assert str(found.spec) == "llava-1.5-7b+divprune(keep=288)+fastv(k=16,keep=96)"

    def test_a_budget_comes_on_top(self) -> None:
        found = at("divprune+adallava-l@0.6", Size("average_tokens", 128), llava())
        assert (str(found.spec), found.met) == ("llava-1.5-7b+divprune(keep=128)+adallava-l@0.6", 128)

    def test_no_method_no_size(self) -> None:
        assert at("blind", Size("tokens", 9), llava()).size is None


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHELF), st.integers(4, 27), st.integers(8, 60), st.floats(0.01, 1))
def test_the_average_is_met_within_a_token_of_every_stage(spec: str, side: int, depth: int, share: float) -> None:
    whole, visual = llava(side, depth), side * side
    asked = share * visual
    try:
        found = at(spec.replace("fitprune", "fastv"), Size("average_tokens", asked), whole)
    except UserError as error:
        assume("cannot meet" not in str(error))
        raise
    blocks = read(found, whole)
    average = sum(blocks) / depth
    assert average == pytest.approx(found.met)
    name = found.spec.methods[0].name
    options = dict(found.spec.methods[0].args)
    if name == "vtw":
        assert average == visual * options["k"] / depth
        assert abs(average - asked) <= visual / depth
    elif name in {"grid-tokens", "pooled-tokens"}:
        side_of = options["grid"]
        assert blocks == [side_of**2] * depth
        assert abs(average - asked) <= min(abs(other**2 - asked) for other in (side_of - 1, side_of + 1) if other)
    elif name in {"fastv", "dart"}:
        assert average == (options.get("k", 2) * visual + (depth - options.get("k", 2)) * options["keep"]) / depth
        assert abs(average - asked) <= 0.5 + 1e-9
    else:
        assert abs(average - asked) <= STAGES.get(name, 0.5) + 1e-9


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([one for one in SHELF if one != "fitprune"]), st.integers(8, 24), st.floats(0.2, 1))
def test_flops_are_never_above_what_is_asked(spec: str, side: int, share: float) -> None:
    whole = llava(side, 8)
    try:
        found = at(spec, Size("flops", share), whole)
    except UserError as error:
        assume("cannot meet" not in str(error))
        raise
    spent = flops(left(found, whole)) / flops(whole)
    assert spent == pytest.approx(found.met)
    assert spent <= share
    options = dict(found.spec.methods[0].args)
    if (keep := options.get("keep")) and keep < side * side:
        more = parse(f"llava-1.5-7b+{spec.partition('(')[0]}(keep={keep + 1}{',k=1' if 'k' in options else ''})")
        assert flops(what_is_left(plan_methods(registry(), more, OFFERS), whole)) / flops(whole) > share


@pytest.fixture(scope="module")
def base() -> Any:
    return adaptbench.load("tiny-llava")


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    image = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 20).convert("RGB")
    return Prompt("Is there a red circle ?", (image,), ("image",), max_new_tokens=1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("spec", [*SHELF, "trim"])
def test_what_runs_reads_and_spends_what_is_said(base: Any, prompt: Prompt, spec: str) -> None:
    (whole,) = (answer.cost for answer in base.answer([prompt]))
    sizes = [Size("average_tokens", 20), Size("end_tokens", 9), Size("flops", 0.65, text_tokens=whole.text_tokens)]
    for one in plan(registry(), Request((f"tiny-llava+{spec}",), (TASK,), sizes=sizes)).sized:
        (planned,) = plan_model(registry(), one.spec).methods
        (answer,) = planned.method.apply(base).answer([prompt])
        tokens = visual_tokens(
            [Record("sample", "input", answer.text, costs=(answer.cost,))], base.architecture.language
        )
        met = {
            "average_tokens": tokens.average, "end_tokens": tokens.last, "flops": answer.cost.flops / whole.flops,
        }  # fmt: skip
        assert met[one.size.measure] == pytest.approx(one.met, rel=1e-12)


def test_several_sizes_make_a_model_each_and_leave_others_as_they_are() -> None:
    models = ("tiny-llava", "tiny-llava+divprune", "tiny-llava+grid-tokens")
    sizes = [Size("tokens", 16), Size("average_tokens", 16), Size("tokens", 15)]
    cells = plan(registry(), Request(models, (TASK,), sizes=sizes)).cells
    assert [cell.id.model for cell in cells] == [
        "tiny-llava", "tiny-llava+divprune(keep=16)", "tiny-llava+divprune(keep=15)", "tiny-llava+grid-tokens(grid=4)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("tiny-llava", Size("tokens", 16), "^tokens 16: no model here has a method that can be told how many"),
        ("tiny-qwen-vl+divprune", Size("tokens", 16), "how many visual tokens .*; say how many: --visual-tokens 64$"),
        ("tiny-qwen-vl+divprune", Size("flops", 0.6, visual_tokens=64), "its FLOPs depend .*; ask for tokens instead"),
    ],
)
def test_what_no_model_of_a_run_can_meet_is_refused(model: str, size: Size, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(registry(), Request((model,), (TASK,), sizes=(size,)))


def test_images_of_any_size_have_the_tokens_that_are_said() -> None:
    sizes = [Size("average_tokens", 16, visual_tokens=64)]
    models = ("tiny-internvl+fastv(k=1)", "tiny-internvl+visionzip(cls_token=false)")
    assert [cell.id.model for cell in plan(registry(), Request(models, (TASK,), sizes=sizes)).cells] == [
        "tiny-internvl+fastv(k=1,keep=11)", "tiny-internvl+visionzip(cls_token=false,contextual=2,dominant=14)"
    ]  # fmt: skip


def test_costs_are_those_of_the_prompt_that_is_asked() -> None:
    costing, request = Costing(registry(), "llava-1.5-7b+divprune"), CostRequest(text_tokens=64, images=2)
    (variant,), (found,) = costing.at_sizes([Size("tokens", 128)], request)
    assert str(found.spec) == "llava-1.5-7b+divprune(keep=64)"
    assert variant.cost(request).work.visual_tokens == 128


def test_every_method_that_leaves_fewer_visual_tokens_can_be_set_to_a_size() -> None:
    kinds = [entry.factory() for entry in registry().entries("method")]
    leaving = [kind for kind in kinds if issubclass(kind, Selector | Dropping)]
    assert len(leaving) >= 17
    for kind in leaving:
        assert kind.size_options
        assert set(kind.size_options) <= set(kind.model_fields)


def test_a_plugins_options_for_a_size_are_checked(tmp_path: Any) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    found = load_plugins([str(tmp_path / "mine.py")], installed=()).registry
    sizes = (Size("tokens", 16),)
    with pytest.raises(UserError, match="method misspelt: unknown argument 'kepp'"):
        plan(found, Request(("tiny-llava+misspelt",), (TASK,), sizes=sizes))
    with pytest.raises(UserError, match=r"method broken: .*ZeroDivisionError"):
        plan(found, Request(("tiny-llava+broken",), (TASK,), sizes=sizes))
    with pytest.raises(UserError, match=r"method bare: its options for a size failed with TypeError: 'int' object"):
        plan(found, Request(("tiny-llava+bare",), (TASK,), sizes=sizes))
    with pytest.raises(UserError, match="method 'text': size_options is not a tuple: 'keep'; fix plugin"):
        plan(found, Request(("tiny-llava+text",), (TASK,), sizes=sizes))
    with pytest.raises(UserError, match="method 'nameless': it has sized, but no size_options"):
        plan(found, Request(("tiny-llava+nameless",), (TASK,), sizes=sizes))
    (cell,) = plan(found, Request(("tiny-llava+simple",), (TASK,), sizes=sizes)).cells
    assert cell.id.model == "tiny-llava+simple(keep=16)"


@pytest.mark.parametrize(
    ("measure", "amount"),
    [
        ("tokens", -1),
        ("flops", 0),
        ("flops", 1.5),
        ("tokens", math.nan),
        ("tokens", 1.5),
        ("end_tokens", 1.5),
        ("token", 3),
    ],
)
def test_amounts_make_sense(measure: Any, amount: float) -> None:
    with pytest.raises(UserError):
        Size(measure, amount)
