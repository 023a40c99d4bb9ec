"""Data sets on the hub when there is no network."""

import os
import subprocess
import sys


def test_a_hub_out_of_reach_is_told_at_once_in_one_line(tmp_path):
    start = [sys.executable, "-c", "from adaptbench.harness.cli import main; main()"]
    command = [*start, "run", "--model", "says:yes", "--task", "pope", "--out", "r"]
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | nowhere, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "retry" in line.lower() or line.startswith("error")]
    assert len(errors) == 1
    assert "lmms-lab/POPE: it is not a folder here, and the hub cannot be reached" in errors[0]
