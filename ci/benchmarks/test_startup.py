"""How much processor time the command line takes to answer, beyond an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from command import ADAPTBENCH, of_children


@pytest.mark.benchmark(timer=of_children)
@pytest.mark.parametrize(("argument", "most"), [("--help", 0.1), ("list", 0.15)])
def test_the_command_line_starts(argument: str, most: float, side_by_side: Any, report: Any) -> None:
    def run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    run(ADAPTBENCH, argument)  # what is compiled and remembered once is there
    times = side_by_side(lambda: run(ADAPTBENCH, argument), lambda: run(sys.executable, "-c", "pass"), rounds=20)
    assert "glyphs" in times.our_result or "Usage" in times.our_result
    ours, theirs = min(times.ours), min(times.theirs)
    report(
        f"adaptbench {argument}, beyond `python -c pass`", f"{ours:.3f} s", f"{theirs:.3f} s",
        f"{ours - theirs:.3f} s more",
    )  # fmt: skip
    assert ours - theirs < most
