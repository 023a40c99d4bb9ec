"""What ``docs/scale.md`` says of many workers and many cells, measured: ``python ci/scale kills|overhead|cells``.

``kills`` runs four of Ray's workers, three of which are killed at random moments, twenty times, two with a Ray of their
own and else in a cluster: each must come to the bytes of one process. ``overhead`` does twelve cells of ten seconds in
this process and by one of Ray's workers. ``cells`` plans a run of made-up cells, and notes, indexes and reports them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TESTS = _ROOT / "tests" / "harness"
_TOYS = str(_TESTS / "toys.py")
_WARM_UP = 1


def kills(folder: Path, repetitions: int) -> None:
    """Print each repetition as it ends, and how many held."""
    alone = min(2, repetitions)
    command = [sys.executable, str(_TESTS / "ray_runs.py"), str(folder), str(alone), str(repetitions - alone), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    tries = []
    for line in process.stdout:
        print(line, end="", flush=True)
        tries.append(json.loads(line))
    held = sum(one["killed"] == 3 and not one["wrong"] for one in tries if "killed" in one)
    print(f"{held} of {repetitions} held")
    sys.exit(held != repetitions)


def overhead(folder: Path, seconds: float) -> None:
    """Print what cells take in this process and through Ray, once the first one is over."""
    from adaptbench.harness.crew import Crewed
    from adaptbench.harness.planning import Request, plan
    from adaptbench.harness.plugins import load_plugins
    from adaptbench.harness.progress import Progress
    from adaptbench.harness.ray_crew import RayCrew
    from adaptbench.harness.runner import RunSpec, execute

    class Ends(Progress):
        def __init__(self):
            self.times = []

        def finish(self, result, timing, reused):
            self.times.append(time.perf_counter())

    plugins = load_plugins([_TOYS])
    # A prompt takes 10 ms to make, which stands for the model's work.
    task = f"toy-words(samples={round(100 * seconds)},wait=0.01)"
    planned = plan(plugins.registry, Request([f"toy-adder(wrong={i})" for i in range(2, 15)], [task]))
    took = {}
    for name in ("in-process", "ray"):
        ends = Ends()
        executor = Crewed(RayCrew(plugins.registry, 1), plugins.registry, ends) if name == "ray" else None
        execute(plugins, RunSpec(planned, folder / name, threads=1, timing=False), ends, executor)
        took[name] = ends.times[-1] - ends.times[_WARM_UP - 1]
        print(f"{name}: {len(ends.times) - _WARM_UP} cells in {took[name]:.2f} s", flush=True)
    print(f"overhead {100 * (took['ray'] / took['in-process'] - 1):.2f} %")


def cells(folder: Path, count: int) -> None:
    """Print what planning, noting, indexing and reporting of cells take."""
    from adaptbench.harness.identity import Settings
    from adaptbench.harness.jobs import RunContext, jobs_of
    from adaptbench.harness.planning import Request, plan
    from adaptbench.harness.plugins import load_plugins
    from adaptbench.harness.results import CellId
    from adaptbench.harness.samples import SampleLimit
    from adaptbench.harness.store import RunDirectory

    plugins = load_plugins([_TOYS])
    models = [f"toy-adder(wrong={i})" for i in range(2, 2 + count // 50)]
    with _Timed(f"plan {count} cells and cut them into jobs"):
        planned = plan(plugins.registry, Request(models, [f"toy-words(seed={i})" for i in range(50)]))
        context = RunContext(folder, folder, "", Settings(), SampleLimit(), "", plugins.names)
        jobs = jobs_of(planned, context)
        run = RunDirectory(folder / "planned")
        run.ask_for(cell.id for cell in planned.cells)
    assert len(jobs) == count
    made = folder / "made"
    script = [sys.executable, str(_ROOT / "ci" / "benchmarks" / "large_run.py"), str(made)]
    with _Timed("write their records, 50 samples each (not part of a run's work)"):
        subprocess.run([*script, f"--models={count // 50}", "--tasks=50", "--budgets=1"], check=True)
    run = RunDirectory(made)
    with _Timed("claim 20 more cells of that run", per=20):
        for number in range(20):
            run.claim(f"{number:x}", CellId(model="one more", task=f"{number}"))
    for what in ("index and report", "report again, as the index is there"):
        with _Timed(what):
            _report(made, folder / f"{what[:6]}.html")
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    index, manifest = ((made / name).stat().st_size for name in ("index.sqlite", "manifest.json"))
    print(f"on disk: {size / 2**20:.0f} MiB, of which index {index / 2**20:.0f}, manifest {manifest / 2**20:.1f}")


def _report(run: Path, out: Path) -> None:
    command = [sys.executable, "-m", "adaptbench", "report", str(run), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    print(f"  peak memory {used.ru_maxrss / 2**20:.2f} GiB, processor {used.ru_utime + used.ru_stime:.1f} s")


class _Timed:
    """Prints what is done within, and how long it took."""

    def __init__(self, what: str, per: int = 1) -> None:
        self._what, self._per = what, per

    def __enter__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, own = time.perf_counter() - self._wall, time.process_time() - self._own
        each = f", {1000 * own / self._per:.0f} ms each" if self._per > 1 else ""
        print(f"{self._what}: {wall:.1f} s, {own:.1f} s of processor time here{each}", flush=True)


def main() -> None:
    """Measure one of them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("what", choices=["kills", "overhead", "cells"])
    asked.add_argument("--repetitions", type=int, default=20, help="of kills")
    asked.add_argument("--seconds", type=float, default=10.0, help="of a cell of overhead")
    asked.add_argument("--cells", type=int, default=10_000, help="that are planned and reported")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "kills":
            kills(Path(folder), given.repetitions)
        elif given.what == "overhead":
            overhead(Path(folder), given.seconds)
        else:
            cells(Path(folder), given.cells)


if __name__ == "__main__":
    main()
