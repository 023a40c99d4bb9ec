"""docs/benchmarks.md builds a benchmark from nothing: its examples work as shown."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.conformance import check
from adaptbench.harness.plugins import load_plugins

PAGE = (Path(adaptbench.__file__).parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"into `(\w+\.\w+)`.*?```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [shlex.split(line) for line in re.findall(r"^    adaptbench (.*)$", PAGE, re.MULTILINE)]


@pytest.fixture
def folder(cli, tmp_path):
    """A folder with the files of the page and the data that one of them draws; ``cli`` works in it."""
    for name, content in FILES.items():
        Path(name).write_text(content)
    runpy.run_path("draw_data.py")
    return tmp_path


def test_it_takes_six_concepts():
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    used = set(re.findall(r"adaptbench\.(\w+)", FILES["my_benchmark.py"])) - {"hookimpl"}
    assert used | {"register"} == set(named)
    assert len(named) == 6


def test_its_commands_run(cli, folder):
    assert [command[0] for command in COMMANDS] == ["run", "report", "score"]
    run, report, score = (cli(*command, *(() if command[0] == "report" else ("--json",))) for command in COMMANDS)
    assert (run.status, report.status, score.status) == (0, 0, 0), (run.err, report.err, score.err)
    means = {cell["cell"]["model"]: cell["metrics"]["accuracy"]["value"] for cell in json.loads(run.out)["cells"]}
    assert means == {"tiny-llava": 1.0, "says:red": 0.25}
    board = (folder / "board.html").read_text()
    assert all(f">{shape}" in board.partition("By subset")[2] for shape in ("circle", "square", "diamond"))
    scored = json.loads(score.out)
    assert (scored["matched"], scored["unparsed"]) == (3, 1)
    assert scored["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert list(scored["breakdown"]["shape"]) == ["circle"]


def test_it_keeps_its_contracts(folder):
    findings = check(load_plugins(["./my_benchmark.py"]), "my_benchmark")
    assert [finding for finding in findings if not finding.ok] == []
