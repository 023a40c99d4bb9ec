"""Ray's workers come to what one process comes to, whoever dies and wherever they are."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness.ray_crew import RayCrew, Room
from adaptbench.harness.results import CellId
from adaptbench.harness.store import RunDirectory
from adaptbench.harness.store.parcels import Parcel, pack, unpack


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_runs_through_ray_come_to_the_bytes_of_one_process(tmp_path):
    script = Path(__file__).with_name("ray_runs.py")
    command = [sys.executable, str(script), str(tmp_path), "1", "1", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if "Ray does not start" in done.stdout + done.stderr:
        pytest.skip("Ray does not start on this machine, which may be too busy: it gives itself 30 s")
    assert done.returncode == 0, done.stderr
    *killed, carried = map(json.loads, done.stdout.splitlines())
    assert [{**one, "retried": ..., "seconds": ...} for one in killed] == [
        {"killed": 3, "retried": ..., "cells": 6, "seconds": ..., "wrong": []}
    ] * 2
    assert carried == {"carried": []}


def test_without_ray_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UserError, match=r"--executor ray: it needs Ray; pip install 'adaptbench\[ray\]'"),
        RayCrew(None).open(None),
    ):
        pass


@pytest.mark.parametrize(
    ("room", "times", "text"),
    [
        (Room(), 8, "1 cores"),
        (Room(cpus=3), 2, "3 cores"),
        (Room(gpus=0.5), 4, "1 cores, 0.5 GPUs"),
        (Room(memory=3 * 2**30), 5, "1 cores, 3 GiB of memory"),
        (Room(gpus=4), 0, "1 cores, 4 GPUs"),
    ],
)
def test_a_machine_has_room_for_what_its_resources_allow(room, times, text):
    assert room.times({"CPU": 8.0, "GPU": 2.0, "memory": 16.0 * 2**30}) == times
    assert str(room) == text


def test_a_parcel_takes_cells_there_and_back(run, tmp_path, written):
    result = run("toy-adder", ["toy-words(samples=70)", "toy-words"], out=tmp_path / "here")
    cells = [one.cell for one in result.results]
    here, there = RunDirectory(tmp_path / "here"), RunDirectory(tmp_path / "there")
    here.note_attempt(cells[1], "it failed")
    unpack(there, pack(here, cells))
    assert written(there.path) == written(here.path)
    assert there.manifest().sessions == here.manifest().sessions
    assert there.failures() == {cells[1]: "it failed"}
    assert list(pack(there, cells[:1]).cells.values()) == cells[:1]


def test_what_is_complete_is_not_written_again(run, tmp_path, written):
    result = run("toy-adder", "toy-words", out=tmp_path / "here")
    here = RunDirectory(tmp_path / "here")
    before, cell = written(here.path), result.results[0].cell
    parcel = pack(here, [cell])
    spoilt = dict.fromkeys(parcel.files, b"")
    unpack(here, Parcel(parcel.cells, spoilt))
    assert written(here.path) == before


def test_a_run_that_did_not_begin_has_an_empty_parcel(tmp_path):
    run = RunDirectory(tmp_path / "run")
    assert pack(run, [CellId(model="m", task="t")]) == Parcel()
    unpack(run, Parcel())
    assert not run.manifest().cells
