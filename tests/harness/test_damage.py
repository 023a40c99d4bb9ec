"""Whatever happens to a run directory is one clear line and exit status 2, and nothing that was written is lost.

The same command, given again after it was fixed, comes to what an uninterrupted run comes to.
"""

import errno
import io
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from adaptbench.harness import cli
from adaptbench.harness.store import Index, RunDirectory

TOYS = str(Path(__file__).with_name("toys.py"))
WHOLE = ["--model", "toy-vectors", "--model", "toy-adder", "--task", "toy-images", "--task", "toy-words(samples=200)"]


@pytest.fixture
def command(toys, quick, monkeypatch, capsys):
    """Give a command; return its exit status and what it said on standard error."""

    def give(*arguments):
        monkeypatch.setattr(sys, "argv", ["adaptbench", *map(str, arguments), "--plugin", TOYS])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, capsys.readouterr().err

    return give


@pytest.fixture
def whole(command, tmp_path, written):
    """A complete run and all that it wrote."""
    assert command("run", *WHOLE, "--out", tmp_path / "whole")[0] == 0
    return written(tmp_path / "whole")


@pytest.fixture
def broken(command, tmp_path, whole):
    """A copy of it, to be broken."""
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    return tmp_path / "run"


def refused(outcome, *words):
    status, said = outcome
    assert status == 2
    progress = [line for line in said.splitlines() if line.startswith("[") or "began before and never ended" in line]
    errors = [line for line in said.splitlines() if line not in progress]
    assert len(errors) == 1, said
    assert errors[0].startswith("error: ")
    assert all(word in errors[0] for word in words), errors[0]
    assert "Traceback" not in said


def cell(run, name, part):
    """A part of the cell of a model."""
    key = next(key for key, value in RunDirectory(run).manifest().cells.items() if value.model == name)
    return run / "cells" / key / part


def unfinish(run, name):
    cell(run, name, "result.json").unlink()


def test_a_torn_last_line_is_repaired(command, broken, whole, written):
    unfinish(broken, "toy-adder")
    journal = cell(broken, "toy-adder", "records.jsonl")
    journal.write_bytes(journal.read_bytes()[:-9])
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole


@pytest.mark.parametrize("finished", [True, False])
def test_a_flipped_bit_in_a_journal(command, broken, whole, written, finished):
    if not finished:
        unfinish(broken, "toy-adder")
    journal = cell(broken, "toy-adder", "records.jsonl")
    data = bytearray(journal.read_bytes())
    data[re.search(rb'"parsed":\d', data).end() - 1] ^= 1  # another digit: still a record, but not this one
    journal.write_bytes(data)
    message = "the records are not those that result.json was made from" if finished else "is not a record"
    refused(command("run", *WHOLE, "--out", broken), str(journal), message, "move the folder", "away and run")
    assert journal.read_bytes() == data, "what was written is left alone"
    journal.parent.rename(broken / "set-aside")
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole


def test_a_truncated_result(command, broken, whole, written):
    result = cell(broken, "toy-vectors", "result.json")
    result.write_bytes(result.read_bytes()[:100])
    refused(command("run", *WHOLE, "--out", broken), str(result), "not a valid result.json", "move the folder away")
    result.unlink()
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole


def test_garbled_features_are_computed_again(command, broken, whole, written, caplog):
    block = sorted((broken / "features").rglob("*.blocks"))[0]
    data = bytearray(block.read_bytes())
    data[-5] ^= 4
    block.write_bytes(data)
    unfinish(broken, "toy-vectors")
    cell(broken, "toy-vectors", "records.jsonl").unlink()
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert f"{block}: damaged features are computed again" in caplog.text
    assert written(broken) == whole


def test_a_garbled_index_is_made_again(broken, whole):
    run = RunDirectory(broken)
    with Index(run) as index:
        before = [index.scores(journal, "accuracy") for journal in run.journals()]
    (broken / "index.sqlite").write_bytes(b"\x00" * 5000)
    with Index(run) as index:
        again = [index.scores(journal, "accuracy") for journal in run.journals()]
    for one, other in zip(before, again, strict=True):
        assert one.samples == other.samples
        assert one.values.tobytes() == other.values.tobytes()


def test_a_missing_manifest(command, broken, whole, written):
    content = (broken / "manifest.json").read_bytes()
    (broken / "manifest.json").unlink()
    refused(command("run", *WHOLE, "--out", broken), str(broken), "holds cells but no manifest.json", "put it back")
    (broken / "manifest.json").write_bytes(content)
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole


def test_a_manifest_lost_for_good_costs_no_cell(command, broken, whole, written, tmp_path, toys):
    assert command("run", *WHOLE, "--limit", 1, "--out", tmp_path / "new")[0] == 0
    for folder in ("cells", "features"):
        shutil.copytree(broken / folder, tmp_path / "new" / folder, dirs_exist_ok=True)
    toys.CALLS.clear()
    assert command("run", *WHOLE, "--out", tmp_path / "new")[0] == 0
    assert toys.CALLS == []
    assert written(tmp_path / "new")["manifest"] == whole["manifest"]


@pytest.mark.parametrize("content", [b"", b'{"schema_version": 1, "na'])
def test_a_garbled_manifest(command, broken, whole, written, content):
    good = (broken / "manifest.json").read_bytes()
    (broken / "manifest.json").write_bytes(content)
    refused(command("run", *WHOLE, "--out", broken), "not a valid manifest.json", "restore it")
    (broken / "manifest.json").write_bytes(good)
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_directory_that_cannot_be_written(command, tmp_path, whole, written, monkeypatch, code):
    """The tests may run as root, whom no permission stops: the system call itself fails here."""
    out = tmp_path / "run"
    real_mkdir, real_open = os.mkdir, os.open

    def mkdir(path, *args, **kwargs):
        if Path(path).is_relative_to(out):
            raise OSError(code, os.strerror(code))
        return real_mkdir(path, *args, **kwargs)

    def opened(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and Path(os.fsdecode(path)).is_relative_to(out):
            raise OSError(code, os.strerror(code))
        return real_open(path, flags, *args, **kwargs)

    for made in (False, True):
        if made:
            out.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", mkdir)
            patch.setattr(os, "open", opened)
            refused(command("run", *WHOLE, "--out", out), str(out), "cannot write", "choose another --out")
    assert command("run", *WHOLE, "--out", out)[0] == 0
    assert written(out) == whole


class Disk:
    """A disk with room for ``room`` bytes: what does not fit is written as far as it fits, as real disks do."""

    def __init__(self, room):
        self.room = room

    def install(self, patch):
        disk, real = self, Path.open

        class File(io.FileIO):
            def write(self, data):
                part = bytes(data)[: disk.room]
                if not part:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                disk.room -= len(part)
                return super().write(part)

        def opened(path, mode="r", *args, **kwargs):
            if mode == "ab":
                return File(path, mode)
            return io.BufferedWriter(File(path, mode)) if mode == "wb" else real(path, mode, *args, **kwargs)

        patch.setattr(Path, "open", opened)


def test_a_full_disk_at_any_byte(command, tmp_path, whole, written, monkeypatch):
    """Somebody frees a little more each time, and the same command goes on from what is there."""
    out, steps, records = tmp_path / "run", 0, 0
    while True:
        with monkeypatch.context() as patch:
            Disk(2500 * steps).install(patch)
            outcome = command("run", *WHOLE, "--out", out)
        if outcome[0] == 0:
            break
        refused(outcome, str(out), "cannot write: No space left on device", "free some space and run the same command")
        assert not list(out.rglob("*.tmp")), "half a file was left"
        now = sum(path.read_bytes().count(b"\n") for path in out.rglob("records.jsonl"))
        assert now >= records, "what was written is lost"
        records, steps = now, steps + 1
        assert steps < 100
    assert steps > 5
    assert written(out) == whole


@pytest.mark.parametrize("model", ["toy-vectors", "toy-adder"])
def test_a_file_of_somebody_else_in_the_way(command, broken, whole, written, model):
    folder = cell(broken, model, "")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    folder.touch()
    refused(command("run", *WHOLE, "--out", broken), str(folder), "a file is where a folder is needed")
    folder.unlink()
    assert command("run", *WHOLE, "--out", broken)[0] == 0
    assert written(broken) == whole
    assert content.keys() == {path.name for path in folder.iterdir()}


def test_with_debug_the_traceback_of_a_model_is_shown(command, tmp_path, toys, monkeypatch):
    monkeypatch.setattr(toys.Adder, "generate", lambda _self, _prompts: 1 / 0)
    arguments = ["run", "--model", "toy-adder", "--task", "toy-words", "--out", tmp_path / "run"]
    monkeypatch.setattr("adaptbench.harness.plugins._load_file", lambda _path: toys)
    refused(command(*arguments), "toy-adder on toy-words: model toy-adder failed with ZeroDivisionError")
    from adaptbench import UserError

    with pytest.raises(UserError) as caught:
        command(*arguments, "--debug")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


FAULTY = """
import os
from adaptbench import Input, ModelCard, Prompt, Sample, Task, TaskCard, hookimpl

class Echo(Task):
    card = TaskCard(capability="generate")
    inputs = [Input(str(i), lambda i=i: Prompt(str(i))) for i in range(12)]
    samples = [Sample(str(i), [i], str(i)) for i in range(12)]

class Model:
    def __init__(self, wrong=False):
        self.wrong = wrong and not os.environ.get("WELL")

    def generate(self, prompts):
        if self.wrong:
            raise ValueError("it is wrong")
        return [prompt.text for prompt in prompts]

@hookimpl
def register(registry):
    registry.model("faulty", Model, card=ModelCard(capabilities=("generate",)))
    registry.task("echo", Echo, card=Echo.card)
"""


def test_a_cell_that_fails_is_told_and_tried_again_and_the_others_are_done(command, tmp_path, monkeypatch):
    plugin, out = tmp_path / "faulty.py", tmp_path / "run"
    plugin.write_text(FAULTY)
    models = ["--model", "faulty(wrong=true)", "--model", "faulty"]
    run = ["run", *models, "--task", "echo", "--out", out, "--plugin", plugin]
    fault = "faulty(wrong=true) on echo: model faulty(wrong=true) failed with ValueError: it is wrong"
    refused(command(*run), fault)
    (reason,) = RunDirectory(out).failures().values()
    assert reason.startswith(fault)
    done = [journal.result() for journal in RunDirectory(out).journals()]
    assert [result and result.cell.model for result in done] == ["faulty", None]
    assert command("report", out, "--out", out / "board.csv", "--plugin", plugin)[0] == 0
    assert f"failed: {fault}" in (out / "board.csv").read_text("utf-8")
    assert command("doctor", out)[0] == 1
    monkeypatch.setenv("WELL", "1")
    assert command(*run)[0] == 0
    assert RunDirectory(out).failures() == {}
    assert command("doctor", out)[0] == 0


def test_the_first_cell_that_fails_stops_the_run_on_request(command, tmp_path):
    plugin, out = tmp_path / "faulty.py", tmp_path / "run"
    plugin.write_text(FAULTY)
    models = ["--model", "faulty(wrong=true)", "--model", "faulty"]
    run = ["run", *models, "--task", "echo", "--out", out, "--plugin", plugin]
    refused(command(*run, "--fail-fast"), "failed with ValueError")
    assert len(RunDirectory(out).failures()) == 1
    assert not any(journal.result() for journal in RunDirectory(out).journals())
