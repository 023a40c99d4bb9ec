"""Help and usage errors.

What is printed is kept in ``golden/``. After a wanted change write it anew and read the difference::

    ADAPTBENCH_GOLDEN=write python -m pytest tests/harness/cli/test_cli_help.py tests/harness/cli/test_cli_list.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = ["", "list", "run", "report", "compare", "gate", "import", "score", "doctor"]
COMMANDS += ["plugin", "plugin list", "plugin new", "plugin check"]


def same_as_golden(name, text):
    """Compare with what is kept, or keep it."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ADAPTBENCH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(cli, command):
    done = cli(*command.split(), "--help")
    assert (done.status, done.err) == (0, "")
    same_as_golden(f"help {command}".strip().replace(" ", "-"), done.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_short_option_shows_the_same(cli, command):
    assert cli(*command.split(), "-h").out == cli(*command.split(), "--help").out


@pytest.mark.parametrize("command", ["", "plugin"])
def test_no_command_shows_the_help_and_fails(cli, command):
    done = cli(*command.split())
    assert (done.status, done.err) == (2, "")
    assert done.out == cli(*command.split(), "--help").out


def test_every_line_of_a_summary_is_whole(cli):
    assert "..." not in cli("--help").out.partition("Commands:")[2]
    assert "..." not in cli("plugin", "--help").out.partition("Commands:")[2]


def test_the_version(cli):
    done = cli("--version")
    assert done.status == 0
    assert done.out.startswith("adaptbench 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lsit"], "error: No such command 'lsit'. Did you mean 'list'?; see `adaptbench --help`"),
        (["run", "--modle", "x"], "No such option: --modle"),
        (["run", "--limit", "many"], "--limit"),
        (["run", "--limit", "0"], "--limit"),
        (["run", "--sample", "-1"], "--sample"),
        (["run", "--seed", "-1"], "--seed"),
        (["run", "--batch-size", "0"], "--batch-size"),
        (["run", "--budget", "half"], "--budget"),
        (["run", "--model"], "Option '--model' requires an argument"),
        (["score"], "Missing argument 'task'; see `adaptbench score --help`"),
        (["report"], "see `adaptbench report --help`"),
        (["plugin", "nwe"], "see `adaptbench plugin --help`"),
        (["plugin", "new"], "see `adaptbench plugin new --help`"),
        (["list", "models", "more"], "see `adaptbench list --help`"),
        (["list", "modles"], "unknown kind 'modles' (did you mean 'models'?)"),
        (["run"], "there is nothing to run; name a suite, or --model and --task"),
        (["run", "--model", "pixels"], "there is nothing to run"),
        (["run", "dmeo"], "unknown suite 'dmeo' (did you mean 'demo'?)"),
        (["run", "none.yaml"], "none.yaml: cannot read it: No such file"),
        (["run", "--model", "pixles", "--task", "digits"], "unknown model 'pixles' (did you mean 'pixels'?)"),
        (["run", "--model", "pixels", "--task", "digts"], "unknown task 'digts' (did you mean 'digits'?)"),
        (["run", "--model", "pixels(", "--task", "digits"], "model spec 'pixels(': column 8: expected"),
        (["run", "--model", "pixels(szie=1)", "--task", "digits"], "unknown argument 'szie' (did you mean 'size'?)"),
        (["run", "--model", "vit-glyphs+layesr@0.5", "--task", "digits"], "unknown method 'layesr' (did you mean"),
        (["run", "--model", "pixels+layers@0.5", "--task", "digits"], "method 'layers' needs layers"),
        (["run", "--model", "pixels@0.5", "--task", "digits"], "none of its methods takes a budget"),
        (["run", "--model", "vit-glyphs+layers@1.5", "--task", "digits"], "column 19: expected a budget in (0, 1]"),
        (["run", "demo", "--plugin", "none.py"], "none.py: plugin is broken: none.py: no such plugin file"),
        (["score", "digits", "--predictions", "none.jsonl"], "none.jsonl: there is no such file or folder"),
        (["report", "none"], "none: not a run directory"),
        (["plugin", "check", "modles"], "there is no plugin 'modles' (did you mean 'models'?)"),
        (["plugin", "new", "a b"], "'a b' cannot name a package"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_status_2(cli, arguments, message):
    done = cli(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "run", "dmeo"], ["run", "dmeo", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(shell, arguments):
    done = shell(*arguments)
    assert done.status == 1
    assert "Traceback (most recent call last)" in done.err
    assert "UserError: unknown suite 'dmeo'" in done.err


def test_debug_shows_what_broke_a_plugin(shell, tmp_path):
    (tmp_path / "broken.py").write_text("def boom():\n    return 1 / 0\nboom()\n")
    done = shell("list", "--plugin", "broken.py", "--debug")
    assert "broken.py" in done.err
    assert "ZeroDivisionError: division by zero" in done.err
    assert "return 1 / 0" in done.err


def test_what_a_file_says_cannot_steer_the_terminal(cli, tmp_path):
    (tmp_path / "s.yaml").write_text('name: x\nmodels: ["\\e[31mred"]\ntasks: [digits]\n')
    done = cli("run", "s.yaml")
    assert done.status == 2
    assert "\x1b" not in done.err
    assert "\\x1b[31mred" in done.err
