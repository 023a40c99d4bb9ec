"""Several processes on one run directory share it by cell and never corrupt it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from adaptbench.harness.store import RunDirectory

HERE = Path(__file__).parent
MODELS = ["toy-vectors", "toy-vectors(scale=2)", "toy-adder", "toy-adder(wrong=5)"]
TASKS = [
    "toy-images(images=200,wait=0.001)",
    "toy-words(samples=150,wait=0.001)",
    "toy-words(samples=100,wait=0.001)",
]

WORKER = """
import json, os, signal, sys
sys.path.insert(0, {here!r})
import conftest, adaptbench
from adaptbench.harness import hooks
from adaptbench.harness.measure import timing
timing.Effort.__init__.__defaults__ = (1, 0.0, float("inf"))
finished = []
class Watch:
    @adaptbench.hookimpl
    def cell_finished(self, event):
        finished.append([event.cell.model, event.cell.task, event.reused])
    @adaptbench.hookimpl
    def record_written(self, event):
        if stops:
            stops.pop()
            os.kill(os.getpid(), signal.SIGSTOP)
stops = [True] * {stops:d}
plugins = [conftest.load_toys(), Watch()]
print("ready", flush=True)
sys.stdin.readline()
result = adaptbench.run({models!r}, {tasks!r}, out={out!r}, plugins=plugins)
print(json.dumps([finished, [r.model_dump() for r in result.results]], default=sorted))
"""


class Worker:
    """A process that runs cells; with ``stops`` it stops itself after its first record, until it is told to go on."""

    def __init__(self, out, models=MODELS, tasks=TASKS, *, stops=False):
        code = WORKER.format(here=str(HERE), out=str(out), models=models, tasks=tasks, stops=stops)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def ready(self):
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        return self

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def stopped(self):
        """Wait until it has stopped itself."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self.process.stderr.read()

    def end(self):
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, err
        return json.loads(out)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process comes to."""
    out = tmp_path_factory.mktemp("alone") / "run"
    worker = Worker(out).ready()
    worker.go()
    return out, worker.end()[1]


def test_processes_share_a_run_by_cell_and_come_to_what_one_comes_to(tmp_path, alone, written):
    workers = [Worker(tmp_path / "run") for _ in range(3)]
    for worker in workers:
        worker.ready()
    for worker in workers:
        worker.go()
    ends = [worker.end() for worker in workers]
    made = [(model, task) for finished, _ in ends for model, task, reused in finished if not reused]
    assert len(made) == len(set(made)) == 6, "each cell is made by one of them"
    assert [results for _, results in ends] == [alone[1]] * 3, "all of them give all results"
    assert written(tmp_path / "run") == written(alone[0])
    assert sum(any(not reused for *_, reused in finished) for finished, _ in ends) > 1, "they share the work"


def test_the_claim_of_a_killed_process_is_free(tmp_path, alone, written):
    first = Worker(tmp_path / "run").ready()
    second = Worker(tmp_path / "run").ready()
    first.go()
    while not list((tmp_path / "run").rglob("*.blocks")):
        assert first.process.poll() is None
        time.sleep(0.002)
    second.go()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(60)
    assert second.end()[1] == alone[1]
    assert written(tmp_path / "run") == written(alone[0])


def test_a_process_waits_for_the_cell_that_another_one_works_on(tmp_path, run, quick):
    from adaptbench.harness.progress import Progress

    task = "toy-words(samples=300)"
    one = Worker(tmp_path / "run", ["toy-adder"], [task], stops=True).ready()
    one.go()
    one.stopped()
    try:
        (journal,) = RunDirectory(tmp_path / "run").journals()
        assert not journal.acquire(), "it is claimed"

        class Notes(Progress):
            def note(self, text):
                said.append(text)
                one.process.send_signal(signal.SIGCONT)

        said = []
        result = run("toy-adder", task, out=tmp_path / "run", progress=Notes())
        _, results = one.end()
    finally:
        one.process.kill()
    assert said == ["waiting for another process that works on 1 of these cells"]
    assert [(r.key, r.records_sha256) for r in result.results] == [(r["key"], r["records_sha256"]) for r in results]
    assert len(list((tmp_path / "run" / "cells").iterdir())) == 1
