"""Kills runs with SIGKILL and resumes them: ``python kill_runs.py FOLDER SEED MOMENTS CALLS``, run by `test_resume`.

One process imports everything and forks for each run, so that a run takes a fraction of a second and a kill can fall
anywhere in it. It prints what became of the runs as JSON.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import adaptbench
import conftest
from adaptbench.harness.measure import hardware, timing

timing.Effort.__init__.__defaults__ = (1, 0.0, float("inf"))
hardware.describe = dict  # it takes as long as a cell, and is not part of what is compared
MODELS = ["toy-vectors", "pixels(size=4)", "toy-adder"]
TASKS = ["toy-images(samples=600)", "toy-images(seed=1)", "toy-words(samples=150)"]


def work(out):
    adaptbench.run(MODELS, TASKS, out=out, plugins=[conftest.load_toys()])


def forked(out, before=lambda: None):
    """Start a run in a child process and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        before()
        work(out)
        os._exit(0)
    finally:
        sys.stderr.write(traceback.format_exc())
        os._exit(1)


class Switch:
    """Kills its process at the n-th call of a function; writing or appending to a file, after half of the bytes."""

    def __init__(self, call, number, log=None):
        self.call, self.left, self.log = call, number, log

    def tick(self):
        self.left -= 1
        if self.log:
            self.log.write(b".")
        return self.left == 0

    def install(self):
        if self.call in ("write", "append"):
            open_path = Path.open

            def opened(path, mode="r", *args, **kwargs):
                if mode != {"write": "wb", "append": "ab"}[self.call]:
                    return open_path(path, mode, *args, **kwargs)
                return Torn(path, mode, self)

            Path.open = opened
            return
        real = getattr(os, self.call)

        def dying(*args, **kwargs):
            if self.tick():
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, self.call, dying)


class Torn(io.FileIO):
    def __init__(self, path, mode, switch):
        super().__init__(path, mode)
        self._switch = switch

    def write(self, data):
        if self._switch.tick():
            super().write(bytes(data)[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(data)


def ended(child):
    return os.waitpid(child, 0)[1]


def resumed(out, reference):
    """Resume a run; return what is then other than in the uninterrupted run."""
    if ended(forked(out)):
        return ["the resumed run failed"]
    found = conftest.contents(out)
    return sorted(name for name in found.keys() | reference.keys() if found.get(name) != reference.get(name))


def kill_at_moments(folder, reference, seconds, count, rng):
    killed, unequal = 0, {}
    for index in range(count):
        out = folder / f"moment-{index}" / "run"
        child = forked(out)
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(ended(child))
        if difference := resumed(out, reference):
            unequal[out.parent.name] = difference
    return killed, unequal


def kill_at_calls(folder, reference, count):
    killed, unequal, calls = 0, {}, {}
    for call in ("fsync", "replace", "write", "append"):
        with (folder / call).open("wb", buffering=0) as log:
            ended(forked(folder / f"count-{call}" / "run", Switch(call, -1, log).install))
        calls[call] = (folder / call).stat().st_size
        for number in sorted({1 + index * calls[call] // count for index in range(count)}):
            out = folder / f"{call}-{number}" / "run"
            killed += os.WIFSIGNALED(ended(forked(out, Switch(call, number).install)))
            if difference := resumed(out, reference):
                unequal[out.parent.name] = difference
    return killed, unequal, calls


def main():
    folder, seed, moments, count = Path(sys.argv[1]), *map(int, sys.argv[2:])
    work(folder / "warm-up" / "run")
    gc.freeze()  # or each run collects the garbage of everything that was imported
    took = []
    for name in ("reference", "again", "and-again"):  # on a busy machine one of them may take long
        start = time.perf_counter()
        ended(forked(folder / name / "run"))
        took.append(time.perf_counter() - start)
    seconds = min(took)
    reference = conftest.contents(folder / "reference" / "run")
    killed, unequal = kill_at_moments(folder, reference, seconds, moments, random.Random(seed))
    killed_at_calls, also_unequal, calls = kill_at_calls(folder, reference, count)
    sys.stdout.write(
        json.dumps(
            {
                "seconds": seconds,
                "files": len(reference),
                "killed": killed,
                "killed_at_calls": killed_at_calls,
                "calls": calls,
                "unequal": unequal | also_unequal,
            }
        )
    )


if __name__ == "__main__":
    main()
