"""What takes too long for every commit: a thousand kills of runs, and thousands of examples of every property."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
MOMENTS, CALLS = 500, 125
"""Kills at random moments, and in calls of each of four functions: as many as there are, if they are fewer."""


def kills() -> bool:
    """Kill runs with SIGKILL and resume each: it must come to the same bytes."""
    seed = time.time_ns() % 2**32
    with tempfile.TemporaryDirectory() as folder:
        command = [TESTS / "harness" / "kill_runs.py", folder, str(seed), str(MOMENTS), str(CALLS)]
        done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True)
    outcome = json.loads(done.stdout)
    print(f"seed {seed}: {outcome['killed']} runs killed at a moment and {outcome['killed_at_calls']} in a call")
    print("\n".join(f"{name}: other bytes in {files}" for name, files in outcome["unequal"].items()) or "all resumed")
    return not outcome["unequal"]


def examples() -> bool:
    """Try every property that hypothesis tests on 2,000 examples, other ones each time."""
    command = ["-m", "pytest", "-q", "-m", "hypothesis", "--hypothesis-profile", "campaign", str(TESTS)]
    return subprocess.run([sys.executable, *command], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(not all([kills(), examples()]))
