"""The suites of chapter 3: with the folders that they ask for, each plans what its table compares."""

from __future__ import annotations

import os
from pathlib import Path

import adaptbench
import pytest
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


def planned(name, environment):
    suite = filled(load_suite(SUITES / f"fewshot-{name}.yaml"), environment)
    registry = load_plugins().registry
    for text in suite.tasks:
        call = parse_call(text)
        registry.find("task", call.name).bind(call)
    return plan(registry, Request(suite.models, suite.tasks)).cells


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_asks_five_encoders(name):
    cells = planned(name, {"ADAPTBENCH_DATA": "data"})
    assert len(cells) == 5 * PROTOCOLS[name]
    assert len({str(cell.task.step.call) for cell in cells}) == PROTOCOLS[name]


def test_the_tasks_of_one_are_drawn_from_what_a_folder_holds(tmp_path):
    for bird in range(30):
        (tmp_path / "cub" / "test" / f"{bird:03d}").mkdir(parents=True)
        for image in range(20):
            (tmp_path / "cub" / "test" / f"{bird:03d}" / f"{image}.png").write_bytes(bytes([bird, image]))
    suite = filled(load_suite(SUITES / "fewshot-cub.yaml"), os.environ | {"ADAPTBENCH_DATA": str(tmp_path)})
    tasks = [parse_call(text) for text in suite.tasks]
    built = [load_plugins().registry.find("task", call.name) for call in tasks]
    made = [entry.factory()(**entry.bind(call), episodes=2) for entry, call in zip(built, tasks, strict=True)]
    assert [(task.protocol.shots, task.manifest.query.shape) for task in made] == [(1, (2, 15, 15)), (5, (2, 15, 15))]
