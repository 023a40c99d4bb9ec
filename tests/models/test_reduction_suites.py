"""The suite of token reduction on drawn scenes: its models read as many visual tokens as it says."""

from __future__ import annotations

import json
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.measure.architecture import read_architecture
from adaptbench.harness.measure.work import Work
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.suites import load_suite
from adaptbench.models.reference.tiny_llava import WEIGHTS

SUITES = Path(adaptbench.__file__).parent / "tasks" / "suites"
TEXT = 15
ALL = {"", "blind", "smaller-images"}
APART = {"vtw": 19.2}


@pytest.fixture(scope="module")
def registry():
    return load_plugins(installed=()).registry


def test_models_read_a_quarter_or_an_eighth_of_the_tokens_on_average_over_blocks(registry):
    suite = load_suite(SUITES / "token-reduction-shapes.yaml")
    work = Work.whole(read_architecture(json.loads((WEIGHTS / "config.json").read_text("utf-8"))), text_tokens=TEXT)
    cells = plan(registry, Request(tuple(suite.models), tuple(suite.tasks[:1]))).cells
    assert len(cells) == len(suite.models)
    counts = {}
    for cell in cells:
        left, methods = work, cell.model.as_applied
        kind, asked = (methods[0].call.name, dict(methods[0].call.args)) if methods else ("", {})
        if kind == "smaller-images" and "tokens" in asked:  # the images are scaled to them
            counts.setdefault(str(cell.model.spec.base), []).append(asked["tokens"])
            continue
        for planned in methods:
            left = planned.method.leaves(left)
        layers = left.language[1].layers
        read = sum(layer.tokens - TEXT for layer in layers) / len(layers)
        expected = (64,) if kind in ALL else (APART[kind],) if kind in APART else (8, 16)
        assert any(read == pytest.approx(one, rel=0.03) for one in expected), cell.id.model
        counts.setdefault(str(cell.model.spec.base), []).append(round(read))
    assert set(counts) == {"tiny-llava", "tiny-qwen-vl", "tiny-internvl"}
    assert all(read.count(8) == 9 and read.count(16) >= 11 for read in counts.values())
