"""A run is cut into jobs, and a job is a value: any process can do it."""

import pickle
from pathlib import Path

import pytest
from adaptbench import UserError
from adaptbench.harness.identity import Settings
from adaptbench.harness.jobs import RunContext, jobs_of, shard_of
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import PluginNames, load_plugins
from adaptbench.harness.samples import SampleLimit

TOYS = str(Path(__file__).with_name("toys.py"))
MODELS, TASKS = ["toy-vectors", "toy-adder"], ["toy-images(samples=20)", "toy-words(samples=70)"]


class Adder:
    name = "adder"

    def generate(self, prompts):
        return ["0"] * len(prompts)


@pytest.fixture(scope="module")
def plugins():
    return load_plugins([TOYS])


@pytest.fixture
def context(plugins, tmp_path):
    def with_plugins(names=plugins.names):
        return RunContext(tmp_path / "run", tmp_path, "name", Settings(), SampleLimit(), "", names)

    return with_plugins


def test_a_sweep_over_budgets_is_one_job(plugins, context):
    models = ["toy-vectors", "vit-glyphs+layers"]
    planned = plan(plugins.registry, Request(models, ["toy-images"], budgets=(0.5, 0.85), seeds=(0, 1)))
    jobs = jobs_of(planned, context())
    assert [(job.models, job.seed) for job in jobs] == [
        (("toy-vectors",), 0),
        (("toy-vectors",), 1),
        (("vit-glyphs+layers@0.5", "vit-glyphs+layers@0.85"), 0),
        (("vit-glyphs+layers@0.5", "vit-glyphs+layers@0.85"), 1),
    ]
    assert [cell.id for job in jobs for cell in job.cells(plugins.registry)] == sorted(
        (cell.id for cell in planned.cells), key=lambda cell: (cell.model, cell.seed, cell.budget)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20])
def test_shards_are_even_parts_of_a_plan_and_leave_its_jobs_whole(plugins, context, count):
    models = ["toy-vectors", "vit-glyphs+layers"]
    whole = plan(plugins.registry, Request(models, ["toy-images"], budgets=(0.5, 0.85), seeds=(0, 1)))
    shards = [shard_of(whole, number, count) for number in range(1, count + 1)]
    parts = [jobs_of(shard, context()) for shard in shards]
    assert [job for part in parts for job in part] == jobs_of(whole, context())
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(shard.left_out == whole.left_out for shard in shards)


def test_a_job_is_a_value(plugins, context):
    (job,) = jobs_of(plan(plugins.registry, Request(MODELS[:1], TASKS[:1])), context())
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.run.plugins.others == (TOYS,)


def test_a_job_on_a_python_object_stays_in_its_process(plugins, context):
    (job,) = jobs_of(plan(plugins.registry, Request([Adder()], TASKS[1:])), context())
    assert isinstance(job.models[0], Adder)
    assert len(job.cells(plugins.registry)) == 1
    message = r"^model Adder: it is a Python object, which no other process can load; register it in a plugin"
    with pytest.raises(UserError, match=message):
        job.check_value()


def test_a_plugin_that_is_a_python_object_stays_in_its_process(plugins, context):
    (job,) = jobs_of(plan(plugins.registry, Request(MODELS[:1], TASKS[:1])), context(PluginNames((), (Adder(),))))
    with pytest.raises(UserError, match=r"^plugin Adder: it is a Python object"):
        job.check_value()
