"""From a spec to its cost, and the published efficiency table computed again."""

from __future__ import annotations

import functools
from pathlib import Path

import adaptbench
import pytest
from adaptbench import Method, MethodCard, hookimpl
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED, DEFAULT, LLM_VIEWER
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import load_plugins
from adaptbench.leaderboards.dissertation.efficiency import efficiency_rows


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def test_every_row_of_the_published_table_is_reproduced(registry):
    rows = efficiency_rows(registry)
    assert len(rows) == 35
    assert {row["TFLOPs off by"] for row in rows} == {0.0}
    assert {row["ms off by"] for row in rows} <= {-1, 0, 1}
    assert [row["row"] for row in rows if row["ms off by"]] == [
        "LLaVA-1.5 | w/ AdaLLaVA-H | Vicuna-13B | 85",
        "LLaVA-1.5 | w/ AdaLLaVA-H | Vicuna-13B | 60",
        "Prumerge | w/ AdaLLaVA-L | Vicuna-7B | 85",
        "Prumerge | w/ AdaLLaVA-H | Vicuna-7B | 85",
    ]


def test_the_closed_form_and_the_counters_agree_on_a_plan(registry):
    costing = Costing(registry, "llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l")
    cost = costing.cost(CostRequest(69, convention=COUNTED), 0.6, count=True)
    assert cost.counted == dict(cost.flops)
    traces = costing.counter.traces
    costing.cost(CostRequest(500, convention=COUNTED), 0.85, count=True)
    assert costing.counter.traces == traces


def test_what_only_part_of_a_layer_does_is_not_counted(registry):
    cost = Costing(registry, "llava-1.5-7b+adallava-h").cost(CostRequest(69), 0.6, count=True)
    assert cost.counted is None
    assert cost.of_base == cost.of_full == pytest.approx(76 / 128, abs=0.01)


def test_shares_are_of_the_base_and_of_the_same_model_with_everything_on(registry):
    def shares(spec, budget=None):
        cost = Costing(registry, spec).cost(CostRequest(69), budget)
        return cost.of_base, cost.of_full

    near = functools.partial(pytest.approx, abs=0.01)
    assert shares("llava-1.5-7b") == (1, 1)
    assert shares("llava-1.5-7b+fastv") == (near(0.57), 1)
    assert shares("llava-1.5-7b+prumerge-plus") == (near(0.35), 1)
    assert shares("llava-1.5-7b+layers(keep=16)") == (near(0.5), near(0.5))
    assert shares("llava-1.5-7b+prumerge-plus+adallava-l", 0.85) == (near(0.35 * 27 / 32), near(27 / 32))


def test_a_batch_and_a_precision_change_time_and_memory(registry):
    costing = Costing(registry, "llama-2-7b")

    def cost(**options):
        question = CostRequest(128, convention=LLM_VIEWER, accelerators=(find_accelerator("V100"),), **options)
        return costing.cost(question)

    one, many, small = cost(), cost(batch=8), cost(precision="int8")
    assert one.flops == many.flops == small.flops
    prefills = [cost.predicted["V100"]["prefill"] for cost in (one, many)]
    assert prefills[0] < prefills[1] < 8 * prefills[0]
    assert 2 * small.memory.total == one.memory.total < many.memory.total


def test_every_part_before_the_first_token_has_a_predicted_time(registry):
    def parts(spec):
        cost = Costing(registry, spec).cost(CostRequest(69, accelerators=(find_accelerator("V100"),)))
        return cost.predicted["V100"]

    times = parts("llava-1.5-7b")
    assert [*times] == ["vision", "projector", "prefill", "token"]
    assert times["prefill"] > times["token"] > times["vision"] > times["projector"] > 0
    assert [*parts("llama-2-7b")] == ["prefill", "token"]
    assert [*parts("dinov2-b")] == ["vision"]


def test_fused_attention_takes_other_time_and_memory(registry):
    costing = Costing(registry, "llama-2-7b")

    def cost(convention, chip="V100"):
        return costing.cost(CostRequest(2000, convention=convention, accelerators=(find_accelerator(chip),)))

    def seconds(convention, chip="V100"):
        return cost(convention, chip).predicted[chip]["prefill"]

    eager, fused = DEFAULT.with_attention("eager"), DEFAULT
    assert seconds(fused) < seconds(eager)
    assert cost(fused).memory.total < cost(eager).memory.total
    flash = LLM_VIEWER.with_attention("fused")
    assert cost(flash).flops == cost(LLM_VIEWER).flops
    assert seconds(flash) < seconds(LLM_VIEWER)


def test_flash_blocks_need_a_size_of_the_chip(registry, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine: {bandwidth: 9.0e+11, peak: {fp16: 1.0e+14}}")
    mine = (find_accelerator(str(path)),)
    costing = Costing(registry, "llama-2-7b")
    assert costing.cost(CostRequest(9, accelerators=mine)).predicted["mine"]["prefill"] > 0
    with pytest.raises(UserError, match=r"on-chip memory.*on_chip: BYTES"):
        costing.cost(CostRequest(9, convention=LLM_VIEWER.with_attention("fused"), accelerators=mine))


@pytest.mark.parametrize(
    ("spec", "question", "said"),
    [
        ("lava-1.5-7b", {}, "unknown architecture or model.*llava-1.5-7b"),
        ("llava-1.5-7b@0.5", {}, "takes a budget.*add one that does: adallava-h, adallava-l, layers$"),
        ("llava-1.5-7b+fastvv", {}, "unknown method 'fastvv'.*fastv"),
        ("llava-1.5-7b+fastv(q=2)", {}, "unknown argument 'q'"),
        ("dinov2-b+fastv", {}, "needs decoder, visual-tokens; 'dinov2-b' offers layers"),
        ("pixels", {}, "model 'pixels' does not tell its architecture; run it"),
        ("llava-1.5-7b+blind+fastv(k=33)", {}, "method fastv.k=33.: cannot drop tokens after 33 of 32"),
        ("llava-1.5-7b", {"text_tokens": -1}, "-1 text tokens"),
        ("llava-1.5-7b", {"visual_tokens": 577}, "577 visual tokens"),
        ("llava-1.5-7b", {"batch": 0}, "batch of 0"),
        ("llava-1.5-7b", {"batch": 10**23}, "give 1 to 1,000,000,000"),
        ("llava-1.5-7b", {"text_tokens": 10**23}, "give at most 1,000,000,000"),
    ],
)
def test_bad_input_is_one_line(registry, spec, question, said):
    with pytest.raises(UserError, match=said) as caught:
        Costing(registry, spec).cost(CostRequest(**{"text_tokens": 10, **question}))
    assert "\n" not in str(caught.value)


class Half(Method):
    """A paper's, not implemented."""

    def leaves(self, work):
        """Return half of the visual tokens."""
        return work.with_visual_tokens(work.visual_tokens // 2)


class Mystery(Method):
    """Implemented, without a cost model."""

    def apply(self, model):
        """Return the model as it is."""
        return model


def test_a_method_may_have_only_a_cost_model_or_none():
    class Paper:
        @hookimpl
        def register(self, registry):
            registry.method("half", Half, card=MethodCard(needs={"visual-tokens"}))
            registry.method("mystery", Mystery, card=MethodCard())

    registry = load_plugins([Paper()]).registry
    cost = Costing(registry, "llava-1.5-7b+half").cost(CostRequest(10))
    assert cost.work.visual_tokens == 288
    with pytest.raises(UserError, match=r"^method mystery: it has no cost model; run it: its cost is measured"):
        Costing(registry, "tiny-llava+mystery").cost(CostRequest(10))


def test_a_budget_is_said_once(registry):
    with pytest.raises(UserError, match=r"^budgets: the spec says @0.5 already"):
        Costing(registry, "llava-1.5-7b+adallava-l@0.5").cost(CostRequest(10), 0.6)


def test_options_of_a_model_that_is_named_like_an_architecture_make_it_the_model(registry):
    weights = f"{Path(adaptbench.__file__).parent}/models/reference/weights/vit-glyphs"
    plain, half = (Costing(registry, f"hf:{weights}{more}").cost(CostRequest(0)) for more in ("", "(dtype=float16)"))
    assert plain.flops == half.flops
    with pytest.raises(UserError, match=r"unknown argument 'dtyp'.*did you mean 'dtype'"):
        Costing(registry, f"hf:{weights}(dtyp=float16)")
