"""Completion in the shell."""

from __future__ import annotations

import pytest


def complete(shell, line, **environment):
    words = line.split(" ")
    return shell(
        _ADAPTBENCH_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        **environment,
    ).out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adaptbench l", ["list"]),
        ("adaptbench plugin n", ["new"]),
        ("adaptbench run --dry", ["--dry-run"]),
        ("adaptbench run dem", ["demo"]),
        ("adaptbench run --model pix", ["pixels"]),
        ("adaptbench run --task digits-5way-1", ["digits-5way-1shot"]),
        ("adaptbench score digits-5way-1", ["digits-5way-1shot"]),
    ],
)
def test_commands_options_and_names(shell, line, words):
    assert complete(shell, line) == words


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell, name):
    script = shell(_ADAPTBENCH_COMPLETE=f"source_{name}").out
    assert "_ADAPTBENCH_COMPLETE" in script
    assert "adaptbench" in script
