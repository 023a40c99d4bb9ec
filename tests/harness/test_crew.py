"""Several workers do a run: it comes to what one process comes to, whoever dies."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness.crew import TRIES, Crewed, WorkerDied
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.processes import Processes
from adaptbench.harness.progress import Progress
from adaptbench.harness.remote_worker import JobOutcome, RemoteWorker
from adaptbench.harness.runner import RunSpec, execute
from adaptbench.harness.store import RunDirectory

TOYS = str(Path(__file__).with_name("toys.py"))
MODELS, TASKS = ["toy-vectors", "toy-adder"], ["toy-images(samples=20)", "toy-images(seed=1)", "toy-words(samples=150)"]
KILLER = """
import os, signal
from pathlib import Path
import adaptbench

@adaptbench.hookimpl
def record_written(event):
    left = Path("kills")
    count = int(left.read_text())
    if count and event.record.sample.endswith("5"):
        left.write_text(str(count - 1))
        os.kill(os.getpid(), signal.SIGKILL)
"""

METHODS = """
import adaptbench

class Nothing(adaptbench.Method):
    times: int = 1

    def apply(self, model):
        return model

@adaptbench.hookimpl
def register(registry):
    registry.method("nothing", Nothing, card=adaptbench.MethodCard())
"""


class Notes(Progress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)

    def fail(self, cell):
        self.said.append(f"{cell.task} failed")


class Hand:
    """A worker of this process that may die instead of doing its job."""

    def __init__(self, crew, number):
        self.crew, self.number, self.worker = crew, number, None

    def begin(self, job, *, wait):
        self.crew.log.append((self.number, *job.models, job.task, wait))
        self.job, self.wait = job, wait

    def outcome(self):
        if self.crew.dies(self.job):
            raise WorkerDied("was hit")
        self.worker = self.worker or RemoteWorker(self.job.run)
        return self.crew.spoil(self.worker.do(self.job, wait=self.wait))


class Hands:
    """A crew whose members work one after the other in this process."""

    def __init__(self, size=2, dies=lambda _: False, spoil=lambda outcome: outcome):
        self.size, self.dies, self.spoil = size, dies, spoil
        self.log, self.hired, self.closed = [], 0, False

    @contextmanager
    def open(self, run):
        try:
            yield self.size
        finally:
            self.closed = True

    def hire(self):
        self.hired += 1
        return Hand(self, self.hired)

    def ready(self, workers):
        return [next(iter(workers))]


@pytest.fixture(scope="module")
def plugins():
    return load_plugins([TOYS])


@pytest.fixture
def crewed(plugins, quick, tmp_path):
    def run(crew, progress=None, tasks=TASKS, **options):
        spec = RunSpec(plan(plugins.registry, Request(MODELS, tasks)), tmp_path / "run", timing=False, **options)
        return execute(plugins, spec, progress, Crewed(crew, plugins.registry, progress))

    return run


@pytest.fixture
def alone(plugins, quick, tmp_path):
    return execute(plugins, RunSpec(plan(plugins.registry, Request(MODELS, TASKS)), tmp_path / "alone", timing=False))


def test_processes_of_which_one_is_killed_come_to_what_one_process_comes_to(alone, tmp_path, written, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("killer.py").write_text(KILLER)
    Path("kills").write_text("1")
    plugins, progress = load_plugins([TOYS, "killer.py"]), Notes()
    spec = RunSpec(plan(plugins.registry, Request(MODELS, TASKS)), Path("run"), timing=False, threads=1)
    result = execute(plugins, spec, progress, Crewed(Processes(["cpu", "cpu"]), plugins.registry, progress))
    assert Path("kills").read_text() == "0"
    assert sum("a worker was killed by SIGKILL; another one goes on with " in note for note in progress.said) == 1
    assert result.results == alone.results
    assert written(tmp_path / "run") == written(tmp_path / "alone")
    kernels = [session.kernels for session in RunDirectory("run").manifest().sessions]
    assert {one["openblas"].rpartition(", ")[2] for one in kernels if one} == {"1 thread"}


def test_a_worker_is_asked_of_the_model_that_it_has_loaded(crewed, alone):
    crew = Hands()
    assert crewed(crew).results == alone.results
    assert [line[:2] for line in crew.log] == [(1, "toy-vectors"), (2, "toy-adder"), (1, "toy-vectors")]
    assert (crew.hired, crew.closed) == (2, True)


def test_a_worker_goes_on_with_its_base_and_takes_another_one_before_what_others_have_loaded(quick, tmp_path):
    file = tmp_path / "methods.py"
    file.write_text(METHODS)
    plugins, crew = load_plugins([TOYS, str(file)]), Hands()
    models = ["toy-vectors", "toy-vectors+nothing", "toy-adder", "toy-adder+nothing", "toy-vectors+nothing(times=2)"]
    tasks = ["toy-images(samples=20)", "toy-words(samples=20)"]
    spec = RunSpec(plan(plugins.registry, Request(models, tasks)), tmp_path / "run", timing=False)
    execute(plugins, spec, None, Crewed(crew, plugins.registry))
    assert [line[:2] for line in crew.log] == [
        (1, "toy-vectors"), (2, "toy-adder"), (1, "toy-vectors+nothing"), (2, "toy-adder+nothing"),
        (1, "toy-vectors+nothing(times=2)"),
    ]  # fmt: skip


def test_a_job_of_which_workers_die_fails_and_the_others_are_done(crewed, tmp_path):
    crew, progress = Hands(dies=lambda job: job.task == TASKS[1]), Notes()
    result = crewed(crew, progress, fail_fast=False)
    assert [r.cell.task for r in result.results] == [TASKS[0], TASKS[2]]
    (failed,) = result.failed
    assert failed.reason == (
        f"toy-vectors on toy-images(seed=1): {TRIES} workers died of it; the last one was hit; give it more memory or "
        "fewer workers, and run the same command again"
    )
    assert [line[2] for line in crew.log].count(TASKS[1]) == TRIES
    assert progress.said == [*["a worker was hit; another one goes on with toy-vectors on toy-images(seed=1)"] * 3,
                             "toy-images(seed=1) failed"]  # fmt: skip
    assert RunDirectory(tmp_path / "run").failures() == {failed.cell: failed.reason}


def test_workers_that_all_die_stop_the_run(crewed):
    crew = Hands(dies=lambda _: True)
    with pytest.raises(UserError, match=r"^9 workers died in a row; the last one was hit; see what they wrote above"):
        crewed(crew, fail_fast=False)
    assert crew.closed


def test_what_another_process_works_on_comes_last_and_is_waited_for(crewed, alone):
    lefts = iter([True])

    def leave(outcome):
        return JobOutcome((), crew_job(outcome)) if next(lefts, False) else outcome

    crew, progress = Hands(size=1, spoil=leave), Notes()

    def crew_job(_):
        _, model, task, _ = crew.log[-1]
        return replace(jobs[0], models=(model,), task=task)

    jobs = []
    begin = Hand.begin

    def noted(self, job, *, wait):
        jobs.append(job)
        begin(self, job, wait=wait)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hand, "begin", noted)
        result = crewed(crew, progress)
    assert result.results == alone.results
    assert [line[2:] for line in crew.log] == [
        (TASKS[0], False), (TASKS[1], False), (TASKS[2], False), (TASKS[0], True)
    ]  # fmt: skip
    assert progress.said == ["waiting for another process that works on 1 of these cells"]


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [
        (JobOutcome((), error=UserError("it is wrong", where="here")), UserError, "here: it is wrong"),
        (JobOutcome((), traceback="KeyError: 3"), RuntimeError, "a worker failed:\nKeyError: 3"),
    ],
)
def test_an_error_of_a_worker_stops_the_run(crewed, outcome, error, message):
    crew = Hands(spoil=lambda _: outcome)
    with pytest.raises(error, match=message):
        crewed(crew)
    assert crew.closed


def test_a_model_that_is_an_object_cannot_be_sent(plugins, quick, tmp_path):
    class Adder:
        def generate(self, prompts):
            return ["0"] * len(prompts)

    planned = plan(plugins.registry, Request([Adder()], TASKS[2:]))
    with pytest.raises(UserError, match="it is a Python object, which no other process can load"):
        execute(plugins, RunSpec(planned, tmp_path / "run"), None, Crewed(Processes(["cpu"]), plugins.registry))
