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
