"""``adaptbench run`` and ``adaptbench report``."""

from __future__ import annotations

import json

import pytest

PLUGIN = """
import adaptbench
import numpy as np
from PIL import Image

class Model:
    def embed(self, images):
        return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])

class Spending(adaptbench.Method):
    budget: adaptbench.Budget = 1.0

    def apply(self, model):
        return Model()

class Talker:
    def generate(self, prompts):
        return [prompt.text for prompt in prompts]

class Look(adaptbench.Task):
    card = adaptbench.TaskCard(capability="embed")
    def __init__(self, seed=0, count=20):
        grey = lambda g: Image.new("RGB", (8, 8), (g, g, g))
        self.inputs = [adaptbench.Input(f"grey-{g}", lambda g=g: grey(g)) for g in range(count)]
        self.samples = [adaptbench.Sample(f"{seed}-{g}", [g], target=g > 10) for g in range(count)]
    def outputs(self, samples, answers):
        return [bool(answers[sample.inputs[0]].mean() > 5) for sample in samples]

class Ask(adaptbench.Task):
    card = adaptbench.TaskCard(capability="generate", sample_noun="question")
    inputs = [adaptbench.Input(f"q{i}", lambda i=i: adaptbench.Prompt(f"q{i}")) for i in range(4)]
    samples = [adaptbench.Sample(f"q{i}", [i], target="q1") for i in range(4)]

@adaptbench.hookimpl
def register(registry):
    registry.model("m", Model, card=adaptbench.ModelCard(capabilities=("embed",)))
    registry.model("talker", Talker, card=adaptbench.ModelCard(capabilities=("generate",)))
    registry.method("spend", Spending, card=adaptbench.MethodCard(takes_budget=True))
    registry.task("look", Look, card=Look.card)
    registry.task("ask", Ask, card=Ask.card)
"""


@pytest.fixture
def bench(cli, tmp_path):
    """``adaptbench run`` with a small plugin."""
    (tmp_path / "small.py").write_text(PLUGIN)

    def run(*arguments, command="run"):
        return cli(command, *arguments, "--plugin", "small.py")

    return run


def test_dry_run_shows_cells_and_what_is_left_out_and_writes_nothing(bench, tmp_path):
    done = bench("--model", "m", "--model", "talker", "--task", "look", "--task", "ask", "--dry-run")
    assert done.status == 0
    assert done.out == (
        "2 cells would be run in runs/latest\n"
        "  1  m on look\n"
        "  2  talker on ask\n"
        "  left out: m x ask: the task needs generate, the model has embed\n"
        "  left out: talker x look: the task needs embed, the model has generate\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("device", ["cuda:99", "warp", "cpu:7"])
def test_a_device_that_is_not_here_is_refused_before_anything_loads(bench, tmp_path, device):
    done = bench("--model", "m", "--task", "look", "--device", device, "--dry-run")
    assert done.status == 2
    assert done.err.startswith(f"error: device {device}: ")
    assert bench("--model", "m", "--task", "look", "--device", device).status == 2
    assert not (tmp_path / "runs").exists()


def test_dry_run_as_json(bench):
    done = bench(
        "--model", "m+spend", "--task", "look", "--budget", 0.5, "--budget", 1, "--seed", 3, "--dry-run", "--json"
    )
    made = json.loads(done.out)
    assert [(cell["model"], cell["task"], cell["budget"], cell["seed"]) for cell in made["cells"]] == [
        ("m+spend", "look", 0.5, 3),
        ("m+spend", "look", 1.0, 3),
    ]
    assert (made["out"], made["left_out"]) == ("runs/latest", [])


def test_a_run_prints_its_plan_its_figures_and_what_to_do_next(bench):
    done = bench("--model", "m", "--task", "look", "--out", "runs/a b")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[:2] == ["1 cell in runs/a b", "  1  m on look"]
    assert "m on look  accuracy 75.00 [" in done.out
    assert lines[-1] == "board: adaptbench report 'runs/a b'"


def test_a_run_as_json_says_nothing_else_on_standard_output(bench):
    done = bench("--model", "m", "--task", "look", "--json", "--out", "r")
    (cell,) = json.loads(done.out)["cells"]
    assert cell["metrics"]["accuracy"]["value"] == 0.75
    assert cell["partial"] is None


@pytest.mark.parametrize(("option", "partial"), [("--limit", "--limit 4"), ("--sample", "--sample 4")])
def test_a_part_is_marked(bench, option, partial):
    done = bench("--model", "m", "--task", "look", option, 4, "--json", "--out", "r")
    (cell,) = json.loads(done.out)["cells"]
    assert (cell["samples"], cell["partial"]) == (4, partial)


def test_the_same_command_again_does_nothing_twice(bench):
    first = bench("--model", "m", "--task", "look", "--json", "--out", "r")
    again = bench("--model", "m", "--task", "look", "--json", "--out", "r")
    assert json.loads(first.out) == json.loads(again.out)
    assert "(complete before)" in again.err


def test_a_generating_model(bench):
    done = bench("--model", "talker", "--task", "ask", "--json", "--out", "r")
    (cell,) = json.loads(done.out)["cells"]
    assert cell["metrics"]["accuracy"]["value"] == 0.25


class TestSuites:
    SUITE = "name: My suite\nmodels: [m+spend]\ntasks: [look]\nbudgets: [0.5]\nseeds: [2]\n"

    def cells(self, bench, tmp_path, *arguments, text=SUITE):
        (tmp_path / "mine.yaml").write_text(text)
        done = bench("mine.yaml", *arguments, "--dry-run", "--json")
        assert done.status == 0, done.err
        made = json.loads(done.out)
        return made["out"], [(c["model"], c["task"], c["budget"], c["seed"]) for c in made["cells"]]

    def test_the_run_is_named_after_it(self, bench, tmp_path):
        assert self.cells(bench, tmp_path) == ("runs/My-suite", [("m+spend", "look", 0.5, 2)])

    def test_options_add_models_and_tasks_and_replace_numbers(self, bench, tmp_path):
        out, cells = self.cells(bench, tmp_path, "--model", "m", "--budget", 0.9, "--seed", 7, "--out", "elsewhere")
        assert out == "elsewhere"
        assert cells == [("m+spend", "look", 0.9, 7), ("m", "look", 1.0, 7)]

    def test_an_option_may_name_what_the_suite_has(self, bench, tmp_path):
        asked = ("--model", "m + spend", "--model", "m", "--task", "look()")
        _, cells = self.cells(bench, tmp_path, *asked)
        assert cells == [("m+spend", "look", 0.5, 2), ("m", "look", 1.0, 2)]

    def test_its_reports_are_those_that_there_are(self, bench, tmp_path):
        (tmp_path / "mine.yaml").write_text(f"{self.SUITE}reports: [histroy]\n")
        done = bench("mine.yaml")
        assert done.status == 2
        assert "unknown report 'histroy' (did you mean 'history'?)" in done.err


def test_models_at_a_size_are_run_as_what_their_spec_then_says(cli):
    models = ("--model", "tiny-llava", "--model", "tiny-llava+fastv(k=1)", "--model", "tiny-llava+vtw")
    asked = ("run", *models, "--task", "shapes-pope(scenes=1)", "--average-tokens", 16)
    assert cli(*asked, "--dry-run").out == (
        "3 cells would be run in runs/latest\n"
        "  1  tiny-llava on shapes-pope(scenes=1)\n"
        "  2  tiny-llava+fastv(k=1,keep=11) on shapes-pope(scenes=1)\n"
        "  3  tiny-llava+vtw(k=2) on shapes-pope(scenes=1)\n"
        "  tiny-llava+fastv(k=1,keep=11): 16.3 visual tokens on average over blocks (16 asked)\n"
        "  tiny-llava+vtw(k=2): 12.8 visual tokens on average over blocks (16 asked; 20% off)\n"
    )
    _, fastv, _ = json.loads(cli(*asked, "--dry-run", "--json").out)["cells"]
    assert fastv["model"] == "tiny-llava+fastv(k=1,keep=11)"


def test_a_suite_says_the_size_and_an_option_another(cli, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmodels: [tiny-llava+divprune]\ntasks: [shapes-pope(scenes=1)]\ntokens: [16, 8]\n"
    )
    for given, kept in (((), [16, 8]), (("--flops", 0.6, "--text-tokens", 15), [21])):
        made = json.loads(cli("run", "mine.yaml", *given, "--dry-run", "--json").out)
        assert [cell["model"] for cell in made["cells"]] == [f"tiny-llava+divprune(keep={keep})" for keep in kept]


def test_a_prompt_is_refused_without_a_size_of_it(cli):
    done = cli("run", "--model", "tiny-llava", "--task", "shapes-pope(scenes=1)", "--text-tokens", 9, "--dry-run")
    assert done.status == 2
    assert done.err == (
        "error: --text-tokens and --visual-tokens describe the prompt of a size, and none is asked; "
        "ask for one: --tokens, --average-tokens, --end-tokens or --flops\n"
    )


class TestReport:
    def test_alone_it_is_of_the_latest_run_with_the_reports_of_its_suite(self, bench, tmp_path):
        (tmp_path / "mine.yaml").write_text("name: mine\nmodels: [m]\ntasks: [look]\nreports: [history]\n")
        bench("mine.yaml", "--no-timing")
        bench("--model", "m", "--task", "look", "--no-timing")
        assert bench(command="report").out == "runs/latest/leaderboard.html\n"
        bench("mine.yaml", "--no-timing")
        assert bench(command="report").out == "runs/mine/leaderboard.html\nruns/mine/history.html\n"
        assert (tmp_path / "runs" / "mine" / "history.html").is_file()
        assert bench("runs/mine", "--out", "board.md", command="report").out == "board.md\n"

    def test_without_a_run_it_is_one_line(self, cli):
        done = cli("report")
        assert done.status == 2
        assert "there is no run to report on" in done.err

    def test_an_unknown_ending(self, bench):
        bench("--model", "m", "--task", "look", "--out", "r")
        done = bench("r", "--out", "board.htlm", command="report")
        assert done.status == 2
        assert "board.htlm: a report is not written as '.htlm' (did you mean '.html'?)" in done.err

    def test_a_name_without_an_ending_is_a_folder(self, bench, tmp_path):
        bench("--model", "m", "--task", "look", "--out", "r")
        done = bench("r", "--out", "board", command="report")
        assert (done.status, done.out) == (0, "board/index.html\n")
        assert (tmp_path / "board" / "index.html").is_file()

    def test_a_plugins_own_format(self, cli, bench, tmp_path):
        bench("--model", "m", "--task", "look", "--out", "r")
        (tmp_path / "count.py").write_text(
            "import adaptbench\n"
            "def count(request):\n    return str(len(request.runs))\n"
            "@adaptbench.hookimpl\ndef register(registry):\n    registry.report('c', count, formats=['.count'])\n"
        )
        done = cli("report", "r", "r", "--out", "board.count", "--plugin", "count.py", "--plugin", "small.py")
        assert (done.status, done.out) == (0, "board.count\n")
        assert (tmp_path / "board.count").read_text() == "2"


def test_a_folder_that_was_removed_is_one_line(cli, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = cli("run", "--model", "pixels", "--task", "digits-5way-1shot", "--limit", "2", "--out", "r")
    assert (done.status, done.err) == (2, "error: current folder: No such file or directory\n")
