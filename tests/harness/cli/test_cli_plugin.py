"""``adaptbench plugin new`` and ``plugin check``."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from adaptbench.harness.cli.plugin_new import write_package

KINDS = ("model", "method", "benchmark", "figure")
IN_TURN = """
import shlex, sys
from adaptbench.harness.cli import main
for line in sys.argv[1:]:
    sys.argv = ["adaptbench", *shlex.split(line)]
    try:
        main()
    except SystemExit as stopped:
        if stopped.code:
            sys.exit(line)
"""


def commands(folder):
    """What the README of a package tells to run."""
    return re.findall(r"^    adaptbench (.*)$", (folder / "README.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A new package with everything, installed beside the environment that runs the tests."""
    root = tmp_path_factory.mktemp("new")
    folder = write_package("My-things", root, KINDS)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, *install, "--target", str(root / "site"), str(folder)], check=True)
    return folder, os.environ | {"PYTHONPATH": str(root / "site"), "ADAPTBENCH_PLUGINS": "My-things"}


def test_the_package_has_tests_of_its_own_that_pass(package):
    folder, environment = package
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_the_commands_of_its_readme_work(package):
    folder, environment = package
    lines = commands(folder)
    assert [line.split()[0] for line in lines] == "plugin run report figure score list cost run figure".split()
    command = [sys.executable, "-c", IN_TURN, *lines[1:5]]  # what it adds is checked, and the method run, below
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Mean length of an answer" in (folder / "runs" / "first" / "leaderboard.html").read_text()


def test_the_package_is_clean(package):
    folder, _ = package
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,B,D,UP", "--ignore", "D203,D213"]
    done = subprocess.run([*ruff, "--line-length", "120", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_a_package_of_one_kind_keeps_its_readme(cli, tmp_path, monkeypatch, kind):
    name = f"new_{kind or 'default'}"
    made = cli("plugin", "new", name, *([f"--{kind}"] if kind else []))
    assert made.out.splitlines() == [
        *(name, "next:", f"  cd {name}", "  pip install -e .", "  python -m pytest"),
        f"  adaptbench plugin check {name}",
    ]
    folder = tmp_path / name
    parts = [kind] if kind else ["model", "benchmark"]
    assert {path.stem for path in (folder / name).glob("*.py")} == {"__init__", *parts}
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    for line in commands(folder):
        loaded = [] if line.startswith("plugin") else ["--plugin", name]
        done = cli(*shlex.split(line), *loaded)
        assert done.status == 0, (line, done.err)
    if kind == "method":
        assert "tiny-llava+new_method-method(step=...)" in (folder / "curve.svg").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a b", "cannot name a package"),
        ("-x", "No such option"),
        ("x-", "cannot name a package"),
        ("1x", "cannot name a package"),
        ("../x", "cannot name a package"),
        ("class", "Python has a module or a word 'class' already"),
        ("numpy", "Python has a module or a word 'numpy' already"),
        ("adaptbench", "Python has a module or a word 'adaptbench' already"),
    ],
)
def test_a_name_that_would_not_work_is_refused(cli, tmp_path, name, message):
    done = cli("plugin", "new", name)
    assert done.status == 2
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(cli, tmp_path):
    (tmp_path / "mine").mkdir()
    done = cli("plugin", "new", "mine")
    assert done.status == 2
    assert "mine: it exists already" in done.err
    assert list((tmp_path / "mine").iterdir()) == []


BAD = """
import adaptbench

class Model:
    def embed(self, images):
        return [[float("nan")] for _ in images]

@adaptbench.hookimpl
def register(registry):
    registry.model("m", Model, card=adaptbench.ModelCard(capabilities=("embed",)))
"""


class TestCheck:
    def test_a_file_with_a_violation(self, cli, tmp_path):
        (tmp_path / "bad.py").write_text(BAD)
        done = cli("plugin", "check", "bad.py")
        assert done.status == 1
        assert "  FAILED  model m: embed(images) gives one finite vector per image: a vector holds NaN" in done.out
        findings = json.loads(cli("plugin", "check", "./bad.py", "--json").out)
        assert [finding["ok"] for finding in findings][:2] == [True, False]

    def test_a_module(self, cli, tmp_path, monkeypatch):
        (tmp_path / "bad_checked_module.py").write_text(BAD)
        monkeypatch.syspath_prepend(tmp_path)
        assert cli("plugin", "check", "bad_checked_module").status == 1

    def test_a_broken_file_is_a_finding(self, cli, tmp_path):
        (tmp_path / "broken.py").write_text("1 / 0")
        done = cli("plugin", "check", "broken.py")
        assert (done.status, done.err) == (1, "")
        assert done.out == "  FAILED  plugin broken: loads: ZeroDivisionError: division by zero\n"

    def test_a_built_in(self, cli):
        done = cli("plugin", "check", "adapters")
        assert done.status == 0
        assert "ok  model hf: not checked: argument 'path' is missing" in done.out
