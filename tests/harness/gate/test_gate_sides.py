"""Sides are processes with code of their own."""

import sys
from pathlib import Path

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.gate.clock import TimeRule
from adaptbench.harness.gate.sides import Code, TimedSide, UnknownCell
from adaptbench.harness.gate.timings import BothSides, TimedPair, time_pairs
from adaptbench.harness.identity import Settings
from adaptbench.harness.results import CellId

PLUGIN = """
import adaptbench, numpy as np

class Busy:
    def embed(self, images):
        print("noise on standard output")
        sum(range(WORK))
        return np.zeros((len(images), 1))

class Nothing(adaptbench.Task):
    card = adaptbench.TaskCard(summary="x", capability="embed")
    inputs = [adaptbench.Input("0", lambda: 0)]
    samples = [adaptbench.Sample("0", (0,), 0)]

class Fails:
    def embed(self, images):
        raise SystemExit("no\\nway")

def dies():
    import os
    os.write(2, b"segmentation fault, or so")
    os._exit(3)

@adaptbench.hookimpl
def register(registry):
    for name, model in MODELS.items():
        registry.model(name, model, card=adaptbench.ModelCard(summary="x", capabilities=("embed",)))
    registry.task("nothing", Nothing, card=Nothing.card)

"""
BASE = f"WORK = 20_000\n{PLUGIN}MODELS = {{'busy': Busy, 'breaks': Fails, 'dies': dies}}\n"
HEAD = f"WORK = 60_000\n{PLUGIN}MODELS = {{'busy': Busy, 'breaks': Busy, 'dies': dies, 'added': Busy}}\n"


def cell(model):
    return CellId(model=model, task="nothing")


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory):
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTBENCH_PLUGINS", "")
        for name, code in (("base", BASE), ("head", HEAD)):
            folders[name] = tmp_path_factory.mktemp(name)
            (folders[name] / "mine.py").write_text(code)
        yield folders


@pytest.fixture(scope="module")
def found(checkouts):
    """Three cells of two checkouts in turn: of busy work, of a model that base cannot load, and of a new one."""
    both = BothSides(Code.of(checkouts["base"], None), Code.of(checkouts["head"], None), Settings(), ("mine.py",))
    pairs = [TimedPair(name, cell(name), cell(name)) for name in ("busy", "added")]
    rule = TimeRule(pairs=6, processes=3, alpha=0.3, seconds=0.01, least_call=1e-4, clock="processor")
    return time_pairs("suite", pairs, both, rule)


class TestTwoCheckouts:
    def test_each_side_runs_its_own(self, found):
        (verdict, (timed,)) = found
        assert {f.cell: f.code for f in verdict.findings if f.cell == "added"} == {"added": "new"}
        (busy,) = (f for f in verdict.findings if f.cell == "busy")
        assert busy.status != "pass"  # three times the work: slower, or the machine is too noisy to tell
        base, head = (min(timed.times(side, "processor")) for side in ("base", "head"))
        assert head > 1.5 * base

    def test_the_notes_say_whose_code_was_timed(self, found, checkouts):
        notes = "\n".join(found[0].notes)
        assert f"base: {checkouts['base']}, AdaptBench of " in notes
        assert f"head: {checkouts['head']}, AdaptBench of " in notes

    def test_what_a_side_cannot_do_is_an_error_of_that_side(self, checkouts):
        with TimedSide("base", Code.of(checkouts["base"], None)) as side:
            with pytest.raises(UnknownCell, match=r"the base side: .*unknown model 'added'"):
                side.load(cell("added"), Settings(), ("mine.py",))
            side.load(cell("breaks"), Settings(), ("mine.py",))
            with pytest.raises(UserError, match=r"the base side: .*model breaks failed with SystemExit: no"):
                side.calibrate(0.01)
            with pytest.raises(UserError, match="the base side: its process ended: segmentation fault, or so"):
                side.load(cell("dies"), Settings(), ("mine.py",))


def test_an_environment_without_adaptbench_is_no_side(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec {sys._base_executable} -I "$@"\n')
    empty.chmod(0o755)
    with (
        TimedSide("base", Code.of(None, empty)) as side,
        pytest.raises(UserError, match="AdaptBench that has the gate"),
    ):
        side.load(cell("busy"), Settings(), ())


@pytest.mark.parametrize("given", [("nowhere", None), (None, "nowhere")])
def test_what_is_not_there_is_refused(tmp_path, given):
    with pytest.raises(UserError, match="nowhere: there is no such"):
        Code.of(*(path and tmp_path / path for path in given))


def test_of_an_interpreter_alone_only_what_it_has_installed_is_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/of/head")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adaptbench").mkdir()
    found = Code.of(None, Path(sys.executable)).environment()
    assert (found["PYTHONPATH"], found["PYTHONSAFEPATH"]) == ("", "1")


def test_what_is_checked_out_comes_before_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/installed")
    folder = tmp_path / "package"
    (folder / "src").mkdir(parents=True)
    assert Code("python", folder).environment()["PYTHONPATH"] == f"{folder / 'src'}:{folder}:/installed"
    assert Code.of(folder, Path(sys.executable)).environment()["PYTHONPATH"].startswith(str(folder / "src"))
    (folder / "__init__.py").touch()
    assert Code("python", folder).environment()["PYTHONPATH"] == f"{folder / 'src'}:{folder}:{tmp_path}:/installed"
