"""What trackers of experiments are told of a run. `ci/trackers.sh` does the same with the real ones."""

import importlib
import json
import logging
import sys
import types
from pathlib import Path

import adaptbench
import pytest
from adaptbench.adapters import tracking

CARD = adaptbench.TaskCard(capability="generate", rule="exact", rule_version=3)


class Asks(adaptbench.Task):
    card = CARD
    inputs = tuple(adaptbench.Input(str(i), lambda i=i: adaptbench.Prompt(str(i))) for i in range(6))
    samples = tuple(adaptbench.Sample(f"q{i}", [i], "yes") for i in range(6))


class Says:
    card = adaptbench.ModelCard(capabilities=("generate",))

    def __init__(self, name, answer):
        self.name = self.fingerprint = name
        self._answer = answer

    def generate(self, prompts):
        return [self._answer] * len(prompts)


class FakeMlflow(types.ModuleType):
    """Keeps what it is told: key -> run."""

    def __init__(self):
        super().__init__("mlflow")
        self.runs, self.experiments, self.broken = {}, [], 0
        self.MlflowClient = lambda: self
        self.entities = types.SimpleNamespace(
            Metric=lambda name, value, at, step: (name, value), Param=lambda name, value: (name, value)
        )

    def get_experiment_by_name(self, name):
        if self.broken:
            self.broken -= 1
            raise ConnectionError("no route to host\nand more")
        return types.SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name):
        self.experiments.append(name)
        return name

    def search_runs(self, experiments, query, max_results):
        key = query.removeprefix("tags.`adaptbench.key` = '").removesuffix("'")
        return [self.runs[key]] if key in self.runs else []

    def create_run(self, experiment, run_name, tags):
        info = types.SimpleNamespace(status="RUNNING", start_time=1, run_id=tags["adaptbench.key"])
        run = types.SimpleNamespace(info=info, name=run_name, experiment=experiment, files=[], batches=[])
        self.runs[info.run_id] = run
        return run

    def log_batch(self, run_id, metrics, params):
        self.runs[run_id].batches.append((dict(metrics), dict(params)))

    def log_artifact(self, run_id, path):
        self.runs[run_id].files.append(Path(path).name)

    def set_terminated(self, run_id):
        self.runs[run_id].info.status = "FINISHED"


class FakeWandb(types.ModuleType):
    """Keeps what it is told: id -> what `init` and the run were given."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = {}
        self.Settings = dict

    def init(self, **given):
        run = types.SimpleNamespace(**given, summary={}, finished=0, artifacts=[])
        run.log_artifact = run.artifacts.append
        run.finish = lambda: setattr(run, "finished", run.finished + 1)
        self.runs[given["id"]] = run
        return run

    class Artifact:
        def __init__(self, name, type):
            self.files = []

        def add_file(self, path):
            self.files.append(Path(path).name)


def stand_in(monkeypatch, name, fake):
    """A tracker's library, and the plugin that uses it."""
    monkeypatch.setitem(sys.modules, name, fake)
    if name == "mlflow":
        monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    monkeypatch.delitem(sys.modules, f"adaptbench.adapters.{name}_tracker", raising=False)
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    monkeypatch.setattr(tracking, "report", lambda run, out: Path(out).write_text("board") and out)
    return fake


@pytest.fixture
def mlflow(monkeypatch):
    return stand_in(monkeypatch, "mlflow", FakeMlflow())


@pytest.fixture
def wandb(monkeypatch):
    return stand_in(monkeypatch, "wandb", FakeWandb())


@pytest.fixture
def run(tmp_path):
    def run(tracker, *answers):
        models = [Says(f"says-{answer}", answer) for answer in answers]
        return adaptbench.run(
            models, Asks(), out=tmp_path / "small", plugins=[f"adaptbench.adapters.{tracker}_tracker"]
        )

    return run


def test_mlflow_keeps_each_cell_with_what_was_asked_and_what_came_of_it(mlflow, run):
    done = run("mlflow", "yes", "no")
    assert mlflow.experiments == ["small"]
    (yes, no) = (mlflow.runs[result.key] for result in done.results)
    ((metrics, params),) = yes.batches
    assert (yes.name, yes.info.status) == ("says-yes on Asks", "FINISHED")
    assert metrics["accuracy"] == 1
    assert (metrics["accuracy low"], metrics["accuracy high"]) == (pytest.approx(0.61, abs=0.01), 1)
    assert (metrics["samples"], metrics["unparsed"]) == (6, 0)
    assert {"model", "base", "methods", "budget", "seed", "device", "git_revision"} <= params.keys()
    assert (params["task"], params["rule"]) == ("Asks", "exact v3")
    assert no.batches[0][0]["accuracy"] == 0


def test_the_manifest_and_the_board_are_kept_once(mlflow, run):
    keys = {result.key for result in run("mlflow", "yes").results}
    (whole,) = (one for key, one in mlflow.runs.items() if key not in keys)
    assert whole.files == ["manifest.json", "leaderboard.html"]
    assert whole.name == "small"


def test_what_another_session_kept_is_not_kept_again(mlflow, run):
    run("mlflow", "yes")
    again = run("mlflow", "yes", "no")
    assert [len(mlflow.runs[result.key].batches) for result in again.results] == [1, 1]
    assert len(mlflow.runs) == 3


def test_weights_and_biases_keeps_the_same(wandb, run):
    done = run("wandb", "yes")
    cell = wandb.runs.pop(done.results[0].key)
    assert (cell.project, cell.group, cell.job_type, cell.resume) == ("adaptbench", "small", "cell", "allow")
    assert (cell.summary["accuracy"], cell.config["rule"], cell.finished) == (1, "exact v3", 1)
    (whole,) = wandb.runs.values()
    assert (whole.job_type, whole.artifacts[0].files) == ("run", ["manifest.json", "leaderboard.html"])


def test_a_tracker_that_fails_costs_a_line_and_no_cell(mlflow, run, caplog):
    mlflow.broken = 1
    done = run("mlflow", "yes", "no")
    assert [result.metrics["accuracy"].value for result in done.results] == [1, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "MLflow did not keep says-yes on Asks: ConnectionError: no route to host"
    ]
    assert done.results[1].key in mlflow.runs


def test_one_that_is_away_is_not_waited_for_again_and_again(mlflow, run, caplog):
    mlflow.broken = 2
    done = run("mlflow", "yes", "no", "maybe")
    assert len(done.results) == 3
    assert mlflow.runs == {}
    assert [record.getMessage()[-36:] for record in caplog.records][1] == "; it is told no more in this session"
    assert len(caplog.records) == 2


def test_without_what_the_board_needs_the_manifest_is_kept(mlflow, run, monkeypatch, caplog):
    def no_board(path, out):
        raise adaptbench.UserError("this report needs pandas")

    monkeypatch.setattr(tracking, "report", no_board)
    caplog.set_level(logging.WARNING)
    run("mlflow", "yes")
    assert ["manifest.json"] in [one.files for one in mlflow.runs.values()]
    assert "MLflow is given no board" in caplog.text


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_without_its_library_the_plugin_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"adaptbench.adapters.{name}_tracker", raising=False)
    with pytest.raises(adaptbench.UserError, match=rf"is not installed; pip install 'adaptbench\[{name}\]'"):
        importlib.import_module(f"adaptbench.adapters.{name}_tracker")


def test_what_is_kept_of_a_cell_can_be_written_as_json(mlflow, run, tmp_path):
    run("mlflow", "yes")
    assert json.loads(json.dumps([one.batches for one in mlflow.runs.values()]))
