"""The board of a run of many cells: how long it takes, and how much memory.

The whole of it: ``LARGE_BOARD="200 40 6" pytest ci/benchmarks/test_large_board.py`` (models, tasks, budgets).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS, TASKS, BUDGETS = map(int, os.environ.get("LARGE_BOARD", "50 10 2").split())
MOST_SECONDS, MOST_BYTES = 60, 2e9


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run; its records are indexed by a first report, as they are once in the life of a run."""
    path = tmp_path_factory.mktemp("large") / "run"
    size = f"--models={MODELS}", f"--tasks={TASKS}", f"--budgets={BUDGETS}"
    subprocess.run([sys.executable, Path(__file__).with_name("large_run.py"), path, *size], check=True)
    _report(path, "board.csv")
    return path


def _report(run: Path, name: str) -> Path:
    out = run.parent / name
    out.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "adaptbench", "report", str(run), "--out", str(out)], check=True)
    return out


def test_a_board_of_many_cells(run: Path, benchmark: Any, report: Callable[..., None]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = benchmark.pedantic(_report, (run, "board.html"), rounds=1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = 1024 * after.ru_maxrss
    report(
        f"a board of {MODELS * TASKS * BUDGETS:,} cells: processor time / memory / page",
        f"{seconds:.1f} s / {peak / 1e9:.2f} GB / {page.stat().st_size / 1e6:.1f} MB",
        f"(at most {MOST_SECONDS} s / {MOST_BYTES / 1e9:g} GB)",
        "",
    )
    assert seconds < MOST_SECONDS
    assert peak < MOST_BYTES
