"""A plugin that fails is one line that names it, whichever command runs its code."""

import pytest

PLUGIN = """
import adaptbench

def fails(*given, **arguments):
    raise KeyError("mine")

class Words(adaptbench.Task):
    card = adaptbench.TaskCard(summary="x", capability="embed")
    inputs = ()
    samples = (adaptbench.Sample("0", (), 0),)
    def __init__(self, parses=True):
        self.parses = parses
    def outputs(self, samples, answers):
        return []
    def parse(self, sample, output):
        return output if self.parses else fails()
    def score(self, sample, parsed):
        fails()

@adaptbench.hookimpl
def register(registry):
    registry.report("mine", fails, formats=[".txt"])
    registry.architecture("mine", fails)
    registry.task("mine", fails, card=Words.card)
    registry.task("words", Words, card=Words.card)
"""


@pytest.mark.parametrize(
    ("command", "who"),
    [
        (["report", "--table", "mine", "--out", "x.txt"], "report mine of plugin plugin"),
        (["cost", "mine"], "architecture mine of plugin plugin"),
        (["score", "mine", "--predictions", "said.jsonl"], "task mine"),
        (["score", "words", "--predictions", "said.jsonl"], "task words"),
        (["score", "words(parses=false)", "--predictions", "said.jsonl"], "task words(parses=false)"),
    ],
)
def test_it_is_named_in_one_line(cli, tmp_path, command, who):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "said.jsonl").write_text('{"sample": "0", "output": "yes"}\n')
    done = cli(*command, "--plugin", "plugin.py")
    assert (done.status, done.out) == (2, "")
    todo = "fix it and run the same command again (--debug shows the traceback)"
    assert done.err.splitlines() == [f"error: {who} failed with KeyError: 'mine'; {todo}"]


EXITS = """
import adaptbench, os, pathlib

class Leaves:
    def embed(self, images):
        if not pathlib.Path("left").exists():
            pathlib.Path("left").touch()
            os._exit(3)
        return [[1.0, 2.0]] * len(images)

@adaptbench.hookimpl
def register(registry):
    registry.model("leaves", Leaves, card=adaptbench.ModelCard(capabilities=("embed",)))
"""


def test_a_cell_whose_process_was_ended_is_told_of(cli, shell, tmp_path):
    (tmp_path / "leaves.py").write_text(EXITS)
    command = ["run", "--model", "leaves", "--task", "digits-5way-1shot", "--limit", "2", "--out", "r"]
    command += ["--plugin", "leaves.py"]
    assert shell(*command).status == 3
    told = cli("report", "r").err
    assert "leaves on digits-5way-1shot: not complete: 0 samples recorded so far" in told
    why = "its process was stopped, or its own code ended it"
    said = f"leaves on digits-5way-1shot began before and never ended (0 of 2 samples are recorded): {why}"
    assert said in cli(*command).err
    assert "never ended" not in cli(*command, "--seed", "0", "--seed", "1").err
