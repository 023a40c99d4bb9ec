"""Models over many runs: the table, the curve, and finding the runs."""

import csv
import io
from dataclasses import replace

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.store import Manifest, RunDirectory
from adaptbench.harness.store.documents import read_document, write_document
from adaptbench.leaderboards.figures.history import history as figure
from adaptbench.leaderboards.history import histories, history

HALF, MOST = [1.0, 0.0] * 20, [1.0] * 36 + [0.0] * 4


def dated(run, created, revision):
    """Say when a run was made, and at which revision."""
    path = run.path / "manifest.json"
    manifest = read_document(path, Manifest, "")
    (session,) = manifest.sessions
    environment = session.environment | {"git_revision": revision}
    sessions = (session.model_copy(update={"started": created, "environment": environment}),)
    write_document(path, manifest.model_copy(update={"created": created, "sessions": sessions}))


@pytest.fixture
def asked(plugins):
    """All runs of a folder, for a file of some ending."""
    return lambda folder, form: FigureRequest(runs=tuple(RunDirectory.within(folder)), plugins=plugins, form=form)


@pytest.fixture
def runs(new_run, tmp_path):
    """Three runs of one suite, the newest first by name; the second is better, the third has other samples."""
    made = {"c": ("2026-01-01", "aaa", HALF), "b": ("2026-02-01", "bbb", MOST), "a": ("2026-03-01", "ccc", MOST[:30])}
    for name, (date, revision, scores) in made.items():
        run = new_run(f"nightly/{name}")
        run.cell("m", scores)
        dated(run, f"{date}T03:04:05+00:00", revision)
    new_run("nightly/other").cell("n", HALF)
    (tmp_path / "nightly" / "app").mkdir()
    (tmp_path / "nightly" / "app" / "manifest.json").write_text('{"name": "a web page"}')
    return tmp_path / "nightly"


def test_runs_are_found_by_what_they_hold(runs):
    assert [run.path.name for run in RunDirectory.within(runs)] == ["a", "b", "c", "other"]
    assert [run.path.name for run in RunDirectory.within(runs / "b")] == ["b"]
    with pytest.raises(UserError, match="not a run directory"):
        RunDirectory.within(runs / "app" / "nowhere")


def test_a_run_is_suggested_by_its_name(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    runs.rename(runs.parent / "runs")
    with pytest.raises(UserError, match="did you mean runs/b"):
        RunDirectory.existing("b")


def test_each_change_is_against_the_run_before(runs):
    first, second, third = histories(RunDirectory.within(runs))[0].entries
    assert [entry.revision for entry in (first, second, third)] == ["aaa", "bbb", "ccc"]
    assert first.change is None
    assert (second.change.verdict, second.change.difference.value) == ("better", pytest.approx(0.4))
    assert third.change.refused.startswith("other samples")


def test_the_table_tells_it(runs, asked):
    rows = list(csv.DictReader(io.StringIO(history(asked(runs, ".csv")))))
    told = [(row["model"], row["began"], row["revision"], row["verdict"].partition(":")[0]) for row in rows]
    assert told == [
        ("m", "2026-01-01 03:04", "aaa", "first"),
        ("m", "2026-02-01 03:04", "bbb", "better"),
        ("m", "2026-03-01 03:04", "ccc", "not comparable"),
        ("n", "2026-01-02 03:04", "abc1234", "first"),
    ]
    text = history(asked(runs, ".md"))
    assert "4 runs, 2 models, 1 task" in text
    assert "+40.00" in text


def test_the_curve_joins_the_runs(runs, asked):
    assert "bbb" in figure(asked(runs, ".svg"))
    with pytest.raises(UserError, match="in two of them"):
        figure(replace(asked(runs, ".svg"), models=("n",)))
    with pytest.raises(UserError, match="hold no model 'mm'"):
        figure(replace(asked(runs, ".svg"), models=("mm",)))
