"""Kill it anywhere: the resumed run equals the uninterrupted one byte for byte, times aside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness.store import RunDirectory

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def test_a_run_that_is_killed_resumes_to_the_same_bytes(tmp_path):
    """SIGKILL at random moments, and in calls of fsync, rename, write and append, the last two half done.

    Here it is killed 14 times, by `make campaigns` a thousand times.
    """
    command = [sys.executable, str(HERE / "kill_runs.py"), str(tmp_path), "20240229", "6", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["unequal"] == {}
    assert outcome["files"] > 15
    assert outcome["killed"] >= 3, "most kills fell into the run"
    assert outcome["calls"]["append"] == 17, "the chunks of five cells, and eight blocks of features"
    assert outcome["killed_at_calls"] == 8


def cli(arguments, **options):
    code = "from adaptbench.harness.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options,
    )  # fmt: skip


def test_the_command_itself_killed_and_given_again_goes_on_where_it_stopped(tmp_path, written):
    slow = ["--model", "toy-adder", "--task", "toy-words(samples=400,wait=0.005)", "--plugin", HERE / "toys.py"]
    whole = cli(["run", *slow, "--out", tmp_path / "whole", "--batch-size", "8"])
    killed = cli(["run", *slow, "--out", tmp_path / "killed", "--batch-size", "8"])
    deadline = time.monotonic() + 300
    while not any(path.stat().st_size for path in (tmp_path / "killed").rglob("records.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    (journal,) = RunDirectory.existing(tmp_path / "killed").journals()
    done = len(journal.path.read_bytes().splitlines())
    assert 0 < done < 400
    resumed = cli(["run", *slow, "--out", tmp_path / "killed", "--batch-size", "8"])
    _, said = resumed.communicate(timeout=300)
    assert resumed.returncode == whole.wait(300) == 0, said
    assert f"400 samples, {done - done % 8} done before" in said
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    assert len(RunDirectory(tmp_path / "killed").manifest().sessions) == 2


def test_only_what_is_not_recorded_is_asked_again(run, tmp_path, toys, written):
    run("toy-adder", "toy-words(samples=200)", out=tmp_path / "whole")
    whole = list(toys.CALLS)
    run("toy-adder", "toy-words(samples=200)", out=tmp_path / "run")
    (journal,) = RunDirectory(tmp_path / "run").journals()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    (journal.folder / "result.json").unlink()
    journal.path.write_bytes(b"".join(lines[:150]) + lines[150][:20])
    toys.CALLS.clear()
    run("toy-adder", "toy-words(samples=200)", out=tmp_path / "run")
    assert len(whole) > len(toys.CALLS) > 0
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_cell_with_all_its_records_asks_the_model_nothing_more(run, tmp_path, toys, written):
    run("toy-adder", "toy-words", out=tmp_path)
    before = written(tmp_path)
    (journal,) = RunDirectory(tmp_path).journals()
    (journal.folder / "result.json").unlink()
    toys.CALLS.clear()
    run("toy-adder", "toy-words", out=tmp_path)
    assert toys.CALLS == []
    assert written(tmp_path) == before


@pytest.mark.parametrize("kept", [0, 1, 499, 500, 501, 1000, 1199, 1200])
def test_a_journal_of_any_length_resumes_to_the_same_bytes(run, tmp_path, written, kept):
    task = "toy-images(samples=1200)"
    run("toy-vectors", task, out=tmp_path)
    before = written(tmp_path)
    (journal,) = RunDirectory(tmp_path).journals()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    (journal.folder / "result.json").unlink()
    journal.path.write_bytes(b"".join(lines[:kept]))
    run("toy-vectors", task, out=tmp_path)
    assert written(tmp_path) == before


def test_the_records_of_other_samples_are_refused(run, tmp_path):
    run("toy-adder", "toy-words", out=tmp_path)
    (journal,) = RunDirectory(tmp_path).journals()
    (journal.folder / "result.json").unlink()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(UserError, match=r"the records are not those of this cell's first samples; move the folder"):
        run("toy-adder", "toy-words", out=tmp_path)
