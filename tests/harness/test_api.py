from pathlib import Path

import adaptbench
import numpy as np
import pytest
from adaptbench import RunResult, UserError
from PIL import Image


class Mean:
    name = "mean-colour"

    def embed(self, images):
        return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])


def test_a_spec_or_an_object_or_a_list_of_them_is_run(run, toys, tmp_path):
    result = run([Mean(), "toy-vectors"], ["toy-images", toys.Images(seed=3)], out=str(tmp_path / "run"))
    assert isinstance(result, RunResult)
    assert result.path == tmp_path / "run"
    assert [(r.cell.model, r.cell.task) for r in result.results] == [
        ("mean-colour", "toy-images"),
        ("mean-colour", "Images"),
        ("toy-vectors", "toy-images"),
        ("toy-vectors", "Images"),
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
    with pytest.raises(TypeError, match=r"run\(\) has no option limits; it has out, budgets, seeds, sizes, limit"):
        adaptbench.run("pixels", "digits", limits=3)


def test_what_cannot_be_planned_is_refused_before_anything_is_written(run, tmp_path):
    for models, tasks in (("toy-vectos", "toy-words"), ("toy-vectors", "toy-words"), ([], "toy-words")):
        with pytest.raises(UserError):
            run(models, tasks, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def image():
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_an_encoder_is_loaded_and_asked(image):
    vectors = adaptbench.load("vit-glyphs").embed([image, image])
    assert vectors.shape[0] == 2
    assert np.array_equal(vectors[0], vectors[1])


def test_a_model_is_loaded_with_its_methods(image):
    prompt = adaptbench.Prompt("What colour is the star?", (image,), max_new_tokens=3)
    (whole,), (pruned,) = (
        adaptbench.load(f"tiny-llava{method}").answer([prompt]) for method in ("", "+fastv(k=1,r=0.5)")
    )
    assert whole.text
    assert 0 < pruned.cost.flops < whole.cost.flops


def test_a_model_of_a_plugin_is_loaded(toys):
    assert adaptbench.load("toy-vectors(dims=3)", plugins=[toys]).embed([Image.new("RGB", (6, 6))]).shape == (1, 3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vit-glyps", "unknown model 'vit-glyps'"),
        ("vit-glyphs(depth=3)", "depth"),
        ("hf:no/such/folder", r"^load\(\).*no/such/folder"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(spec, message):
    with pytest.raises(UserError, match=message):
        adaptbench.load(spec)


def test_the_readme_form_works():
    assert adaptbench.run.__doc__.startswith("Run models on tasks.")
    assert set(adaptbench.RunOptions.__annotations__) == {
        "out", "budgets", "seeds", "sizes", "limit", "sample", "device", "batch_size", "timing", "settings", "plugins",
        "progress",
    }  # fmt: skip


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A run of two models that say no and yes."""
    out = tmp_path_factory.mktemp("api") / "run"
    return adaptbench.run(["says:no", "says:yes"], "shapes-pope(scenes=1)", out=out, device="cpu", batch_size=7)


class TestRunsFromPython:
    def test_device_and_batch_size_are_settings(self, answered):
        assert answered.results[0].settings == {"batch_size": 7, "device": "cpu"}
        with pytest.raises(UserError, match="batch_size: 0 inputs make no batch"):
            adaptbench.run("says:no", "shapes-pope(scenes=1)", out=answered.path, batch_size=0)

    def test_the_table_has_costs_and_is_shown_in_a_notebook(self, answered):
        table = answered.to_pandas()
        assert {"parameters", "seconds", "peak_memory", "flops"} <= set(table.columns)
        assert "says:yes" in answered._repr_html_()

    def test_two_models_are_compared(self, answered):
        compared = adaptbench.compare(answered, baseline_model="says:no", candidate_model="says:yes", samples=1)
        row, *others = compared.to_pandas().to_dict("records")
        assert (row["n"], row["lost"], row["gained"], row["verdict"]) == (18, 9, 9, "not told apart")
        assert {other["metric"]: other["difference"] for other in others}["yes ratio"] == 1
        assert compared.tasks[0].flips.samples[0].question.startswith("Is there a")
        assert compared == adaptbench.compare(f"{answered.path}#says:no", f"{answered.path}#says:yes", samples=1)
        assert "not told apart" in compared._repr_html_()

    def test_a_report_is_written(self, answered, tmp_path):
        out = adaptbench.report(answered, tmp_path / "c.md", "comparison", baseline="says:no")
        assert out == tmp_path / "c.md"
        assert "says:yes" in out.read_text()
        with pytest.raises(UserError, match=r"'comparison' is not written as '.csv'"):
            adaptbench.report(answered, tmp_path / "c.csv", "comparison", baseline="says:no")

    def test_outputs_are_scored_again_by_every_rule(self, answered):
        cell = answered.path / "cells" / answered.results[0].key
        scored = adaptbench.score("shapes-pope(scenes=1)", cell, rule="all")
        assert [one["rule"] for one in scored] == ["official/1", "lmms-eval/1", "vlmevalkit/1"]
        assert {one["metrics"]["accuracy"]["value"] for one in scored} == {0.5}
