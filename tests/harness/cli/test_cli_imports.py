"""The command line is quick because of what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELP = {"torch", "numpy", "scipy", "pandas", "pydantic", "PIL", "yaml", "jinja2", "rich", "pluggy"}
LIST = {
    "torch",
    "transformers",
    "pandas",
    "altair",
    "scipy",
    "PIL",
    "matplotlib",
    "sklearn",
    "skimage",
    "jinja2",
    "numpy",
}
PLAN = {"torch", "transformers", "pandas", "altair", "jinja2"}


def imported(*arguments):
    """Top-level modules that a command has imported when it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sorted({m.partition('.')[0] for m in sys.modules}))))\n"
        f"sys.argv = ['adaptbench', *{arguments!r}]\n"
        "from adaptbench.harness.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("command", [[], ["list"], ["run"], ["report"], ["score"], ["doctor"], ["plugin"]])
def test_help(command):
    assert imported(*command, "--help") & HELP == set()


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["plugin", "list"]])
def test_list(command):
    assert imported(*command) & LIST == set()


def test_what_is_listed_again_is_read_not_loaded(monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    # what is remembered is the latest list, which may be that of a test beside this one, under other plugins
    assert any(imported("list") & HELP == set() for _ in range(4))


def test_a_plan_is_made_without_torch():
    assert imported("run", "--model", "pixels", "--task", "digits-5way-1shot", "--dry-run") & PLAN == set()


def test_the_package_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import adaptbench; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10
