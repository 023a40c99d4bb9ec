"""Fresh environments that see the libraries of this one, but not its AdaptBench."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import adaptbench
import pytest

ROOT = Path(adaptbench.__file__).parent
_NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "runs", "build", "dist", "node_modules", "example_plugin"
)


class Environment:
    """A virtual environment of its own, used from an empty folder."""

    def __init__(self, folder: Path):
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.bin = folder / "venv" / "bin"
        self.python = self.bin / "python"
        (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        # A plain path: the .pth files in there, an editable AdaptBench's among them, are not read.
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
        self.site = site
        self.work = folder / "work"
        self.work.mkdir()

    def install(self, *what):
        """Install without touching the network or anything outside of the environment."""
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--quiet"]
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *options]
        subprocess.run([*pip, *map(str, what)], check=True, cwd=self.work, timeout=300)

    def run(self, *command):
        """Run a program of the environment; it must succeed."""
        program = [str(self.bin / command[0]), *map(str, command[1:])]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ADAPTBENCH", "PYTHON"))}
        done = subprocess.run(
            program, cwd=self.work, env=clean, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of the repository as a clone would have it, so that building leaves nothing behind."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("tree") / "clone", ignore=_NOT_COPIED))


@pytest.fixture(scope="session")
def distributions(tree, tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def installed(distributions, tmp_path_factory):
    """An environment with the wheel in it."""
    environment = Environment(tmp_path_factory.mktemp("wheel"))
    environment.install(distributions[1])
    return environment


@pytest.fixture(scope="session")
def editable(tree, tmp_path_factory):
    """An environment with an editable install in it."""
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("--editable", tree)
    return environment
