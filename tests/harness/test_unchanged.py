"""What was done before and is unchanged is not done again; whatever changed, is."""

import json
import sys

import pytest
import typer
from adaptbench.harness import unchanged
from adaptbench.harness.cli.crews import CrewOptions
from adaptbench.harness.cli.reporting import ReportOptions, write_reports
from adaptbench.harness.cli.running import RunOptions, run_command
from adaptbench.harness.identity import Settings
from adaptbench.harness.planning import Request
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.samples import SampleLimit
from adaptbench.harness.store import RunDirectory

TASK = "digits(ways=3,shots=1,episodes=12)"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")


def options(out, **changes):
    fields = dict.fromkeys(RunOptions.__dataclass_fields__)
    fields |= {"suite": "", "models": ("constant",), "tasks": (TASK,), "out": out, "dry_run": False, "as_json": False}
    fields |= {"timing": True, "crew": CrewOptions()}
    fields |= dict.fromkeys(("budgets", "seeds", "waive", "plugins"), ())
    return RunOptions(**(fields | changes))


@pytest.fixture
def path(tmp_path, capsys):
    run_command(options(tmp_path / "run"))
    capsys.readouterr()
    return tmp_path / "run"


def test_a_finished_run_is_recognised_and_nothing_of_it_is_planned(path, capsys, monkeypatch):
    monkeypatch.setattr("adaptbench.harness.cli.running.plan", None)
    before = (path / "manifest.json").read_bytes()
    run_command(options(path))
    said = capsys.readouterr().out
    assert "1 cell in" in said
    assert "all done before" in said
    assert "constant on" in said
    assert (path / "manifest.json").read_bytes() == before, "no session worked on it"


@pytest.mark.parametrize("changes", [{"limit": 3}, {"batch_size": 2}, {"seeds": (1,)}, {"models": ("random",)}])
def test_what_was_not_asked_before_is_run(path, capsys, changes):
    run_command(options(path, **changes))
    assert "all done before" not in capsys.readouterr().out


def test_a_suite_that_asks_a_model_less_is_planned_again(tmp_path, capsys):
    suite = tmp_path / "mine.yaml"
    other = "digits(ways=3,shots=1,episodes=10)"
    suite.write_text(f"name: mine\nmodels: [constant, random]\ntasks: ['{TASK}', '{other}']\n")
    asked = options(tmp_path / "run", suite=str(suite), models=(), tasks=())
    run_command(asked)
    suite.write_text(f"{suite.read_text()}only: {{random: '{other}'}}\n")
    capsys.readouterr()
    run_command(asked)
    assert capsys.readouterr().out.startswith("3 cells in")


def test_a_damaged_cell_is_not_called_done(path, capsys):
    (records,) = path.glob("cells/*/records.jsonl")
    records.write_bytes(records.read_bytes()[:-10])
    with pytest.raises(typer.Exit) as stopped:
        run_command(options(path))
    assert stopped.value.exit_code == 2
    assert "not those that result.json was made from" in capsys.readouterr().err


def test_another_version_of_the_package_runs_it_again(path, capsys, monkeypatch):
    monkeypatch.setattr(unchanged, "installed", lambda: "another")
    run_command(options(path))
    assert "all done before" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("models", "tasks"),
    [((object(),), (TASK,)), (("hf:somewhere",), (TASK,)), (("constant",), (f"digits(x={sys.executable})",))],
)
def test_what_depends_on_more_than_the_package_is_never_recognised(models, tasks):
    registry = load_plugins().registry
    assert unchanged.asked_for(registry, Request(models, tasks), Settings(), SampleLimit()) == ""
    assert unchanged.asked_for(registry, Request(("constant",), (TASK,)), Settings(), SampleLimit()) != ""


def test_what_a_model_of_the_package_is_told_to_say_is_of_the_package():
    registry = load_plugins().registry
    assert unchanged.asked_for(registry, Request(("says:yes",), ("shapes-pope",)), Settings(), SampleLimit()) != ""


def test_a_report_is_made_again_only_if_something_changed(path, monkeypatch, capsys):
    out, made = path / "board.md", []
    from adaptbench.leaderboards import leaderboard as module

    real = module.leaderboard
    monkeypatch.setattr(module, "leaderboard", lambda request, **options: made.append(1) or real(request, **options))
    write = lambda: write_reports(ReportOptions([path], [out]))  # noqa: E731
    write()
    write()
    assert len(made) == 1
    assert capsys.readouterr().out == f"{out}\n{out}\n"
    out.write_text("changed by hand")
    write()
    assert len(made) == 2
    run_command(options(path, models=("random",)))
    write()
    assert len(made) == 3
    (path / ".reports.json").write_text("damaged")
    write()
    assert len(made) == 4


def test_what_was_planned_is_known_before_it_is_started(tmp_path):
    from adaptbench.harness.results import CellId

    run = RunDirectory(tmp_path / "run")
    cells = [CellId(model="m", task=task) for task in ("a", "b")]
    run.ask_for(cells[:1])
    run.ask_for(cells)
    assert [cell["task"] for cell in json.loads((run.path / "plan.json").read_text())["cells"]] == ["a", "b"]
