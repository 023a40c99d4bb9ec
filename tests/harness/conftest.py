"""What the tests of the engine share: a plugin of toys, and ways to run it and to look at what was written."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.measure import hardware, timing
from adaptbench.harness.store import FeatureStore

TOYS = Path(__file__).with_name("toys.py")


def load_toys():
    """Import the toys as a module; loaded once, so that its source and its counters are those of one module."""
    if "engine_toys" not in sys.modules:
        spec = importlib.util.spec_from_file_location("engine_toys", TOYS)
        module = importlib.util.module_from_spec(spec)
        sys.modules["engine_toys"] = module
        spec.loader.exec_module(module)
    return sys.modules["engine_toys"]


def contents(run):
    """All that a run wrote but times: relative path -> bytes, drafts and locks included; features -> their blocks."""
    folders = ("cells", "episodes")
    paths = sorted(path for folder in folders for path in (run / folder).rglob("*") if path.is_file())
    found = {path.relative_to(run).as_posix(): path.read_bytes() for path in paths if path.name != "timing.json"}
    manifest = json.loads((run / "manifest.json").read_bytes())
    for folder in sorted((run / "features").glob("*")):
        assert {path.suffix for path in folder.iterdir()} == {".blocks"}, "each file is a process' own, with no draft"
        found[f"features/{folder.name}"] = FeatureStore(folder.parent, folder.name).stored()
    return found | {"manifest": {key: manifest[key] for key in ("schema_version", "cells")}}


@pytest.fixture
def toys():
    module = load_toys()
    module.CALLS.clear()
    return module


@pytest.fixture
def quick(monkeypatch):
    """Measure times with one repetition, and leave out what else takes longer than a cell of toys."""
    effort = timing.Effort
    monkeypatch.setattr(timing, "Effort", lambda **_: effort(repeats=1, seconds=0))
    monkeypatch.setattr(timing.gc, "collect", int)
    monkeypatch.setattr(hardware, "describe", dict)


@pytest.fixture
def run(toys, quick):
    """`adaptbench.run` with the toys registered."""

    def run_toys(models, tasks, **options):
        return adaptbench.run(models, tasks, plugins=[toys, *options.pop("plugins", ())], **options)

    return run_toys


@pytest.fixture
def written():
    return contents
