"""Ctrl-C and a reader that has gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

TOYS = str(Path(__file__).parents[1] / "toys.py")
SLOW = """
import adaptbench, os, sys, time

class Model:
    def embed(self, images):
        sys.stderr.write(f"embedding in {os.getpid()}\\n")
        sys.stderr.flush()
        while True:
            time.sleep(1)

@adaptbench.hookimpl
def register(registry):
    registry.model("slow", Model, card=adaptbench.ModelCard(capabilities=("embed",)))
"""
MANY = """
import adaptbench

@adaptbench.hookimpl
def register(registry):
    for i in range(20_000):
        registry.model(f"m{i}", "m:f", card=adaptbench.ModelCard(capabilities=("embed",)))
"""


@pytest.fixture
def slow(command, tmp_path):
    """Start a run that never ends, as a shell does; return its process, that of its model, and what it said since."""
    (tmp_path / "slow.py").write_text(SLOW)
    arguments = [
        "run",
        "--plugin",
        "slow.py",
        "--plugin",
        TOYS,
        "--model",
        "slow",
        "--task",
        "toy-images",
        "--out",
        "r",
    ]
    said, started = tmp_path / "said", []

    def start(*options):
        with said.open("w") as stderr:
            # Whoever started the tests in the background made them, and all they start, ignore Ctrl-C.
            process = subprocess.Popen(
                [*command, *arguments, *options],
                cwd=tmp_path,
                stderr=stderr,
                process_group=0,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
            )
        started.append(process)
        while not (found := re.search(r"embedding in (\d+)\n", said.read_text())):
            assert process.poll() is None, said.read_text()
            time.sleep(0.01)
        return process, int(found[1]), lambda: said.read_text().partition(found[0])[2]

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize(
    "options", [(), ("--executor", "processes", "--workers", "1")], ids=["in-process", "processes"]
)
def test_ctrl_c_stops_with_one_line_and_status_130(slow, options):
    process, model, said = slow(*options)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) == 130
    assert said() == "stopped; the same command goes on where it stopped\n"
    assert gone(model)


def test_a_worker_ends_as_soon_as_the_command_is_killed(slow):
    process, model, _ = slow("--executor", "processes", "--workers", "1")
    process.kill()
    process.wait()
    for _ in range(1000):
        if gone(model):
            return
        time.sleep(0.01)
    raise AssertionError(model)


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_reader_that_has_gone_is_no_error_to_tell_of(command, tmp_path):
    (tmp_path / "many.py").write_text(MANY)
    read, write = os.pipe()
    process = subprocess.Popen(
        [*command, "list", "--plugin", "many.py"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    os.read(read, 10)
    os.close(read)
    assert process.stderr.read() == ""
    assert process.wait(timeout=300) == 1


def test_a_closed_pipe_from_the_start(command, tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command, "list"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""


def test_an_output_that_takes_nothing_is_one_line(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, "list", "suites"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")


def test_streams_that_are_closed_are_not_written(command):
    for closed, status in ((1, 0), (2, 2)):
        wrong = ["list", "suites" if status == 0 else "nothing"]
        shell = ["sh", "-c", f'exec "$0" "$@" {closed}>&-', *command, *wrong]
        assert subprocess.run(shell, capture_output=True, check=False).returncode == status
