import json
import os
from pathlib import Path

import numpy as np
import pytest
from adaptbench import Input, ModelCard, Sample, UserError, hookimpl
from adaptbench.harness.identity import Settings
from adaptbench.harness.measure import hardware
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.progress import Progress
from adaptbench.harness.samples import SampleLimit
from adaptbench.harness.store import FeatureStore, RunDirectory


def journals(path):
    return RunDirectory.existing(path).journals()


def test_a_run_comes_to_its_results_in_the_order_of_the_plan(run, tmp_path):
    models, tasks = (
        ["toy-vectors", "pixels(size=4)", "toy-adder"],
        ["toy-words", "toy-images(seed=1)", "toy-images"],
    )
    result = run(models, tasks, out=tmp_path)
    assert [(r.cell.model, r.cell.task) for r in result.results] == [
        ("toy-vectors", "toy-images(seed=1)"),
        ("toy-vectors", "toy-images"),
        ("pixels(size=4)", "toy-images(seed=1)"),
        ("pixels(size=4)", "toy-images"),
        ("toy-adder", "toy-words"),
    ]
    assert result.path == tmp_path
    assert [journal.result() for journal in journals(tmp_path)] == sorted(
        result.results, key=lambda r: (r.cell.model, r.cell.task)
    )


def test_every_sample_has_its_record_and_every_kind_of_outcome_is_counted(run, tmp_path):
    (result,) = run("toy-adder", "toy-words", out=tmp_path).results
    (journal,) = journals(tmp_path)
    records = list(journal.records())
    assert [record.sample for record in records] == [f"q{i}" for i in range(40)]
    unscored = [record for record in records if record.scores is None]
    unparsed = [record for record in records if record.parsed is None]
    assert (result.samples, result.unscored, result.unparsed) == (40, len(unscored), len(unparsed))
    assert len(unscored) == 4
    assert len(unparsed) == sum((i + i % 7) % 13 == 0 for i in range(40))
    assert "no idea \ud83d" in [record.output[0] for record in unparsed]
    assert result.metrics["accuracy"].n == 36
    scored = [record.scores["accuracy"] for record in records if record.scores]
    assert result.metrics["accuracy"].value == pytest.approx(np.mean(scored))
    assert result.flops is None
    assert result.flops_missing == "not counted: the model does not say what its prefill costs"
    assert result.records_sha256 == journal.digest()


def test_what_a_model_says_of_its_answers_stands_in_the_result(run, tmp_path, toys, monkeypatch):
    assert run("toy-adder", "toy-words", out=tmp_path / "a").results[0].notes == ()
    monkeypatch.setattr(toys.Adder, "notes", ("it cannot add",), raising=False)
    assert run("toy-adder", "toy-words", out=tmp_path / "b").results[0].notes == ("it cannot add",)


def test_the_cost_of_a_sample_is_that_of_its_inputs(run, tmp_path):
    (result,) = run("random-features(dims=3,size=4)", "toy-images", out=tmp_path).results
    (journal,) = journals(tmp_path)
    assert result.flops.value == 2 * 16 * 3
    assert result.parameters == 48
    assert {record.costs for record in journal.records()} == {(PrefillCost(flops=288),)}
    assert journal.timing().what == "forward of 64 images"


def test_times_are_measured_in_the_session_that_made_the_cell_even_if_all_features_were_stored(run, tmp_path, toys):
    run("toy-vectors", "toy-images", out=tmp_path)
    toys.CALLS.clear()
    run("toy-vectors", "toy-images(samples=30)", out=tmp_path)
    assert {count for _, count in toys.CALLS} == {64}, "only the timed batch"
    assert len([journal.timing() for journal in journals(tmp_path) if journal.timing()]) == 2


def test_times_can_be_left_out(run, tmp_path, toys):
    (result,) = run("random-features(dims=3,size=4)", "toy-images", out=tmp_path, timing=False).results
    (journal,) = journals(tmp_path)
    assert result.flops is not None
    assert (journal.timing(), journal.end_to_end(None)) == (None, None)


def test_flops_are_counted_once_for_a_model_and_equally_shaped_inputs(run, tmp_path, monkeypatch):
    from adaptbench.harness.measure import flops

    calls = []
    real = flops.count_flops
    monkeypatch.setattr(flops, "count_flops", lambda *a, **k: calls.append(1) or real(*a, **k))
    run(["random-features(size=4)", "random-features(size=5)"], ["toy-images", "toy-images(seed=1)"], out=tmp_path)
    assert len(calls) == 2


def test_a_complete_cell_is_not_done_again(run, tmp_path, toys, written):
    models, tasks = ["toy-vectors", "toy-adder"], ["toy-images", "toy-words"]
    first = run(models, tasks, out=tmp_path)
    before = written(tmp_path)
    toys.CALLS.clear()
    again = run(models, tasks, out=tmp_path)
    assert again.results == first.results
    assert toys.CALLS == []
    assert written(tmp_path) == before


def test_two_runs_write_the_same_bytes(run, tmp_path, written):
    for name in ("a", "b"):
        run(["toy-vectors", "toy-adder"], ["toy-images", "toy-words"], out=tmp_path / name)
    assert written(tmp_path / "a") == written(tmp_path / "b")


# Some of the samples


@pytest.mark.parametrize(
    ("options", "partial", "count"),
    [
        ({}, None, 40),
        ({"limit": 10}, "--limit 10", 10),
        ({"sample": 10}, "--sample 10", 10),
        ({"limit": 5, "sample": 10}, "--limit 5 --sample 10", 5),
        ({"limit": 40}, None, 40),
        ({"limit": 1000}, None, 40),
        ({"sample": 40}, None, 40),
    ],
)
def test_a_part_of_the_samples_is_marked_and_the_whole_is_not(run, tmp_path, options, partial, count):
    (result,) = run("toy-adder", "toy-words", out=tmp_path, **options).results
    assert (result.partial, result.samples) == (partial, count)


def test_a_part_has_a_key_of_its_own_and_the_whole_is_still_there_afterwards(run, tmp_path, toys):
    keys = [
        run("toy-adder", "toy-words", out=tmp_path, **options).results[0].key
        for options in ({}, {"limit": 10}, {"sample": 10}, {"sample": 11})
    ]
    assert len(set(keys)) == 4
    toys.CALLS.clear()
    assert run("toy-adder", "toy-words", out=tmp_path, limit=1000).results[0].key == keys[0]
    assert toys.CALLS == []


def test_drawn_samples_depend_on_the_seed_and_stand_in_their_order():
    samples = [Sample(f"s{i}\ud800", (i,)) for i in range(100)]
    drawn = [SampleLimit(drawn=20).of(samples, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=lambda sample: sample.inputs)
    assert {s.id for s in SampleLimit(drawn=10).of(samples, 0)} < {s.id for s in drawn[0]}
    assert SampleLimit(first=5, drawn=20).of(samples, 0) == drawn[0][:5]


@pytest.mark.parametrize(("options", "where"), [({"limit": 0}, "--limit"), ({"sample": -1}, "--sample")])
def test_no_samples_are_no_run(run, tmp_path, options, where):
    with pytest.raises(UserError, match=f"^{where}: .* samples are not enough; ask for one or more"):
        run("toy-adder", "toy-words", out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


# Hooks


class Watcher:
    """Notes every event, and at each record what is on disk."""

    def __init__(self, path):
        self.path, self.events = path, []

    @hookimpl
    def run_started(self, event):
        self.events.append(("run_started", event.path, len(event.cells)))

    @hookimpl
    def cell_started(self, event):
        self.events.append(("cell_started", event.cell.task, event.samples, event.done))

    @hookimpl
    def record_written(self, event):
        on_disk = [r.sample for path in self.path.rglob("records.jsonl") for r in _records(path)]
        self.events.append(("record_written", event.record.sample, event.record.sample in on_disk))

    @hookimpl
    def cell_finished(self, event):
        self.events.append(("cell_finished", event.cell.task, event.result.samples, event.timing, event.reused))

    @hookimpl
    def run_finished(self, event):
        self.events.append(("run_finished", event.path, len(event.results)))


def _records(path):
    from adaptbench.harness.store import Journal

    return Journal(path.parent).records()


def test_events_come_in_order_and_a_record_after_it_is_on_disk(run, tmp_path):
    watcher = Watcher(tmp_path)
    run("toy-adder", ["toy-words(samples=2)", "toy-words(samples=1)"], out=tmp_path, plugins=[watcher])
    run("toy-adder", ["toy-words(samples=2)"], out=tmp_path, plugins=[watcher])
    assert watcher.events == [
        ("run_started", tmp_path, 2),
        ("cell_started", "toy-words(samples=2)", 2, 0),
        ("record_written", "q0", True),
        ("record_written", "q1", True),
        ("cell_finished", "toy-words(samples=2)", 2, None, False),
        ("cell_started", "toy-words(samples=1)", 1, 0),
        ("record_written", "q0", True),
        ("cell_finished", "toy-words(samples=1)", 1, None, False),
        ("run_finished", tmp_path, 2),
        ("run_started", tmp_path, 1),
        ("cell_finished", "toy-words(samples=2)", 2, None, True),
        ("run_finished", tmp_path, 1),
    ]


def test_a_record_is_synced_before_anybody_is_told(run, tmp_path, monkeypatch):
    order = []
    real = os.fsync

    def fsync(handle):
        order.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)

    class Plugin:
        @hookimpl
        def record_written(self, event):
            order.append("told")

    run("toy-adder", "toy-words(samples=1)", out=tmp_path, plugins=[Plugin()])
    assert order.index("records.jsonl") < order.index("told")


@pytest.mark.parametrize("hook", ["run_started", "cell_started", "record_written", "cell_finished", "run_finished"])
def test_a_failing_hook_is_logged_and_harms_nothing(run, tmp_path, caplog, hook, written):
    def fail(self, event):
        raise RuntimeError("a broken plugin")

    plugin = type("Broken", (), {hook: hookimpl(fail)})()
    run("toy-adder", "toy-words", out=tmp_path / "a", plugins=[plugin])
    assert "a broken plugin" in caplog.text
    run("toy-adder", "toy-words", out=tmp_path / "b")
    assert written(tmp_path / "a") == written(tmp_path / "b")


# Whose fault it is


class Failing:
    """Answers ``good`` batches, and then fails."""

    name = "failing"
    fingerprint = "failing"
    card = ModelCard(capabilities=("embed", "generate"))

    def __init__(self, good, error):
        self.good, self.error = good, error

    def answer(self, items):
        self.good -= 1
        if self.good < 0:
            raise self.error
        return items

    def embed(self, images):
        return np.array([np.asarray(image).ravel()[:3] for image in self.answer(images)], dtype=np.float32)

    def generate(self, prompts):
        return [prompt.text for prompt in self.answer(prompts)]


@pytest.mark.parametrize("task", ["toy-images", "toy-words"])
@pytest.mark.parametrize("error", [ValueError("odd\nmore"), RuntimeError("shapes"), SystemExit(0), KeyError("k")])
def test_a_crash_of_a_model_is_a_line_that_names_it_and_what_was_recorded_stays(run, tmp_path, task, error, written):
    settings = Settings(batch_size=16)
    good = 4 if task == "toy-words" else 2  # two batches a chunk: each of its sums asks two inputs
    with pytest.raises(UserError) as caught:
        run(Failing(good, error), task, out=tmp_path / "run", settings=settings)
    first_line = str(error).splitlines()[0]
    assert str(caught.value).startswith(
        f"failing on {task}: model failing failed with {type(error).__name__}: {first_line}; fix it"
    )
    assert caught.value.__cause__ is error
    (journal,) = journals(tmp_path / "run")
    assert sum(1 for _ in journal.records()) == (32 if task == "toy-words" else 0)
    stored = [FeatureStore(one.parent, one.name).stored() for one in (tmp_path / "run").glob("features/*")]
    assert sum(map(len, stored)) == (0 if task == "toy-words" else 2)
    run(Failing(100, error), task, out=tmp_path / "run", settings=settings)
    run(Failing(100, error), task, out=tmp_path / "whole", settings=settings)
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_model_that_cannot_be_built_is_named(run, tmp_path):
    def broken():
        raise FileNotFoundError("weights.safetensors")

    class Plugin:
        @hookimpl
        def register(self, registry):
            registry.model("broken", broken, card=ModelCard(capabilities=("generate",)))

    message = r"^broken on toy-words: model broken failed with FileNotFoundError: weights.safetensors"
    with pytest.raises(UserError, match=message):
        run("broken", "toy-words", out=tmp_path, plugins=[Plugin()])


@pytest.mark.parametrize("part", ["samples", "inputs", "outputs", "parse", "score"])
def test_a_crash_of_a_task_is_a_line_that_names_it(run, tmp_path, toys, part):
    def fail(*_args):
        raise ZeroDivisionError("division by zero")

    kind = type("Odd", (toys.Words,), {part: property(fail) if part in ("samples", "inputs") else fail})
    with pytest.raises(UserError, match=r"^toy-adder on Odd: task Odd failed with ZeroDivisionError: division by zero"):
        run("toy-adder", kind(), out=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": []}, "the task has no samples"),
        ({"samples": [Sample("a", (0,)), Sample("a", (1,))]}, "two samples have the same id"),
        ({"samples": [Sample("a", (99,))]}, "failed with IndexError"),
        ({"outputs": lambda _self, samples, _answers: [1] * (len(samples) - 1)}, "failed with ValueError: zip"),
        ({"outputs": lambda _s, samples, _a: [float("nan")] * len(samples)}, "sample q0: record.output is nan"),
        ({"parse": lambda _self, _sample, _output: {1: 2}}, "record.parsed has the key 1, which is not text"),
        ({"score": lambda _s, _sample, _p: {"accuracy": float("nan"), "said": 1}}, "sample q0: score() gave nan"),
        ({"score": lambda _s, _sample, _p: {"accuracy": 1.0}}, "sample q0: score() gave no 'said'"),
    ],
)
def test_a_task_that_breaks_its_contract_is_told_how(run, tmp_path, toys, changes, message):
    with pytest.raises(UserError) as caught:
        run("toy-adder", type("Odd", (toys.Words,), changes)(), out=tmp_path)
    assert message in str(caught.value)


def test_a_task_may_have_an_attribute_called_manifest_that_is_none_of_ours(run, tmp_path, toys):
    run("toy-adder", type("Odd", (toys.Words,), {"manifest": {"a": 1}})(), out=tmp_path)
    assert not (tmp_path / "episodes").exists()


def test_what_a_task_draws_is_kept_with_the_run(run, tmp_path, toys):
    task = toys.Images()
    run("toy-vectors", task, out=tmp_path)
    (kept,) = (tmp_path / "episodes").iterdir()
    assert kept.stem == task.manifest.digest[:32]
    assert json.loads(kept.read_bytes()) == task.manifest.rows


# Memory


class Small:
    """Has memory for ``limit`` inputs."""

    name = "small"

    def __init__(self, limit):
        self._limit = limit

    @property
    def fingerprint(self):
        return "small"  # the limit is the machine's, not the model's

    def embed(self, images):
        if len(images) > self._limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.stack([np.asarray(image, dtype=np.float32).ravel() for image in images])


def test_a_model_that_runs_out_of_memory_gets_smaller_batches_and_the_same_answers(run, tmp_path, written):
    for limit in (1000, 7, 1):
        run(Small(limit), "toy-images", out=tmp_path / str(limit))
    assert written(tmp_path / "1000") == written(tmp_path / "7") == written(tmp_path / "1")
    (journal,) = journals(tmp_path / "7")
    assert journal.timing().inputs == 4, "what does not fit is not timed either"


def test_a_single_input_that_does_not_fit_is_an_error_of_the_user(run, tmp_path):
    with pytest.raises(UserError, match=r"^small on toy-images, small: a single input does not fit into memory"):
        run(Small(0), "toy-images", out=tmp_path)


# Progress


class Told(Progress):
    def __init__(self):
        self.said = []

    def start(self, cell, samples, done):
        self.said.append(("start", samples, done))

    def answered(self, inputs, total):
        self.said.append(("answered", inputs, total))

    def recorded(self, samples):
        self.said.append(("recorded", samples))

    def finish(self, result, timing, reused):
        self.said.append(("finish", result.samples, reused))


def test_progress_is_told_of_every_step(run, tmp_path):
    told = Told()
    run("toy-vectors", "toy-images(samples=700)", out=tmp_path, progress=told)
    assert told.said == [
        ("start", 700, 0), ("answered", 64, 80), ("answered", 80, 80), ("recorded", 500), ("recorded", 700),
        ("finish", 700, False),
    ]  # fmt: skip
    told.said.clear()
    run("toy-vectors", "toy-images(samples=700)", out=tmp_path, progress=told)
    assert told.said == [("finish", 700, True)]


class Notes(Progress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_a_run_that_goes_on_with_other_kernels_says_so_once_and_keeps_both(run, tmp_path, written, monkeypatch):
    notes = Notes()

    def computed(limit, **kernels):
        monkeypatch.setattr(hardware, "kernels", lambda: kernels)
        run("toy-vectors", ["toy-images", "toy-images(samples=7)"], out=tmp_path, limit=limit, progress=notes)
        return notes.said

    assert computed(2, openblas="Haswell, 1 thread") == []
    assert computed(3, openblas="Haswell, 1 thread", torch="AVX2, 1 thread") == []
    keys = {path.name for path in (tmp_path / "cells").iterdir()}
    said = "part of this run was computed by openblas Haswell, 1 thread, the rest by openblas SkylakeX, 1 thread"
    assert computed(4, openblas="SkylakeX, 1 thread", torch="AVX2, 1 thread") == [f"{said}: rounding may differ"]
    assert computed(4, openblas="Zen, 2 threads") == [f"{said}: rounding may differ"], "all was there"
    sessions = RunDirectory(tmp_path).manifest().sessions
    assert [session.kernels.get("openblas", "")[:7] for session in sessions] == ["Haswell", "Haswell", "Skylake", ""]
    assert computed(2, openblas="SkylakeX, 1 thread")[1:] == [], "its cells are those of the first session"
    assert keys < {path.name for path in (tmp_path / "cells").iterdir()}


# The table


def test_the_results_make_a_table_with_a_row_a_cell_and_metric(run, tmp_path):
    table = run(["toy-vectors", "toy-adder"], ["toy-images", "toy-words"], out=tmp_path, seeds=(0, 1)).to_pandas()
    assert list(table.columns) == [
        "model", "task", "budget", "seed", "metric", "value", "low", "high", "n",
        "flops", "parameters", "seconds", "peak_memory", "partial",
    ]  # fmt: skip
    assert len(table) == 6
    assert list(table.query("model == 'toy-adder' and seed == 1").metric) == ["accuracy", "said"]
    assert table.value.between(0, 1).all()


def test_an_input_is_loaded_only_when_it_is_needed(run, tmp_path, toys):
    loaded = []

    class Lazy(toys.Words):
        @property
        def inputs(self):
            def watch(item):
                return Input(item.digest, lambda: loaded.append(item.digest) or item.load())

            return [watch(item) for item in super().inputs]

    run("toy-adder", Lazy(), out=tmp_path, limit=2)
    assert len(set(loaded)) == 4
