"""What takes too long for every commit: kills of trainings, and thousands of examples of every property."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
TRAIN = [
    sys.executable, "-m", "adaptbench", "train", "multitask-ft", "--base", "vit-glyphs", "--threads", "1",
    "--source", "glyphs(scripts=greek,per_class=5)",
    "--val", "glyphs(scripts=hebrew,per_class=5,ways=5,queries=4,episodes=5)",
    "--tasks", "6", "--epochs", "20", "--ways", "5", "--queries", "3", "--rate", "0.01",
]  # fmt: skip
TRAINING_KILLS = 20


def kills_of_trainings() -> bool:
    """Kill trainings with SIGKILL again and again, and resume each: it must come to the same weights, byte by byte."""
    seed = time.time_ns() % 2**32
    dice, killed, equal = random.Random(seed), 0, []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        start = time.time()
        subprocess.run([*TRAIN, "--out", whole], stdout=subprocess.DEVNULL, check=True)
        began, ended = (whole / name for name in ("recipe.json", "model/adaptation.json"))
        moments = began.stat().st_mtime - start, ended.stat().st_mtime - start
        finished = True
        while killed < TRAINING_KILLS or not finished:
            out = Path(folder, f"killed-{len(equal)}")
            child = subprocess.Popen([*TRAIN, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                failed = child.wait(dice.uniform(*moments) if killed < TRAINING_KILLS else None)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                killed, finished = killed + 1, False
            else:
                weights = [] if failed else [one / "model" / "model.safetensors" for one in (whole, out)]
                equal.append(len({file.read_bytes() for file in weights}) == 1)
                finished = True
    print(f"seed {seed}: {killed} kills of {len(equal)} trainings, of which {sum(equal)} came to the same weights")
    return all(equal)


def examples() -> bool:
    """Try every property that hypothesis tests on 2,000 examples, other ones each time."""
    command = ["-m", "pytest", "-q", "-m", "hypothesis", "--hypothesis-profile", "campaign", str(TESTS)]
    return subprocess.run([sys.executable, *command], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(not all([kills_of_trainings(), examples()]))
