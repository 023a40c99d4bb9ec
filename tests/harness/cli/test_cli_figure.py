"""``adaptbench figure``: a real run, drawn, and what cannot be drawn."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ET
from inspect import signature
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness import identity
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.registry import Registrar
from adaptbench.harness.results import CellId
from adaptbench.harness.store import RunDirectory, Session

ROOT = Path(adaptbench.__file__).parent
DOCS = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
MODEL, TASK = "tiny-llava+adallava-l(scheduler=random)", "shapes-pope(scenes=1)"
PAIRS = ("compositional", "gap", "mistakes", "scale")
FIGURES = {
    "ablation",
    "answers",
    "attention",
    "costs",
    "history",
    "kept",
    "pareto",
    "plans",
    "radar",
    "random",
    "retained",
    "selection",
    "tasks-and-samples",
    *PAIRS,
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A model at two budgets on a task of a dozen and a half questions."""
    path = tmp_path_factory.mktemp("figures") / "run"
    adaptbench.run(MODEL, TASK, budgets=[0.5, 1.0], out=path)
    return path


def words(path):
    return "".join(ET.parse(path).getroot().itertext())


def test_the_list_says_what_each_shows(cli):
    done = cli("figure", "--list")
    assert (done.status, done.err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines()[1:])
    assert set(shown) == FIGURES
    assert done.out == cli("list", "figures").out
    assert {row["name"] for row in json.loads(cli("figure", "--list", "--json").out)} == FIGURES


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("pareto", ["Accuracy against cost", "FLOPs per input", MODEL]),
        ("pareto(against=share)", ["language model's FLOPs, of the base model"]),
        ("plans(inputs=2)", ["Blocks that ran. Mean over 18 inputs.", f"{MODEL}@0.5"]),
    ],
)
def test_a_run_is_drawn(cli, swept, figure, expected):
    done = cli("figure", figure, swept, "--out", "new/figure.svg")
    assert (done.status, done.out, done.err) == (0, "new/figure.svg\n", "")
    assert [text for text in expected if text not in words("new/figure.svg")] == []


def test_the_plans_are_those_of_the_model(cli, swept):
    run = RunDirectory.existing(swept)
    by_budget = {cell.budget: next(iter(run.journal(key).records())) for key, cell in run.manifest().cells.items()}
    assert [work.layer for work in by_budget[0.5].costs[0].ran.layers] == [0, 1, 2, 3, 4]
    assert len(by_budget[1.0].costs[0].ran.layers) == 10


def test_attention_and_answers_build_what_they_show_again(cli, swept):
    done = cli("figure", "attention", swept, "--out", "attention.svg")
    assert (done.status, done.err) == (0, "")
    assert len(ET.parse("attention.svg").findall(".//{http://www.w3.org/2000/svg}image")) == 11
    assert "Block 9" in words("attention.svg")
    assert "other weights" not in words("attention.svg")
    sample = next(iter(RunDirectory.existing(swept).journals()[0].records())).sample
    assert cli("figure", "answers", swept, "--sample", sample, "--out", "answers.html").status == 0
    page = Path("answers.html").read_text("utf-8")
    assert "data:image/png;base64," in page
    assert "Is there a" in page


def test_attention_says_if_it_is_not_the_model_of_the_run(cli, swept, monkeypatch):
    monkeypatch.setattr(identity, "package_source_digest", lambda: "another version")
    assert cli("figure", "attention", swept, "--out", "attention.html").status == 0
    assert "Drawn with other weights, settings or code than the run" in Path("attention.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no figure to draw; name one; `adaptbench figure --list` shows them"),
        (["pareto(against="], "figure spec 'pareto(against='"),
        (["praeto"], "unknown figure 'praeto' (did you mean 'pareto'?)"),
        (["pareto"], "there is no run to draw"),
        (
            ["pareto", "none"],
            "there is no file to write; give --out FILE, which ends in one of .svg, .pdf, .png, .html",
        ),
        (["pareto", "none", "--out", "x.gif"], "x.gif: a figure is not written as '.gif'; use one of .svg"),
        (["pareto", "none", "--out", "x.svg"], "none: not a run directory"),
        (["pareto(by=x)", "none", "--out", "x.svg"], "unknown argument 'by'; it takes against"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_status_2(cli, arguments, message):
    done = cli("figure", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("radar", "a radar takes 3 tasks whose metric goes up, and these runs have 1; run more tasks"),
        ("ablation", "differ in one argument alone; run such models"),
        ("random", "no random scheduler of these runs has several seeds"),
        ("plans(budget=0.6)", "no plans at budget 0.6; choose budget= from 0.5, 1"),
        ("costs", "this figure shows costs, not runs; adaptbench cost SPEC --out FILE"),
        ("pareto --task shapes-pop", "the runs hold no task 'shapes-pop'"),
        ("answers --sample none", "there is no answered sample 'none'"),
        *((name, "no task of these runs composes two simple ones; run some: adaptbench run") for name in PAIRS),
    ],
)
def test_what_a_run_cannot_give_is_one_line_that_says_how_to_get_it(cli, swept, figure, message):
    name, *options = shlex.split(figure)
    done = cli("figure", name, swept, *options, "--out", "x.svg")
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not Path("x.svg").exists()


def test_a_run_with_no_complete_cell_is_refused(cli, tmp_path):
    run = RunDirectory(tmp_path / "started")
    run.begin(Session(id="s", started="2026-01-01T00:00:00+00:00", command="", environment={}))
    run.claim("0" * 32, CellId(model="m", task="t"))
    done = cli("figure", "pareto", tmp_path / "started", "--out", "x.svg")
    assert done.status == 2
    assert "no cell is complete" in done.err


class TestDocs:
    def test_name_every_figure_and_every_argument(self):
        rows = set(re.findall(r"^\| `([\w-]+)` \| (?!`)", DOCS, re.MULTILINE))
        assert rows == FIGURES
        shown = set(re.findall(r"^\| `([\w-]+)` \| `(\w+)` \|", DOCS, re.MULTILINE))
        entries = load_plugins().registry.entries("figure")
        assert shown == {(entry.name, argument) for entry in entries for argument in entry.takes()}

    def test_show_a_figure_of_ones_own_that_works(self, cli, swept):
        code = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)[1]
        Path("my_figure.py").write_text(code)
        command = re.search(r"^    adaptbench (figure --plugin .*)$", DOCS, re.MULTILINE)[1]
        arguments = [swept if word == "runs/sweep" else word for word in shlex.split(command)]
        done = cli(*arguments)
        assert (done.status, done.out, done.err) == (0, "counts.html\n", "")
        assert f"{MODEL} on {TASK}: 18 lines" in Path("counts.html").read_text()

    def test_show_a_figure_that_stands_on_the_board(self, cli, swept):
        _, code = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
        Path("my_panels.py").write_text(code)
        commands = re.findall(r"^    adaptbench (.* my_panels.py .*)$", DOCS, re.MULTILINE)
        for command in commands:
            done = cli(*(swept if word == "runs/sweep" else word for word in shlex.split(command)))
            assert (done.status, done.err) == (0, "")
        assert "letters" in words("lengths.svg")
        page = Path("board.html").read_text("utf-8")
        assert "<h2>Answers</h2>" in page
        assert "Mean length of an answer in letters." in page
        assert len(commands) == 2

    def test_the_registration_is_in_the_page_on_plugins(self):
        page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
        shown = re.search(r"^\| `registry\.figure\((.*?)\)`", page, re.MULTILINE)[1]
        assert [part.partition("=")[0] for part in shown.split(", ") if part != "*"] == [
            name for name in signature(Registrar.figure).parameters if name != "self"
        ]
