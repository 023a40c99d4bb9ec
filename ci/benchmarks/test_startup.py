"""How long the command line takes to answer, over an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ADAPTBENCH = str(Path(sys.executable).with_name("adaptbench"))


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("argument", ["--help", "list"])
def test_the_command_line_starts(argument: str, side_by_side: Any, report: Any) -> None:
    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    times = side_by_side(lambda: run(ADAPTBENCH, argument), lambda: run(sys.executable, "-c", "pass"), rounds=7)
    assert "glyphs" in times.our_result or "Usage" in times.our_result
    report(
        f"adaptbench {argument}, over `python -c pass`",
        f"{min(times.ours):.3f} s", f"{min(times.theirs):.3f} s", f"{1 / times.ratio():.1f} of theirs",
    )  # fmt: skip
