"""``adaptbench gate``: verdicts, files, exit codes."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from adaptbench.harness.gate import selftest
from adaptbench.harness.gate.clock import TimeRule

TOYS = Path(__file__).parents[1] / "toys.py"


@pytest.fixture
def gate(cli, quick, tmp_path):
    """Run the gate on a suite of toys, whose code may be changed first."""
    (tmp_path / "mine.py").write_text(TOYS.read_text())
    (tmp_path / "gate.yaml").write_text("name: toys\nmodels: [toy-adder]\ntasks: [toy-words]\n")
    return lambda *arguments: cli("gate", "gate.yaml", "--plugin", "mine.py", *arguments)


def change(path, before, after):
    code = path.read_text()
    assert before in code
    path.write_text(code.replace(before, after))


RULE = '"accuracy": float(parsed == sample.target), "said"', '"accuracy": float(parsed is None), "said"'
MODEL = "(a % self._wrong == 0)", "(a % 2 == 0)"


class TestSuite:
    def test_a_new_baseline_is_shown_and_then_holds(self, gate, tmp_path):
        assert (done := gate()).status == 13
        assert "no-baseline" in done.out
        assert "+ toy-adder on toy-words: accuracy 0.8056, said 0.9167; 36 samples" in gate("--update").out
        assert (tmp_path / "ci/baselines/toys.json").is_file()
        done = gate()
        assert done.status == 0
        assert done.out.startswith("toys: 2 checks passed\n")
        assert gate("--update").out.startswith("nothing changes\n")

    @pytest.mark.parametrize(("what", "status", "reason"), [(RULE, 10, "scores-changed"), (MODEL, 11, "accuracy-lost")])
    def test_what_breaks_has_its_exit_code_and_reason(self, gate, tmp_path, what, status, reason):
        gate("--update")
        change(tmp_path / "mine.py", *what)
        done = gate("--markdown", "summary.md", "--junit", "gate.xml")
        assert done.status == status
        assert reason in done.out
        assert f"FAILED: {reason}" in (tmp_path / "summary.md").read_text()
        assert reason in [f.get("type") for f in ET.parse(tmp_path / "gate.xml").iter("failure")]

    def test_a_check_may_be_left_out(self, gate, tmp_path):
        gate("--update")
        change(tmp_path / "mine.py", *RULE)
        assert gate("--check", "accuracy").status == 11
        found = json.loads((done := gate("--check", "exact", "--json")).out)
        assert (done.status, found["exit_code"], [f["kind"] for f in found["findings"]]) == (10, 10, ["exact"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to check"),
        (["gate.yaml", "--check", "speed"], "--check: there is no check 'speed'"),
        (["gate.yaml", "--check", "time"], "there is no base to time against"),
        (["gate.yaml", "--margin", "2"], "--margin: 2 is not in (0, 1)"),
        (["gate.yaml", "--pairs", "5"], "--pairs: 5 pairs cannot tell"),
        (["gate.yaml", "--clock", "sun"], "there is no clock 'sun'"),
        (["gate.yaml", "--base", "nowhere"], "nowhere: there is no such folder"),
        (["nowhere"], "unknown suite 'nowhere'"),
        (["--benchmarks", "a"], "give it twice"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_line(cli, tmp_path, arguments, message):
    (tmp_path / "gate.yaml").write_text("name: x\nmodels: [pixels]\ntasks: [digits]\n")
    done = cli("gate", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


class TestSelfTest:
    @pytest.fixture
    def runs(self, monkeypatch):
        """Recorded runs instead of timed ones: base and base again as they ship, head as much slower as is asked."""
        noise = selftest.recorded_noise()

        def timed(slower, count=3):
            def one_run(work, rule, seed):
                run = noise[seed % len(noise)]
                head = {clock: tuple(slower * s for s in of) for clock, of in run.times["control"].items()}
                return run.model_copy(update={"work": work, "times": {**run.times, "head": head}})

            monkeypatch.setattr(selftest, "one_run", one_run)
            monkeypatch.setattr(selftest, "calibrated", lambda seconds: 100)
            monkeypatch.setattr(selftest, "RUNS", count)
            monkeypatch.setattr(selftest, "SIMULATED", 50)
            monkeypatch.setattr(selftest, "DRAWS", 50)

        return timed

    def test_a_gate_that_works_proves_it(self, cli, runs):
        runs(1.2)
        done = cli("gate", "--self-test", "--out", "proof")
        assert done.status == 0, done.out
        assert "MISSED" not in done.out
        assert done.err.count("10 % more work caught") == 3

    def test_one_that_is_blind_fails_and_goes_on_where_it_stopped(self, cli, runs, tmp_path):
        runs(1.0, count=2)
        assert cli("gate", "--self-test", "--out", "proof").status == 14
        runs(1.0)
        done = cli("gate", "--self-test", "--out", "proof")
        assert (done.status, done.err.count("run ")) == (14, 1)
        assert "run 3/3" in done.err
        assert len((tmp_path / "proof/runs.jsonl").read_text().splitlines()) == 3
        assert "another number of pairs or processes" in cli("gate", "--self-test", "--out", "proof", "--pairs", 9).err


def test_one_real_run_of_the_self_test_starts_each_side_anew(monkeypatch):
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    run = selftest.one_run(20, TimeRule(pairs=4, processes=2, alpha=0.3, seconds=0.002), seed=0)
    assert set(run.times) == {"base", "control", "head"}
    assert {len(seconds) for of in run.times.values() for seconds in of.values()} == {2}
    assert run.shortest >= 0.002
