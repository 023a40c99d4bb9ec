"""``adaptbench report --table``: another report than the leaderboard."""

from __future__ import annotations

import json

import pytest
from adaptbench.harness.store import RunDirectory, Session

PLUGIN = """
import adaptbench

def counted(request, *, word="runs"):
    return f"{len(request.runs)} {word}"

@adaptbench.hookimpl
def register(registry):
    registry.report("counted", counted, formats=(".html", ".md", ".csv"), summary="how many runs")
"""


@pytest.fixture
def report(cli, tmp_path):
    """Call the command on two empty runs, with a plugin that has a report."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    for name in ("one", "two"):
        RunDirectory(tmp_path / name).begin(Session(id="s", started="", command="", environment={}))
    return lambda *arguments: cli("report", "--plugin", "mine.py", *arguments)


def test_is_written_beside_the_first_run(report, tmp_path):
    done = report("one", "two", "--table", "counted")
    assert (done.status, done.out, done.err) == (0, "one/counted.html\n", "")
    assert (tmp_path / "one" / "counted.html").read_text() == "2 runs"
    assert not (tmp_path / "one" / "leaderboard.html").exists()


def test_goes_to_every_file_that_is_named(report, tmp_path):
    done = report("one", "--table", "counted(word=of)", "--out", "a.md", "--out", "b.csv", "--json")
    assert json.loads(done.out) == ["a.md", "b.csv"]
    assert {(tmp_path / name).read_text() for name in ("a.md", "b.csv")} == {"1 of"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one", "--table", "findnigs"), "did you mean 'findings'?"),
        (("--table", "seeds"), "there is no run to report on"),
        (
            ("one", "--table", "counted", "--out", "x.pdf"),
            "x.pdf: the report 'counted' is not written as '.pdf'; use one",
        ),
        (("one", "--table", "counted(words=a)"), "unknown argument 'words' (did you mean 'word'?)"),
        (("one", "--table", "counted", "--hardware", "V100"), "the report 'counted' has no predicted times"),
        (("one", "--table", "seeds"), "no cell is complete"),
    ],
)
def test_what_cannot_be_is_one_line(report, arguments, said):
    done = report(*arguments)
    assert done.status == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_one_that_needs_no_run_is_shown(report):
    done = report("--table", "counted")
    assert (done.status, done.out, done.err) == (0, "0 runs", "")


def test_reports_are_listed_with_their_formats(cli):
    done = cli("list", "reports", "--json")
    found = {entry["name"]: entry["card"]["formats"] for entry in json.loads(done.out)}
    assert set(found) == {
        *("leaderboard", "comparison", "history", "model-card", "reduction", "reduction-claims", "reduction-published"),
        *("seeds", "findings", "efficiency", "diversity"),
    }
    assert found["seeds"] == [".html", ".md", ".csv", ".json", ".tex"]
