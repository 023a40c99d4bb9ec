"""``adaptbench import``, with an importer of a plugin."""

import json

import pytest

PLUGIN = """
from adaptbench import hookimpl
from adaptbench.harness.importing import ImportedCell, ImportedMetric, ImportedSample, LeftOut


def read(file):
    content = file.content
    if not isinstance(content, dict) or "toy" not in content:
        return None
    said = {"output": "yes", "parsed": "yes", "target": "yes"}
    samples = [ImportedSample(id=str(i), content=f"What is {i}?", **said) for i in range(len(content["toy"]))]
    metric = ImportedMetric(name="hits", values=content["toy"], stated=content["mean"], better="higher", mean=True)
    shared = {"where": str(file.path), "tool": "toy", "version": "1", "task_version": "3", "capability": "generate"}
    cell = ImportedCell(model=content["model"], task="quiz", samples=samples, metrics=[metric], **shared)
    return [cell, LeftOut(str(file.path), "other", "it has no samples")]


@hookimpl
def register(registry):
    registry.importer("toy", read)
"""


@pytest.fixture
def toy(cli, tmp_path):
    """Write a file of the toy tool, and import it."""
    (tmp_path / "toy.py").write_text(PLUGIN)

    def run(scores, mean, *options, model="m", out="run"):
        (tmp_path / "toy.json").write_text(json.dumps({"toy": scores, "mean": mean, "model": model}))
        return cli("import", "toy.json", "--out", out, "--plugin", "toy.py", *options)

    return run


def test_a_run_is_made_and_says_what_is_in_it(toy, tmp_path):
    done = toy([1, 0, 1, 1], 0.75)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "run: 1 of 1 cells are new",
        "  toy:m  toy:quiz  hits  0.75  4 samples",
        "left out: other of toy.json: it has no samples",
    ]
    assert toy([1, 0, 1, 1], 0.75).out.startswith("run: 0 of 1 cells are new")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"][0]["command"] == (
        "adaptbench import toy.json --out run"
    )


def test_json_tells_the_rule(toy):
    (cell,) = json.loads(toy([1, 0], 0.5, "--json").out)["cells"]
    assert (cell["rule"], cell["value"], cell["new"]) == ("toy hits v3", 0.5, True)


def test_another_mean_is_refused_and_nothing_is_written(toy, tmp_path):
    done = toy([1, 0], 0.6)
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "error: toy.json: hits of task quiz is 0.6, but the mean of its 2 samples is 0.5; files of two runs are mixed,"
        " or one is damaged; get both again\n"
    )
    assert not (tmp_path / "run").exists()


def test_what_is_imported_is_compared_and_reported(toy, cli, tmp_path):
    toy([1, 0, 1, 0] * 5, 0.5, out="a")
    toy([1, 1, 1, 0] * 5, 0.75, out="b", model="n")
    done = cli("compare", "a", "b")
    assert done.status == 0, done.err
    assert "toy:quiz" in done.out
    assert cli("report", "a", "b", "--out", "board.md").status == 0
    board = (tmp_path / "board.md").read_text()
    assert "toy:m" in board
    assert "toy:n" in board


def test_what_was_asked_and_the_truth_are_shown_without_the_task(toy, cli, tmp_path):
    toy([1, 1, 1, 1] * 5, 1.0, out="a")
    toy([1, 1, 1, 0] * 5, 0.75, out="b", model="n")
    assert cli("compare", "a", "b", "--out", "c.md").status == 0
    rows = [line for line in (tmp_path / "c.md").read_text().splitlines() if line.startswith("| lost")]
    assert rows[0] == r"| lost | 3 | What is 3? | yes | yes | yes | the same answer was scored otherwise |"
    assert cli("report", "a", "--out", "board.html").status == 0
    page = (tmp_path / "board.html").read_text()
    assert "What is 19?" in page
    assert "Questions are not shown" not in page
    assert "<li>toy 1</li>" in page
    assert "adaptbench ?" not in page


def test_samples_that_were_damaged_are_not_shown(toy, cli, tmp_path):
    toy([1, 1, 1, 1] * 5, 1.0, out="a")
    toy([1, 1, 1, 0] * 5, 0.75, out="b", model="n")
    (path,) = (tmp_path / "b" / "samples").iterdir()
    kept = path.read_text()
    for text, reason in (
        ("{", "not the samples that were imported"),
        (kept.replace('"yes"', '"no"'), "not those of the run"),
    ):
        path.write_text(text)
        assert cli("compare", "a", "b", "--out", "c.md").status == 0
        page = (tmp_path / "c.md").read_text()
        assert "Without questions: " in page
        assert reason in page


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_nothing_to_import_is_one_line(cli, tmp_path, path):
    (tmp_path / "empty").mkdir()
    done = cli("import", path, "--out", "run")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
