"""A plugin that is a distribution of its own, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


@pytest.fixture(scope="module")
def environment(installed, tmp_path_factory):
    """An environment with the wheel of AdaptBench and the example."""
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "example")
    installed.install(source)
    return installed


def test_its_names_are_listed_without_importing_them(environment):
    rows = json.loads(environment.run("adaptbench", "list", "--json"))
    mine = {(row["kind"], row["name"]) for row in rows if row["plugin"] == "example"}
    assert mine == {
        ("model", "mean-colour"),
        ("method", "fewer-tiles"),
        ("task", "brightness"),
        ("suite", "example"),
    }
    code = (
        "import sys; from adaptbench.harness.plugins import load_plugins;"
        "load_plugins().registry.entries('model'); print('adaptbench_example.things' in sys.modules)"
    )
    assert environment.run("python", "-c", code) == "False\n"


def test_it_is_listed_with_its_version(environment):
    text = environment.run("adaptbench", "plugin", "list")
    assert "example 0.3.0  [ok]  adaptbench_example\n  model mean-colour\n  method fewer-tiles\n" in text


def test_it_keeps_its_contracts(environment):
    text = environment.run("adaptbench", "plugin", "check", "example")
    assert "FAILED" not in text
    assert "ok  method fewer-tiles on mean-colour: The model that it is given stays as it was" in text


def test_its_suite_runs_with_a_budget_and_reports(environment):
    done = json.loads(environment.run("adaptbench", "run", "example", "--model", "pixels", "--json"))
    cells = [(cell["cell"]["model"], cell["cell"]["budget"]) for cell in done["cells"]]
    assert cells == [
        ("mean-colour(side=4)", 1.0),
        ("mean-colour(side=4)+fewer-tiles", 0.25),
        ("mean-colour(side=4)+fewer-tiles", 1.0),
        ("pixels", 1.0),
    ]
    assert done["cells"][0]["metrics"]["accuracy"]["value"] == 1.0
    assert list(done["cells"][1]["method_cards"]) == ["fewer-tiles"]
    environment.run("adaptbench", "report", "runs/example", "--out", "example.md")
    assert "mean-colour" in (environment.work / "example.md").read_text()


def test_its_own_outputs_are_scored_again(environment):
    run = ["run", "--model", "mean-colour", "--task", "brightness(count=30)", "--out", "runs/again", "--json"]
    (cell,) = json.loads(environment.run("adaptbench", *run))["cells"]
    (folder,) = (environment.work / "runs" / "again" / "cells").iterdir()
    command = ["score", "brightness(count=30)", "--predictions", folder, "--json"]
    assert json.loads(environment.run("adaptbench", *command))["metrics"] == cell["metrics"]
