"""Calling the command line: in this process, or as a real one."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main
from adaptbench.harness.cli import main

_command = functools.cache(typer.main.get_command)


class Done(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run ``adaptbench ...`` in this process, in an empty folder; its options are read from the code only once."""
    monkeypatch.setattr(typer.main, "get_command", _command)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["adaptbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return Done(stopped.value.code or 0, done.out, done.err)

    return run


@pytest.fixture
def command():
    """The installed command, as a list to start a process with."""
    return [str(Path(sys.executable).with_name("adaptbench"))]


@pytest.fixture
def shell(command, tmp_path):
    """Run ``adaptbench ...`` as a process of its own, outside of the repository."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"ADAPTBENCH_PLUGINS": ""} | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
