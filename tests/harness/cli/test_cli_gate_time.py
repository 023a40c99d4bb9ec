"""The gate's time check from the command line: two installed versions, and two models of one.

What is slowed does several times the work, and far less counts as slower, so that no busy machine decides a test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import adaptbench
import numpy as np
import pytest

ROOT = Path(adaptbench.__file__).parent
QUICKLY = ("--pairs", 7, "--seconds", 0.02, "--slower", 1.5, "--clock", "processor")
PLUGIN = """
import adaptbench, numpy as np

class Busy:
    def __init__(self, work):
        self.work = work

    def embed(self, images):
        sum(range(self.work))
        return np.zeros((len(images), 1))

@adaptbench.hookimpl
def register(registry):
    for name, work in {"quick": 100_000, "slow": 500_000}.items():
        card = adaptbench.ModelCard(capabilities=("embed",))
        registry.model(name, lambda work=work: Busy(work), card=card)
"""
PARTS = ("adapters", "harness", "leaderboards", "models", "tasks", "__init__.py", "__main__.py")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The interpreter of an environment with another version: its `pixels` does several times the work."""
    folder = tmp_path_factory.mktemp("other")
    for part in PARTS:
        place = folder / "installed" / "adaptbench" / part
        place.parent.mkdir(parents=True, exist_ok=True)
        copy, ignored = (shutil.copytree, shutil.ignore_patterns("__pycache__", "weights", "tables"))
        copy(ROOT / part, place, ignore=ignored) if (ROOT / part).is_dir() else shutil.copy(ROOT / part, place)
    pixels = folder / "installed/adaptbench/models/reference/pixels.py"
    quick = "        return np.stack("
    assert pixels.read_text().count(quick) == 1
    pixels.write_text(
        pixels.read_text().replace(
            quick,
            f"        for _ in range(7):\n    {quick.replace('return', '')}"
            "[grey(image, self._size).ravel() for image in images])\n" + quick,
        )
    )
    said = folder / "installed/adaptbench-9.dist-info"
    said.mkdir()
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: adaptbench\nVersion: 9\n")
    (said / "entry_points.txt").write_text(distribution("adaptbench").read_text("entry_points.txt"))
    venv.create(folder / "env", symlinks=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    (packages / "both.pth").write_text(f"{folder / 'installed'}\n{Path(np.__file__).parents[1]}\n")
    return folder / "env/bin/python"


@pytest.fixture
def suite(tmp_path):
    """A suite of one cell, whose call lasts some milliseconds; it names the plugin with its task."""
    (tmp_path / "toys.py").write_text((Path(__file__).parents[1] / "toys.py").read_text())
    (tmp_path / "gate.yaml").write_text(
        "name: toys\nplugins: [toys.py]\nbatch_size: 300\n"
        "models: [pixels]\ntasks: ['toy-images(images=300,samples=200)']\n"
    )
    return ("gate.yaml", "--check", "time", *QUICKLY)


class TestTwoInstalledVersions:
    def test_a_head_that_is_slower_fails_with_one_table(self, other, suite, tmp_path):
        arguments = [*map(str, suite), "--base-python", sys.executable, "--markdown", "summary.md"]
        done = subprocess.run(
            [other, "-m", "adaptbench", "gate", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": "", "ADAPTBENCH_PLUGINS": ""},
        )  # fmt: skip
        assert done.returncode == 12, done.stdout + done.stderr
        headline, heads, row, *_ = done.stdout.splitlines()
        assert headline == "toys: 1 failed of 1 check"
        assert heads.split() == ["check", "cell", "base", "head", "reason"]
        assert re.match(r"  time +pixels on toy-images.* ms +[\d.]+ ms +FAILED: slower +x\d\.\d+ \[", row)
        table = [line for line in (tmp_path / "summary.md").read_text().splitlines() if line.startswith("|")]
        assert len(table) == 3
        assert "FAILED: slower" in table[2]

    def test_a_head_that_is_faster_passes_and_the_notes_say_what_was_timed(self, other, suite, cli, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(ROOT.parent))  # of head; base must not find it
        done = cli("gate", *suite, "--base-python", other, "--json")
        assert done.status == 0, done.out + done.err
        told = json.loads(done.out)
        (finding,) = told["findings"]
        assert finding["code"] == "not-slower"
        assert float(finding["detail"][1:].split()[0]) < 0.6
        assert any("AdaptBench of " in note and str(other.parents[2] / "installed") in note for note in told["notes"])


@pytest.mark.parametrize(
    ("model", "base", "status", "code"),
    [("slow", "quick", 12, "slower"), ("quick", "quick", 0, "not-slower")],
)
def test_two_models_are_timed_in_turn(cli, tmp_path, model, base, status, code):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "toys.py").write_text((Path(__file__).parents[1] / "toys.py").read_text())
    plugins = ("--plugin", "mine.py", "--plugin", "toys.py")
    done = cli("gate", "--model", model, "--base-model", base, "--task", "toy-images", *plugins, *QUICKLY)
    assert done.status == status, done.out + done.err
    assert f"{model} against {base} on toy-images" in done.out
    assert code in done.out
