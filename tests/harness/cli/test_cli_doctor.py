"""``adaptbench doctor``."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import pytest
from adaptbench.harness.cli import doctor


@pytest.fixture
def run_folder(cli):
    done = cli("run", "--model", "pixels", "--task", "digits-5way-1shot(episodes=20)", "--out", "r", "--json")
    assert done.status == 0, done.err


def test_a_healthy_machine(cli):
    done = cli("doctor")
    assert (done.status, done.err) == (0, "")
    for title in ("machine\n", "extras\n", "browser: ", "plugins: 4 ok, 0 broken\n"):
        assert title in done.out
    found = json.loads(cli("doctor", "--json").out)
    assert set(found) == {"machine", "missing_extras", "browser", "broken_plugins", "runs"}
    assert found["machine"]["packages"]["adaptbench"] == "0.1.0"
    assert (found["broken_plugins"], found["runs"]) == ({}, {})


def test_missing_extras_say_how_to_get_them_and_are_no_fault(cli, monkeypatch):
    real = doctor.version

    def version(package):
        if package in ("torch", "fvcore", "datasets"):
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    done = cli("doctor")
    assert done.status == 0
    assert "torch     lacks torch, fvcore; pip install 'adaptbench[torch]'" in done.out
    assert "datasets  lacks datasets; pip install 'adaptbench[datasets]'" in done.out
    assert "browser: missing; only tests of the board need it: apt-get install chromium" in done.out
    assert json.loads(cli("doctor", "--json").out)["missing_extras"] == {
        "torch": ["torch", "fvcore"],
        "datasets": ["datasets"],
    }


def test_a_broken_plugin(cli, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    done = cli("doctor", "--plugin", "broken.py")
    assert done.status == 1
    assert "plugins: 4 ok, 1 broken\n  broken  ZeroDivisionError: division by zero\n" in done.out


@pytest.mark.usefixtures("run_folder")
class TestRuns:
    def test_a_whole_one(self, cli):
        done = cli("doctor", "r")
        assert (done.status, done.out.splitlines()[-1]) == (0, "run r: whole")

    def test_one_that_was_stopped(self, cli, tmp_path):
        (cell,) = (tmp_path / "r" / "cells").iterdir()
        (cell / "result.json").unlink()
        done = cli("doctor", "r")
        assert done.status == 1
        assert f"  cell {cell.name} is not complete: 20 records; run the same command again" in done.out

    def test_one_whose_records_were_changed(self, cli, tmp_path):
        (cell,) = (tmp_path / "r" / "cells").iterdir()
        records = cell / "records.jsonl"
        records.write_text(records.read_text().replace("1", "2", 1))
        done = cli("doctor", "r", "--json")
        assert done.status == 1
        (problem,) = json.loads(done.out)["runs"]["r"]
        assert "records.jsonl" in problem

    def test_what_is_no_run_does_not_hide_the_others(self, cli):
        done = cli("doctor", "nowhere", "r")
        assert done.status == 1
        assert "run nowhere: 1 problems\n  nowhere: not a run directory" in done.out
        assert done.out.endswith("run r: whole\n")
