"""The suites of the scale study: which tasks and which families of models they ask."""

import re
from collections import Counter
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.suites import load_suite
from adaptbench.leaderboards.figures.pairs import brief, family
from adaptbench.tasks.compositional.logical import SETTINGS
from adaptbench.tasks.compositional.pairs import OF_THE_TEXT

SUITES = Path(adaptbench.__file__).parent / "tasks" / "suites"
SCALE, TINY = "compositional-scale", "compositional-scale-tiny"


@pytest.mark.parametrize("name", [SCALE, TINY])
def test_they_ask_the_seven_pairs_in_four_settings(name):
    suite = load_suite(SUITES / f"{name}.yaml")
    asked = [re.fullmatch(r"logical-(\w+)\((?:\w+=\d+,)?setting=([\w-]+)\)", task).groups() for task in suite.tasks]
    assert asked == [(pair, setting) for pair in OF_THE_TEXT for setting in SETTINGS]
    cells = plan(load_plugins().registry, Request(suite.models, suite.tasks)).cells
    assert len(cells) == len(suite.models) * len(suite.tasks)


def test_families_have_the_sizes_that_were_released():
    models = [model for model in load_suite(SUITES / f"{SCALE}.yaml").models if model.startswith("hf-lm:")]
    families = Counter(family(name) for name in brief(models).values())
    assert families == {
        "llama": 4, "Llama-2-hf": 3, "Meta-Llama-3": 2, "Mistral-v0.1": 1, "Mixtral-v0.1": 1, "pythia": 6, "gpt-neo": 3,
    }  # fmt: skip


def test_the_tiny_one_needs_no_download():
    assert not [model for model in load_suite(SUITES / f"{TINY}.yaml").models if ":" in model]
