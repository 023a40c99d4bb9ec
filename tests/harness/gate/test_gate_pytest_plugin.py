"""The fixture in a project's own pytest."""

from pathlib import Path

import pytest
from _pytest.outcomes import Failed
from adaptbench.harness.gate.pytest_plugin import GateFixture

pytest_plugins = ["pytester"]


@pytest.fixture
def project(tmp_path, toys, quick, monkeypatch):
    """A folder with a plugin, a suite and its baseline."""
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    (tmp_path / "mine.py").write_text(Path(toys.__file__).read_text())
    (tmp_path / "gate.yaml").write_text("name: mine\nmodels: [toy-adder]\ntasks: [toy-words]\n")
    GateFixture(tmp_path, update=True).check("gate.yaml", plugins=["mine.py"])
    return tmp_path


def test_what_did_not_change_passes(project):
    verdict = GateFixture(project).check("gate.yaml", plugins=["mine.py"])
    assert [(f.kind, f.code) for f in verdict.findings] == [("exact", "same"), ("accuracy", "same")]


def test_a_broken_rule_fails_the_test_with_the_table(project):
    code = (project / "mine.py").read_text()
    (project / "mine.py").write_text(
        code.replace('"accuracy": float(parsed == sample.target), "said"', '"accuracy": 0.0, "said"')
    )
    with pytest.raises(Failed, match=r"mine: 2 failed of 2 checks\n.*\n  exact .*scores-changed"):
        GateFixture(project).check("gate.yaml", plugins=["mine.py"])


def test_a_slower_function_fails_the_test():
    gate, rule = GateFixture(Path()), {"pairs": 7, "seconds": 0.01, "clock": "processor"}
    with pytest.raises(Failed, match=r"new: 1 (failed|cannot be judged) of 1 checks?"):
        gate.not_slower(lambda: sum(range(100_000)), lambda: sum(range(300_000)), name="new", **rule)
    assert gate.not_slower(lambda: sum(range(300_000)), lambda: sum(range(100_000)), **rule).exit_code in {0, 13}


def test_the_plugin_brings_fixture_and_option(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it may be installed, under its other name
    pytester.makepyfile("def test_it(adaptbench_gate):\n    assert adaptbench_gate._update\n")
    options = ["-p", "adaptbench.harness.gate.pytest_plugin", "--adaptbench-update", "-p", "no:cacheprovider"]
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)
