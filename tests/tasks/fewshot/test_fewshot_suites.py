"""The suites of chapter 3: with the folders that they ask for, each plans what its table compares."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse_call
from adaptbench.harness.suites import filled, load_suite

SUITES = Path(adaptbench.__file__).parent / "tasks" / "suites"
PROTOCOLS = {
    "mini-imagenet": 2,
    "tiered-imagenet": 2,
    "cub": 2,
    "domainnet": 12,
    "omniglot": 6,
    "meta-dataset": 10,
    "meta-baseline": 4,
}
STUDIES = (
    "shots",
    "tasks",
    "classes-mini-imagenet",
    "classes-omniglot",
    "classes-tiered-imagenet",
    "mixed",
    "selection",
)


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def planned(registry, models, tasks):
    for text in tasks:
        call = parse_call(text)
        registry.find("task", call.name).bind(call)
    return plan(registry, Request(models, tasks)).cells


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_asks_five_encoders(registry, name):
    suite = filled(load_suite(SUITES / f"fewshot-{name}.yaml"), {"ADAPTBENCH_DATA": "data"})
    cells = planned(registry, suite.models, suite.tasks)
    assert len(cells) == 5 * PROTOCOLS[name]
    assert len({str(cell.task.step.call) for cell in cells}) == PROTOCOLS[name]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_compares_its_trainings_with_their_base(registry, name, tmp_path):
    environment = {"ADAPTBENCH_DATA": "data", "ADAPTBENCH_STUDY": str(tmp_path), "ADAPTBENCH_TARGET": "aircraft"}
    suite = load_suite(SUITES / f"fewshot-{name}.yaml")
    bases = {text for text in suite.models if "+" not in text}
    trained = [text for text in suite.models if "+" in text]
    assert {text.partition("+")[0] for text in trained} == bases
    for method, pattern in re.findall(r'\+([a-z-]+)\(checkpoint="(.+?)"', "".join(trained)):
        for training in ("one", "two"):
            folder = re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], pattern).replace("*", training)
            Path(folder).mkdir(parents=True)
            (Path(folder) / "adaptation.json").write_text(json.dumps({"method": method}))
    there = filled(suite, environment)
    here = tuple(dict.fromkeys(re.sub("^hf:[^+]+", "vit-glyphs", text) for text in there.models))  # needs no hub
    assert len(planned(registry, here, there.tasks)) == 1 + 2 * len(trained)
    with pytest.raises(UserError, match="ADAPTBENCH_STUDY is not set"):
        filled(suite, {"ADAPTBENCH_DATA": "data"})


def test_the_tasks_of_one_are_drawn_from_what_a_folder_holds(registry, tmp_path):
    for bird in range(30):
        (tmp_path / "cub" / "test" / f"{bird:03d}").mkdir(parents=True)
        for image in range(20):
            (tmp_path / "cub" / "test" / f"{bird:03d}" / f"{image}.png").write_bytes(bytes([bird, image]))
    suite = filled(load_suite(SUITES / "fewshot-cub.yaml"), os.environ | {"ADAPTBENCH_DATA": str(tmp_path)})
    tasks = [parse_call(text) for text in suite.tasks]
    built = [registry.find("task", call.name) for call in tasks]
    made = [entry.factory()(**entry.bind(call), episodes=2) for entry, call in zip(built, tasks, strict=True)]
    assert [(task.protocol.shots, task.manifest.query.shape) for task in made] == [(1, (2, 15, 15)), (5, (2, 15, 15))]
