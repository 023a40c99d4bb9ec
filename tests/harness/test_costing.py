"""From a spec to its cost, and the published efficiency table computed again."""

from __future__ import annotations

import pytest
from adaptbench.harness.costing import Costing, Question
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import COUNTED, LLM_VIEWER
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import load_plugins
from adaptbench.leaderboards.efficiency import efficiency


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def test_every_row_of_the_published_table_is_reproduced(registry):
    rows = efficiency(registry)
    assert len(rows) == 35
    assert {row["TFLOPs off by"] for row in rows} == {0.0}
    assert {row["ms off by"] for row in rows} <= {-1, 0, 1}
    assert sum(row["ms off by"] != 0 for row in rows) <= 3


def test_the_closed_form_and_the_counters_agree_on_a_plan(registry):
    costing = Costing(registry, "llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l")
    cost = costing.cost(Question(69, convention=COUNTED), 0.6, count=True)
    assert cost.counted == dict(cost.flops)
    traces = costing.counter.traces
    costing.cost(Question(500, convention=COUNTED), 0.85, count=True)
    assert costing.counter.traces == traces


def test_what_only_part_of_a_layer_does_is_not_counted(registry):
    cost = Costing(registry, "llava-1.5-7b+adallava-h").cost(Question(69), 0.6, count=True)
    assert cost.counted is None
    assert cost.share == pytest.approx(76 / 128, abs=0.01)


def test_a_share_is_of_the_same_model_with_every_switch_on(registry):
    def share(spec, budget=None):
        return Costing(registry, spec).cost(Question(69), budget).share

    assert share("llava-1.5-7b") == share("llava-1.5-7b+fastv") == share("llava-1.5-7b+prumerge-plus") == 1
    assert share("llava-1.5-7b+layers(keep=16)") == pytest.approx(0.5, abs=0.01)
    assert share("llava-1.5-7b+prumerge-plus+adallava-l", 0.85) == pytest.approx(27 / 32, abs=0.01)


def test_a_batch_and_a_precision_change_time_and_memory(registry):
    costing = Costing(registry, "llama-2-7b")

    def cost(**options):
        question = Question(128, convention=LLM_VIEWER, accelerators=(find_accelerator("V100"),), **options)
        return costing.cost(question)

    one, many, small = cost(), cost(batch=8), cost(precision="int8")
    assert one.flops == many.flops == small.flops
    assert one.predicted["V100"][0] < many.predicted["V100"][0] < 8 * one.predicted["V100"][0]
    assert 2 * small.memory == one.memory < many.memory


@pytest.mark.parametrize(
    ("spec", "question", "said"),
    [
        ("lava-1.5-7b", {}, "unknown architecture.*llava-1.5-7b"),
        ("llava-1.5-7b@0.5", {}, "takes a budget"),
        ("llava-1.5-7b+fastvv", {}, "unknown plan 'fastvv'.*fastv"),
        ("llava-1.5-7b+fastv(q=2)", {}, "unknown argument 'q'"),
        ("dinov2-b+fastv", {}, "no language model"),
        ("llava-1.5-7b", {"text_tokens": -1}, "-1 text tokens"),
        ("llava-1.5-7b", {"visual_tokens": 577}, "577 visual tokens"),
        ("llava-1.5-7b", {"batch": 0}, "batch of 0"),
        ("llava-1.5-7b+fastv+prumerge", {}, "name the pruning first"),
    ],
)
def test_bad_input_is_one_line(registry, spec, question, said):
    with pytest.raises(UserError, match=said) as caught:
        Costing(registry, spec).cost(Question(**{"text_tokens": 10, **question}))
    assert "\n" not in str(caught.value)
