"""``adaptbench score``: outputs made elsewhere, and a run's own outputs again."""

from __future__ import annotations

import json

import pytest
from adaptbench import run as run_models

PLUGIN = """
import adaptbench
import numpy as np
from PIL import Image

class Model:
    def embed(self, images):
        return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])

class Look(adaptbench.Task):
    card = adaptbench.TaskCard(
        capability="embed", sample_noun="question", rule="mine", rule_version=3,
        metrics=(adaptbench.Metric(name="accuracy"), adaptbench.Metric(name="length", unit="")),
    )
    def __init__(self, seed=0):
        greys = range(seed, 40 + seed)
        self.inputs = [adaptbench.Input(f"grey-{g}", lambda g=g: Image.new("RGB", (8, 8), (g, g, g))) for g in greys]
        self.samples = [
            adaptbench.Sample(f"s{i}", [i], target=i > 10, group=f"g{i // 4}") for i in range(40)
        ]
    def outputs(self, samples, answers):
        return ["yes\\u2028" if answers[s.inputs[0]].mean() > 5 else "no" for s in samples]
    def parse(self, sample, output):
        return {"yes": True, "no": False}.get(output.strip()) if isinstance(output, str) else None
    def score(self, sample, parsed):
        return None if parsed is None else {"accuracy": float(parsed == sample.target), "length": 1.5}

@adaptbench.hookimpl
def register(registry):
    registry.model("m", Model, card=adaptbench.ModelCard(capabilities=("embed",)))
    registry.task("look", Look, card=Look.card)
"""


@pytest.fixture
def score(cli, tmp_path):
    """``adaptbench score look`` on a file with this content."""
    (tmp_path / "small.py").write_text(PLUGIN)

    def run(content, *arguments):
        path = tmp_path / "outputs.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return cli("score", "look", "--predictions", path, "--plugin", "small.py", *arguments)

    return run


@pytest.fixture
def cell(cli, tmp_path):
    """Folder and figures of a cell that was run."""
    (tmp_path / "small.py").write_text(PLUGIN)
    done = cli("run", "--model", "m", "--task", "look", "--plugin", "small.py", "--out", "r", "--json")
    assert done.status == 0, done.err
    (folder,) = (tmp_path / "r" / "cells").iterdir()
    return folder, json.loads(done.out)["cells"][0]


def line(sample, output):
    return json.dumps({"sample": sample, "output": output}) + "\n"


@pytest.mark.parametrize("what", ["", "records.jsonl"])
def test_a_cells_own_folder_gives_its_figures_again(cli, cell, what):
    folder, result = cell
    done = cli("score", "look", "--predictions", folder / what, "--plugin", "small.py", "--json")
    assert done.status == 0, done.err
    scored = json.loads(done.out)
    assert scored["metrics"] == result["metrics"]
    assert (scored["unscored"], scored["unparsed"]) == (result["unscored"], result["unparsed"])
    assert (scored["matched"], scored["missing"], scored["unmatched"]) == (40, 0, 0)
    assert (scored["task"], scored["rule"]) == ("look", "mine/3")


def test_records_of_other_inputs_are_refused(cli, cell):
    folder, _ = cell
    done = cli("score", "look", "--seed", 1, "--predictions", folder, "--plugin", "small.py")
    assert done.status == 2
    assert "the output of sample 's0' is about other inputs than this task's; check task and seed" in done.err


def test_the_figures_for_a_reader(score, tmp_path):
    done = score(line("s0", "no") + line("s20", "no") + line("s30", "yes") + line("s39", None) + line("other", "no"))
    assert done.status == 0
    assert done.out == (
        "look, rule mine/3\n"
        f"  answers  5 outputs in {tmp_path / 'outputs.jsonl'}; left out: 1 for no sample of this task (other)\n"
        "  samples    40\n  matched    4\n  missing    36\n  unmatched  1\n  unparsed   1\n  unscored   1\n"
        "  note: no prediction for 36 questions (s1, s2, s3, s4, s5 and 31 more)\n"
        "  accuracy  66.67 [4.38, 98.87]  %  (95 % Wilson interval over 3 questions in 3 groups)\n"
        "  length    1.50 [1.50, 1.50]       (95 % t interval over 3 questions in 3 groups)\n"
    )


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_no_matter(score):
    text = "\ufeff" + line("s0", "no").replace("\n", "\r\n") + "\r\n\n" + line("s1", "no").rstrip()
    assert json.loads(score(text, "--json").out)["matched"] == 2


def test_a_line_separator_within_a_text_ends_no_line(score):
    text = '{"sample": "s0", "output": "no\u2028\u0085\x7f"}\n' + line("s1", "no")
    assert json.loads(score(text, "--json").out)["matched"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line("s0", 1) + line("s1", 1) + line("s0", 2), "outputs.jsonl, line 3: sample 's0' appears twice"),
        (line("s0", 1) + "{oops\n", "outputs.jsonl, line 2: not JSON"),
        (line("s0", 1) + "\n[1]\n", "outputs.jsonl, line 3: not an object with the fields sample and output"),
        ('{"sample": 1, "output": 2}', "line 1: not an object"),
        ('{"sample": "s0"}', "line 1: not an object"),
        ('{"sample": "s0", "output": NaN}', "line 1: not JSON: NaN is not a number that JSON has"),
        ('{"sample": "s0", "output": ' + "[" * 100_000, "line 1: not JSON"),
        ('{"sample": "s0", "output": ' + "9" * 10_000 + "}", "line 1: not JSON"),
        (b"\xff\xfe{", "outputs.jsonl: not UTF-8 text"),
        ("", "none of its 0 outputs is for a sample of this task"),
        (line("other", 1), "none of its 1 outputs is for a sample of this task; check task and seed"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(score, content, message):
    done = score(content)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_folder_without_records(cli, tmp_path):
    (tmp_path / "small.py").write_text(PLUGIN)
    done = cli("score", "look", "--predictions", tmp_path, "--plugin", "small.py")
    assert done.status == 2
    assert "records.jsonl: cannot read it" in done.err


RULES = """
import adaptbench
from adaptbench.harness.contracts import Predictions

class Talk(adaptbench.Task):
    card = adaptbench.TaskCard(
        capability="generate",
        metrics=(adaptbench.Metric(name="accuracy"), adaptbench.Metric(name="f1", kind="derived")),
        rules={"official": 1, "lenient": 2},
    )
    def __init__(self, annotations="", rule="official"):
        self.rule, self.answer = rule, annotations or "yes"
        self.inputs = [adaptbench.Input(str(i), lambda i=i: adaptbench.Prompt(f"question {i}")) for i in range(12)]
        self.samples = [
            adaptbench.Sample(f"s{i}", [i], self.answer, subsets={"half": "first" if i < 6 else "second"})
            for i in range(12)
        ]
    def parse(self, sample, output):
        return output if self.rule == "official" else output.strip().lower()
    def aggregate(self, scores):
        return {"f1": scores.mean("accuracy") / 2}
    def predictions(self, path):
        rows = [line.split(":") for line in path.read_text().splitlines()]
        strangers = tuple(i for i, _ in rows if i == "x")
        return Predictions({i: text for i, text in rows if i != "x"}, strangers, ("a note",))

@adaptbench.hookimpl
def register(registry):
    registry.task("talk", Talk, card=Talk.card)
"""


class TestAFormatOfTheTasksOwn:
    @pytest.fixture
    def talk(self, cli, tmp_path):
        (tmp_path / "talk.py").write_text(RULES)
        (tmp_path / "said.txt").write_text(
            "".join(f"s{i}:{'yes' if i % 3 else ' Yes'}\n" for i in range(12)) + "x:yes\n"
        )
        return lambda *arguments: cli(*arguments, "--plugin", "talk.py")

    def test_is_read_and_scored_by_each_rule(self, talk):
        done = talk("score", "talk", "--predictions", "said.txt", "--rule", "all", "--json")
        official, lenient = json.loads(done.out)
        assert (official["rule"], official["metrics"]["accuracy"]["value"]) == ("official/1", 8 / 12)
        assert (lenient["rule"], lenient["metrics"]["accuracy"]["value"]) == ("lenient/2", 1)
        assert (official["unmatched"], official["notes"]) == (1, ["a note"])
        assert official["metrics"]["f1"]["value"] == 4 / 12
        assert official["breakdown"]["half"]["first"]["accuracy"]["n"] == 6

    def test_is_shown_with_its_subsets_a_column_a_rule(self, talk):
        done = talk("score", "talk", "--predictions", "said.txt", "--rule", "all", "--breakdown")
        assert "talk, rule official/1, lenient/2" in done.out
        assert "note: a note" in done.out
        assert "half = second" in done.out
        assert done.out.count("accuracy  66.67 [") == 3
        assert [line.split() for line in done.out.splitlines()].count(
            ["official/1", "lenient/2", "unit", "interval"]
        ) == 3

    def test_can_be_scored_against_other_annotations(self, talk):
        done = talk("score", "talk", "--predictions", "said.txt", "--annotations", " Yes", "--json")
        assert json.loads(done.out)["metrics"]["accuracy"]["value"] == 4 / 12

    def test_stands_on_a_board_as_a_model(self, talk, tmp_path):
        done = talk("run", "--model", "replay:said.txt", "--task", "talk", "--task", "talk(rule=lenient)", "--out", "r")
        assert done.status == 0, done.err
        runs = [json.loads(path.read_text()) for path in sorted((tmp_path / "r" / "cells").glob("*/result.json"))]
        assert sorted(run["metrics"]["accuracy"]["value"] for run in runs) == [8 / 12, 1]
        assert {run["task_card"]["rule"] for run in runs} == {"official", "lenient"}
        assert {run["flops_missing"] for run in runs} == {"not counted: the answers were given elsewhere"}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--rule", "oficial"), "no rule 'oficial' (did you mean 'official'?)"),
            (("--submission", "out.json"), "no server scores this benchmark"),
            (("--questions", "q.jsonl"), "unknown argument 'questions'"),
        ],
    )
    def test_bad_arguments_are_one_line(self, talk, arguments, message):
        done = talk("score", "talk", "--predictions", "said.txt", *arguments)
        assert done.status == 2
        assert message in done.err
        assert done.err.count("\n") == 1

    def test_predictions_that_are_not_there_are_one_line(self, talk):
        done = talk("score", "talk", "--predictions", "none.txt")
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "none.txt: there is no such file or folder" in done.err


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The folder of a cell whose raw outputs rules of POPE score otherwise."""
    run = run_models("says:no", "shapes-pope(scenes=1)", out=tmp_path_factory.mktemp("pope") / "run")
    return run.path / "cells" / run.results[0].key


class TestDisagreements:
    def test_are_written_with_what_each_rule_read(self, cli, answered, tmp_path):
        out = tmp_path / "d.json"
        done = cli("score", "shapes-pope(scenes=1)", "--predictions", answered, "--disagreements", out)
        rows = json.loads(out.read_text())
        assert f"{out}: {len(rows)} of 18 scored otherwise" in done.out
        assert rows[0]["question"].startswith("Is there a ")
        assert (rows[0]["expected"], rows[0]["output"]) == ("yes", "no")
        ratios = {rule: found["scores"]["yes ratio"] for rule, found in rows[0]["rules"].items()}
        assert ratios == {"official": 0.0, "lmms-eval": 1.0, "vlmevalkit": 0.0}  # lmms-eval counts what is expected

    def test_are_a_table_in_markdown(self, cli, answered, tmp_path):
        cli("score", "shapes-pope(scenes=1)", "--predictions", answered, "--disagreements", tmp_path / "d.md", "--json")
        head, _, first, *_ = (tmp_path / "d.md").read_text().splitlines()
        assert head == "| sample | question | expected | output | official | lmms-eval | vlmevalkit |"
        assert "| accuracy 0, yes ratio 1, unread 0: no |" in first

    @pytest.mark.parametrize(
        ("out", "task", "said"),
        [
            ("d.csv", "shapes-pope(scenes=1)", "a list of disagreements is not written as '.csv'"),
            ("d.md", "shapes-open(scenes=1)", "none of its"),
        ],
    )
    def test_that_cannot_be_written_are_refused(self, cli, answered, tmp_path, out, task, said):
        done = cli("score", task, "--predictions", answered, "--disagreements", tmp_path / out)
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert said in done.err
