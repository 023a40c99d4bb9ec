from pathlib import Path

import adaptbench
import numpy as np
import pytest
from adaptbench import RunResult, UserError


class Mean:
    name = "mean-colour"

    def embed(self, images):
        return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])


def test_a_spec_or_an_object_or_a_list_of_them_is_run(run, toys, tmp_path):
    result = run([Mean(), "toy-vectors"], ["toy-pictures", toys.Pictures(seed=3)], out=str(tmp_path / "run"))
    assert isinstance(result, RunResult)
    assert result.path == tmp_path / "run"
    assert [(r.cell.model, r.cell.task) for r in result.results] == [
        ("mean-colour", "toy-pictures"),
        ("mean-colour", "Pictures"),
        ("toy-vectors", "toy-pictures"),
        ("toy-vectors", "Pictures"),
    ]


def test_the_default_run_directory_is_runs_latest(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run("toy-adder", "toy-words", limit=1).path == Path("runs/latest")
    assert (tmp_path / "runs" / "latest" / "manifest.json").is_file()


def test_seeds_make_cells_of_their_own(run, tmp_path):
    result = run("toy-adder", "toy-words", out=tmp_path, seeds=(0, 1), limit=3)
    assert [r.cell.seed for r in result.results] == [0, 1]
    assert result.results[0].samples_digest != result.results[1].samples_digest


def test_a_misspelt_option_is_refused_and_not_ignored(tmp_path):
    with pytest.raises(TypeError, match=r"run\(\) has no option limits; it has out, budgets, seeds, limit"):
        adaptbench.run("pixels", "digits", limits=3)


def test_what_cannot_be_planned_is_refused_before_anything_is_written(run, tmp_path):
    for models, tasks in (("toy-vectos", "toy-words"), ("toy-vectors", "toy-words"), ([], "toy-words")):
        with pytest.raises(UserError):
            run(models, tasks, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_readme_form_works():
    assert adaptbench.run.__doc__.startswith("Run models on tasks.")
    assert set(adaptbench.RunOptions.__annotations__) == {
        "out", "budgets", "seeds", "limit", "sample", "settings", "plugins", "progress",
    }  # fmt: skip
