"""No answer of one model is ever taken for another's, and none is computed twice: facts of a leading harness that does
both wrong (its response cache is keyed by the request alone)."""

import os
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from adaptbench import Input, ModelCard, Sample, TaskCard
from adaptbench.harness.contracts import Task
from adaptbench.harness.identity import Settings
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.samples import sample_digests, samples_digest
from adaptbench.harness.store import RunDirectory


class Numbers:
    """Embeds by its weights; has neither fingerprint nor module."""

    name = "numbers"
    calls: ClassVar = []

    def __init__(self, weights, size=1):
        self.weights, self._size = np.asarray(weights, dtype=np.float32), size

    def embed(self, images):
        self.calls.append(len(images))
        return np.stack([np.asarray(image, dtype=np.float32).ravel()[:3] * self.weights for image in images])


class Unknowable(Numbers):
    """Its state cannot be seen."""

    def __init__(self, weights):
        super().__init__(weights)
        self._secret = np.random.default_rng(0)


class Module(Numbers):
    """Its weights are in a torch module; ``pooling`` is not."""

    def __init__(self, seed, pooling=1.0):
        super().__init__([1, 1, 1])
        torch.manual_seed(seed)
        self.module = torch.nn.Linear(3, 2)
        self._pooling = pooling

    def prepare(self, inputs):
        pixels = np.stack([np.asarray(image, dtype=np.float32).ravel()[:3] for image in inputs])
        return {"input": torch.from_numpy(pixels / 255)}

    def embed(self, images):
        self.calls.append(len(images))
        with torch.inference_mode():
            return self._pooling * self.module(**self.prepare(images)).numpy()


class Fingerprinted(Unknowable):
    def __init__(self, weights, fingerprint):
        super().__init__(weights)
        self.fingerprint = fingerprint


@pytest.fixture(autouse=True)
def count():
    Numbers.calls.clear()
    return Numbers.calls


@pytest.fixture
def image_task(toys):
    return toys.Images()


def outcome(result):
    """What tells two models apart: all that was recorded."""
    return str(list(RunDirectory(result.path).journal(result.results[0].key).records()))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (lambda: Numbers([1, 2, 3]), lambda: Numbers([1, 2, 4])),
        (lambda: Unknowable([1, 2, 3]), lambda: Unknowable([1, 2, 4])),
        (lambda: Fingerprinted([1, 2, 3], "a"), lambda: Fingerprinted([1, 2, 4], "b")),
        (lambda: Module(0), lambda: Module(1)),
        (lambda: Module(0), lambda: Module(0, pooling=2.0)),
    ],
)
def test_two_objects_of_the_same_name_never_share_an_answer(run, image_task, tmp_path, one, two):
    shared = [outcome(run(model(), image_task, out=tmp_path / "shared")) for model in (one, two, one)]
    alone = [outcome(run(model(), image_task, out=tmp_path / str(n))) for n, model in enumerate((one, two, one))]
    assert shared == alone
    assert shared[0] != shared[1]


@pytest.mark.parametrize(
    "model", [lambda: Numbers([1, 2, 3]), lambda: Module(0), lambda: Fingerprinted([1, 2, 3], "a")]
)
def test_the_same_object_or_an_equal_one_answers_once(run, image_task, tmp_path, count, model):
    first = run(model(), image_task, out=tmp_path)
    asked = len(count)
    assert run(model(), image_task, out=tmp_path).results == first.results
    assert len(count) == asked > 0


def test_an_object_whose_state_cannot_be_seen_is_asked_in_every_run(run, image_task, tmp_path, count):
    model = Unknowable([1, 2, 3])
    first = outcome(run(model, image_task, out=tmp_path))
    asked = len(count)
    model.weights = model.weights * 2  # trained on
    assert outcome(run(model, image_task, out=tmp_path)) != first
    assert len(count) >= asked + 2, "both blocks are encoded again"


def test_an_object_that_was_changed_between_two_runs_is_another_model(run, image_task, tmp_path):
    model = Module(0)
    first = outcome(run(model, image_task, out=tmp_path))
    with torch.no_grad():
        model.module.weight += 1
    assert outcome(run(model, image_task, out=tmp_path)) != first


PLUGIN = """
from pathlib import Path
import numpy as np
from adaptbench import ModelCard, hookimpl

class Stored:
    def __init__(self, weights, power):
        self._factor = np.float32(float(Path(weights).read_text()) ** power)
    def embed(self, images):
        return {answer}

def stored(weights="w.txt", power=1, seed=0):
    return Stored(weights, power + seed)

@hookimpl
def register(registry):
    registry.model("stored", stored, card=ModelCard(capabilities=("embed",)))
"""
BY_FACTOR = "np.stack([np.asarray(i, dtype=np.float32).ravel()[:3] for i in images]) * self._factor"


@pytest.fixture
def stored(run, tmp_path):
    """Run the plugin's model on images, in the same run directory each time."""
    (tmp_path / "w.txt").write_text("2")
    (tmp_path / "plugin.py").write_text(PLUGIN.format(answer=BY_FACTOR))

    def run_stored(arguments="", **options):
        spec = f"stored(weights={tmp_path}/w.txt{arguments})"
        return outcome(run(spec, "toy-images", out=tmp_path / "run", plugins=[str(tmp_path / "plugin.py")], **options))

    return run_stored


def test_the_same_plugin_model_answers_once(stored, tmp_path):
    first = stored()
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "cells").rglob("records.jsonl")}
    assert stored() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "cells").rglob("records.jsonl")} == stamp


def test_a_weight_file_that_changed_under_its_name_is_another_model(stored, tmp_path):
    first = stored()
    (tmp_path / "w.txt").write_text("3")
    assert stored() != first


def test_a_plugin_whose_source_changed_is_another_model(stored, tmp_path):
    first = stored()
    (tmp_path / "plugin.py").write_text(PLUGIN.format(answer=f"({BY_FACTOR}) ** 2"))
    assert stored() != first


def test_other_arguments_are_another_model(stored):
    assert len({stored(), stored(",power=2"), stored(",power=3")}) == 3


def test_another_seed_is_another_model(stored):
    assert stored(seeds=(0,)) != stored(seeds=(1,))


def test_another_batch_size_is_another_cell_with_other_blocks(run, toys, tmp_path):
    for size, batches in ((80, [80]), (50, [50, 30]), (80, [])):
        toys.CALLS.clear()
        result = run("toy-vectors", "toy-images", out=tmp_path, settings=Settings(batch_size=size))
        assert result.results[0].settings["batch_size"] == size
        untimed = [count for name, count in toys.CALLS if name == "embed"][: len(batches)]
        assert untimed == batches


def test_waiving_an_operator_makes_the_cell_again_but_no_feature(run, toys, tmp_path):
    one = run("toy-vectors", "toy-images", out=tmp_path).results[0]
    features = sorted((tmp_path / "features").rglob("*.blocks"))
    two = run("toy-vectors", "toy-images", out=tmp_path, settings=Settings(waive=("aten::fft_fft",))).results[0]
    assert one.key != two.key
    assert sorted((tmp_path / "features").rglob("*.blocks")) == features


def test_each_content_is_encoded_once_across_the_tasks_and_runs_of_a_directory(run, toys, tmp_path, monkeypatch):
    from adaptbench.harness.costs import Costs

    monkeypatch.setattr(Costs, "time", lambda _self, *_: None)  # timing asks the model too
    tasks = ["toy-images", "toy-images(samples=30)", "toy-images(samples=90)"]
    for _ in range(2):
        run("toy-vectors", tasks, out=tmp_path)
        assert toys.CALLS == [("embed", 64), ("embed", 16)]
    run("toy-vectors", "toy-images(images=90)", out=tmp_path)
    assert len(toys.CALLS) == 3, "the first block holds the same images"


def task_with(**changes):
    class Small(Task):
        name = "small"

        def __init__(self, rule):
            self.card = TaskCard(capability="embed", rule_version=changes.get("rule_version", 1))
            self.rule = rule
            inputs = [Input(f"{changes.get('digest', 'a')}{i}", lambda i=i: i) for i in range(3)]
            self._kept = (
                inputs,
                [
                    Sample(f"{changes.get('id', 's')}{i}", (i,), changes.get("target", 1), changes.get("group"))
                    for i in range(3)
                ],
            )

        @property
        def inputs(self):
            return self._kept[0]

        @property
        def samples(self):
            return self._kept[1]

        def outputs(self, samples, answers):
            return [float(answers[sample.inputs[0]][0]) for sample in samples]

        def score(self, sample, parsed):
            return {"accuracy": self.rule * parsed * sample.target}

    return Small(changes.get("rule", 1.0))


class Ones:
    name = "ones"
    card = ModelCard(capabilities=("embed",))

    def embed(self, images):
        return np.ones((len(images), 2))


@pytest.mark.parametrize(
    "changes",
    [{"rule": 2.0}, {"rule_version": 2}, {"target": 2}, {"group": "g"}, {"id": "t"}, {"digest": "b"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_task_that_scores_otherwise_makes_another_cell(run, tmp_path, changes):
    keys = [run(Ones(), task, out=tmp_path).results[0].key for task in (task_with(), task_with(**changes), task_with())]
    assert keys[0] == keys[2] != keys[1]


def test_a_task_from_a_plugin_whose_source_changed_makes_another_cell(run, tmp_path):
    keys = []
    for factor in (1, 2, 1):
        (tmp_path / "mine.py").write_text(
            "import importlib.util, sys\n"
            "from adaptbench import hookimpl\n"
            f"toys = sys.modules['engine_toys']\nFACTOR = {factor}\n"
            "class Mine(toys.Images):\n"
            "    def score(self, sample, parsed):\n"
            "        return {'accuracy': FACTOR * (parsed == sample.target)}\n"
            "@hookimpl\n"
            "def register(registry):\n"
            "    registry.task('mine', Mine, card=toys.images_card())\n"
        )
        result = run("toy-vectors", "mine", out=tmp_path / "run", plugins=[str(tmp_path / "mine.py")])
        keys.append(result.results[0].key)
        assert result.results[0].metrics["accuracy"].value == pytest.approx(factor * keys_value(result))
    assert keys[0] == keys[2] != keys[1]


def test_a_plugin_file_that_changed_within_a_second_is_not_taken_from_pythons_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, found = tmp_path / "mine.py", []
    for number in (1, 2):
        path.write_text(
            "from adaptbench import TaskCard, hookimpl\n@hookimpl\ndef register(registry):\n"
            f"    registry.task('mine', object, card=TaskCard(summary='number {number}', capability='embed'))\n"
        )
        os.utime(path, (1_000_000_000, 1_000_000_000))
        found.append(load_plugins([str(path)]).registry.find("task", "mine").card.summary)
    assert found == ["number 1", "number 2"]


def keys_value(result):
    """Share of right answers, from the records themselves."""
    from adaptbench.harness.store import RunDirectory

    (journal,) = RunDirectory.existing(result.path).journals()
    return np.mean([record.parsed == index % 2 for index, record in enumerate(journal.records())])


def test_samples_are_known_by_ids_contents_targets_and_groups():
    task = task_with()
    contents = sample_digests(task, task.samples)
    assert len(set(contents)) == 3
    same = task_with()
    assert samples_digest(task.samples, contents) == samples_digest(same.samples, sample_digests(same, same.samples))
    assert samples_digest(task.samples[:2], contents[:2]) != samples_digest(task.samples, contents)
    assert samples_digest(task.samples, contents[::-1]) != samples_digest(task.samples, contents)
