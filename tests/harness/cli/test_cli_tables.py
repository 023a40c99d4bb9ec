"""``adaptbench report --table``: another table than the board."""

from __future__ import annotations

import json

import pytest
from adaptbench.harness.store import RunDirectory, Session

PLUGIN = """
import adaptbench

def counted(runs, out, plugins):
    out.write_text(f"{len(runs)} runs")

@adaptbench.hookimpl
def register(registry):
    registry.table("counted", counted, summary="how many runs")
"""


@pytest.fixture
def report(cli, tmp_path):
    """Call the command on two empty runs, with a plugin that has a table."""
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
    done = report("one", "--table", "counted", "--out", "a.md", "--out", "b.csv", "--json")
    assert json.loads(done.out) == ["a.md", "b.csv"]
    assert {(tmp_path / name).read_text() for name in ("a.md", "b.csv")} == {"1 runs"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one", "--table", "findnigs"), "did you mean 'findings'?"),
        (("--table", "counted"), "there is no run to report on"),
        (("one", "--table", "counted", "--hardware", "V100"), "the table 'counted' has no predicted times"),
        (("one", "--table", "seeds"), "no cell is complete"),
    ],
)
def test_what_cannot_be_is_one_line(report, arguments, said):
    done = report(*arguments)
    assert done.status == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_tables_are_listed(cli):
    done = cli("list", "tables", "--json")
    assert {entry["name"] for entry in json.loads(done.out)} == {"seeds", "findings"}
