"""Budgets of one model go in lockstep where they share weights, and nothing of what is written tells that they did."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import weakref
from typing import ClassVar

import pytest
from adaptbench import Budget, Method, MethodCard, ModelCard, UserError, hookimpl
from adaptbench.harness.identity import Settings
from adaptbench.harness.progress import Lines
from adaptbench.harness.store import RunDirectory

BUDGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
WORDS = "toy-words(samples=20)"
EIGHT = Settings(batch_size=8)
"""Chunks of 8, 8 and 4 samples."""


class Weights:
    """Stands for what a model takes in memory."""

    alive: ClassVar[weakref.WeakSet[Weights]] = weakref.WeakSet()
    most: ClassVar[int] = 0

    def __init__(self):
        Weights.alive.add(self)
        Weights.most = max(Weights.most, len(Weights.alive))


@dataclasses.dataclass(frozen=True)
class Spender:
    """Answers with its budget and the sum, so that no budget's answers can be taken for another's."""

    weights: Weights
    calls: list
    budget: float = 0.0

    def generate(self, prompts):
        self.calls.append((self.budget, prompts[0].text))
        return [f"{self.budget} of {prompt.text}" for prompt in prompts]


class Sharing(Spender):
    """Can be in memory at several budgets."""

    def for_sweep(self):
        return self

    def shares_weights(self, other):
        return other.weights is self.weights


def known(factory, identify=lambda: None):
    """Give a factory a name of its own, as what it captures is another object in each test."""
    factory.fingerprint = lambda **_: identify() or "known"
    return factory


class Spend(Method):
    """Has a model spend a budget."""

    budget: Budget = 1.0

    def apply(self, model):
        return dataclasses.replace(model, budget=self.budget)


class Copying(Spend):
    """The same, with weights of its own."""

    def apply(self, model):
        return dataclasses.replace(model, budget=self.budget, weights=Weights())


class Plugin:
    """Registers a model that shares its weights and one that does not, and two methods that take a budget."""

    def __init__(self):
        self.calls, self.events, self.loads, self.identified = [], [], 0, 0

    def load(self, kind):
        self.loads += 1
        return kind(Weights(), self.calls)

    def identify(self):
        self.identified += 1

    @hookimpl
    def register(self, registry):
        offers = ModelCard(capabilities=("generate",), offers=frozenset({"all"}))
        takes = MethodCard(takes_budget=True, needs=frozenset({"all"}), modifies=frozenset({"all"}))
        for name, kind in (("sharing", Sharing), ("apart", Spender)):
            registry.model(name, known(lambda kind=kind: self.load(kind), self.identify), card=offers)
        registry.method("spend", Spend, card=takes)
        registry.method("copying", Copying, card=takes)

    @hookimpl
    def cell_started(self, event):
        self.events.append(("started", event.cell.task, event.cell.budget, event.done))

    @hookimpl
    def record_written(self, event):
        self.events.append(("record", event.cell.budget, event.record.sample))

    @hookimpl
    def cell_finished(self, event):
        self.events.append(("finished", event.cell.task, event.cell.budget, event.reused))


@pytest.fixture
def plugin():
    Weights.most = 0
    return Plugin()


@pytest.fixture
def sweep(run, plugin):
    """Run a model at six budgets, or those given, with the plugin."""

    def go(out, model="sharing+spend", tasks=WORDS, budgets=BUDGETS, **options):
        plugins = [plugin, *options.pop("plugins", ())]
        return run(model, tasks, out=out, budgets=budgets, settings=EIGHT, plugins=plugins, **options)

    return go


def cell_files(path):
    """What the cells of a run hold, times aside."""
    files = [file for file in (path / "cells").rglob("*") if file.is_file()]
    return {f.relative_to(path).as_posix(): f.read_bytes() for f in files if f.name != "timing.json"}


def cut(path, lengths):
    """Make the cells incomplete: keep that many records of each, in the order of budgets."""
    for journal, length in zip(RunDirectory(path).journals(), lengths, strict=True):
        (journal.folder / "result.json").unlink()
        lines = journal.path.read_bytes().splitlines(keepends=True)
        journal.path.write_bytes(b"".join(lines[:length]))


# Order


def test_budgets_that_share_weights_do_every_chunk_in_turn(sweep, plugin, tmp_path):
    result = sweep(tmp_path, budgets=(0.5, 1.0))
    assert [budget for budget, _ in plugin.calls] == [0.5, 0.5, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5, 1.0]
    events = [event for event in plugin.events if event[0] != "record"]
    assert events == [
        ("started", WORDS, 0.5, 0), ("started", WORDS, 1.0, 0),
        ("finished", WORDS, 0.5, False), ("finished", WORDS, 1.0, False),
    ]  # fmt: skip
    written = [event[1:] for event in plugin.events if event[0] == "record"]
    chunks = [(0.5, range(8)), (1.0, range(8)), (0.5, range(8, 16)), (1.0, range(8, 16))]
    chunks += [(0.5, range(16, 20)), (1.0, range(16, 20))]
    assert written == [(budget, f"q{place}") for budget, places in chunks for place in places]
    assert [cell.cell.budget for cell in result.results] == [0.5, 1.0]
    assert (plugin.loads, Weights.most) == (1, 1)


def test_other_models_go_one_after_the_other_and_are_let_go_before_the_next(sweep, plugin, tmp_path):
    tasks = [WORDS, "toy-words(samples=20,seed=5)"]
    sweep(tmp_path / "apart", "apart+spend", tasks, (0.5, 1.0))
    finished = [event[1:3] for event in plugin.events if event[0] == "finished"]
    assert finished == [(tasks[0], 0.5), (tasks[1], 0.5), (tasks[0], 1.0), (tasks[1], 1.0)]
    assert [budget for budget, _ in plugin.calls] == [0.5] * 10 + [1.0] * 10
    assert plugin.loads == 2
    sweep(tmp_path / "copying", "sharing+copying", tasks, (0.5, 1.0))
    assert [budget for budget, _ in plugin.calls[20:]] == [0.5] * 10 + [1.0] * 10


def test_models_of_a_sweep_stay_for_the_next_task_and_are_identified_once(sweep, plugin, tmp_path):
    tasks = [WORDS, "toy-words(samples=20,seed=5)"]
    sweep(tmp_path, tasks=tasks)
    finished = [event[1:3] for event in plugin.events if event[0] == "finished"]
    assert finished == [(task, budget) for task in tasks for budget in BUDGETS]
    assert (plugin.loads, plugin.identified) == (1, 1)


def test_a_log_gives_each_cell_of_a_sweep_one_number(sweep, tmp_path):
    stream = io.StringIO()
    sweep(tmp_path, budgets=(0.5, 1.0), progress=Lines(2, stream))
    numbers = [(line[:5], ": 20 samples" in line) for line in stream.getvalue().splitlines()]
    assert numbers == [("[1/2]", True), ("[2/2]", True), ("[1/2]", False), ("[2/2]", False)]


# The same bytes


def test_a_sweep_writes_what_separate_runs_write(sweep, tmp_path):
    sweep(tmp_path / "sweep")
    separate = {}
    for budget in BUDGETS:
        sweep(tmp_path / str(budget), budgets=(budget,))
        separate |= cell_files(tmp_path / str(budget))
    assert cell_files(tmp_path / "sweep") == separate
    assert len(separate) >= 12


@pytest.mark.parametrize(
    "lengths", [(0, 0, 0, 0, 0, 0), (20, 16, 8, 0, 11, 3), (20, 20, 20, 20, 20, 19), (8, 8, 8, 8, 8, 0)]
)
def test_cells_at_different_chunks_resume_to_the_same_bytes(sweep, plugin, tmp_path, written, lengths):
    sweep(tmp_path)
    before = written(tmp_path)
    cut(tmp_path, lengths)
    plugin.calls.clear()
    plugin.events.clear()
    sweep(tmp_path)
    assert written(tmp_path) == before
    started = [event[3] for event in plugin.events if event[0] == "started"]
    assert started == [length if length == 20 else length - length % 8 for length in lengths]
    first = [(event[2], event[1]) for event in plugin.events if event[0] == "record"]
    places = [int(name[1:]) // 8 for name, _ in first]
    assert places == sorted(places), "what is behind catches up first"


def test_complete_budgets_are_not_done_again(sweep, plugin, tmp_path, written):
    sweep(tmp_path / "run", budgets=(0.6, 0.8))
    plugin.calls.clear()
    plugin.events.clear()
    sweep(tmp_path / "run")
    assert {budget for budget, _ in plugin.calls} == {0.5, 0.7, 0.9, 1.0}
    assert sorted(e[2] for e in plugin.events if e[0] == "finished" and e[-1]) == [0.6, 0.8]
    sweep(tmp_path / "whole")
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_failing_budget_leaves_the_chunks_of_all_and_the_run_goes_on_from_there(
    sweep, tmp_path, written, monkeypatch
):
    class Broken(Sharing):
        def generate(self, prompts):
            if self.budget == 0.8 and len(self.calls) > 12:
                raise ValueError("shapes")
            return super().generate(prompts)

    monkeypatch.setattr(Spend, "apply", lambda self, model: Broken(model.weights, model.calls, self.budget))
    with pytest.raises(UserError, match=r"^sharing\+spend @0.8 on .*model sharing\+spend@0.8 failed with ValueError"):
        sweep(tmp_path / "run")
    lengths = [sum(1 for _ in journal.records()) for journal in RunDirectory(tmp_path / "run").journals()]
    assert lengths == [16, 16, 16, 8, 8, 8]
    monkeypatch.undo()
    sweep(tmp_path / "run")
    sweep(tmp_path / "whole")
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_kill_costs_the_chunk_in_flight_at_most(sweep, tmp_path, written):
    sweep(tmp_path / "whole")

    class Killer:
        left = 50

        @hookimpl
        def record_written(self, event):
            Killer.left -= 1
            if not Killer.left:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            sweep(tmp_path / "run", plugins=[Killer()])
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    lengths = [sum(1 for _ in journal.records()) for journal in RunDirectory(tmp_path / "run").journals()]
    assert lengths == [16, 8, 8, 8, 8, 8], "the 50th record is one of a chunk that is on disk"
    sweep(tmp_path / "run")
    assert written(tmp_path / "run") == written(tmp_path / "whole")


# Several processes


def test_a_claimed_budget_is_put_off_alone(sweep, plugin, tmp_path):
    sweep(tmp_path, budgets=(0.5, 0.7, 1.0))
    cut(tmp_path, (0, 0, 0))
    held = RunDirectory(tmp_path).journals()[1]
    assert held.acquire()
    plugin.events.clear()

    class Other:
        """The other process ends when the unclaimed budgets are done."""

        @hookimpl
        def cell_finished(self, event):
            if event.cell.budget == 1.0:
                held.release()

    sweep(tmp_path, budgets=(0.5, 0.7, 1.0), plugins=[Other()])
    events = [event[:1] + event[2:3] for event in plugin.events if event[0] != "record"]
    assert events == [
        ("started", 0.5), ("started", 1.0), ("finished", 0.5), ("finished", 1.0), ("started", 0.7), ("finished", 0.7)
    ]  # fmt: skip


def test_claims_are_free_after_a_sweep_and_after_a_failure(sweep, tmp_path, monkeypatch):
    sweep(tmp_path / "run")
    assert all(journal.acquire() for journal in RunDirectory(tmp_path / "run").journals())
    monkeypatch.setattr(Spend, "apply", lambda self, model: 1 / 0)
    with pytest.raises(UserError, match="ZeroDivisionError"):
        sweep(tmp_path / "failed")
    assert all(journal.acquire() for journal in RunDirectory(tmp_path / "failed").journals())


# The real thing


def test_six_budgets_of_tiny_llava_write_what_six_runs_write(run, tmp_path):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, task = "tiny-llava+adallava-l(scheduler=random)", "shapes-pope(scenes=2)"
    options = {"settings": Settings(batch_size=5), "limit": 8}
    try:
        run(model, task, out=tmp_path / "sweep", budgets=BUDGETS, **options)
        separate = {}
        for budget in BUDGETS:
            run(model, task, out=tmp_path / str(budget), budgets=(budget,), **options)
            separate |= cell_files(tmp_path / str(budget))
    finally:
        torch.set_num_threads(threads)
    assert cell_files(tmp_path / "sweep") == separate
    assert sum(name.endswith("result.json") for name in separate) == 6
