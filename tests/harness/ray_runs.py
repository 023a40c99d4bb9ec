"""Runs through Ray: ``python ray_runs.py FOLDER ALONE JOINED SEED``, run by `test_ray_crew` and ``ci/scale``.

In each repetition the command has four workers, of which three are killed at random moments; it must come to the bytes
of an undisturbed run in one process. ALONE of them start Ray for themselves, JOINED ones join a cluster that is started
first. One more run is as if the cluster's machines saw no file of this one. What became of each is a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# Ray writes no token into the home folder, and starts no workers that nobody asked for.
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_prestart_worker_first_driver": "0"}

import conftest
from adaptbench.harness.crew import Crewed
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.ray_crew import RayCrew
from adaptbench.harness.runner import RunSpec, execute

MODELS = ["toy-vectors", "toy-vectors(scale=2)", "toy-adder", "toy-adder(wrong=5)"]
TASKS = ["toy-images(images=200,wait=0.01)", "toy-images(seed=1,wait=0.01)", "toy-words(samples=300,wait=0.01)"]
WORKERS, KILLS = 4, 3
SECONDS = 3.0
"""After the first record; undisturbed, the cells take longer."""


class Killer(threading.Thread):
    """Kills workers, each at a random moment after the first record."""

    def __init__(self, out, rng):
        super().__init__(daemon=True)
        self.out, self.rng, self.killed, self.over = out, rng, 0, False
        self.waits = sorted(rng.uniform(0, SECONDS) for _ in range(KILLS))

    def run(self):
        while not self.over and not any(path.stat().st_size for path in self.out.glob("cells/*/records.jsonl")):
            time.sleep(0.01)
        start = time.monotonic()
        for wait in self.waits:
            time.sleep(max(0, start + wait - time.monotonic()))
            while not self.over:
                if workers := actors():
                    os.kill(self.rng.choice(workers), signal.SIGKILL)
                    self.killed += 1
                    break
                time.sleep(0.01)


def actors():
    """Ids of the processes of Ray's workers that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RayWorker") and os.getpid() in ancestors(int(path.parent.name)):
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


def ancestors(process):
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def wrong(out, reference):
    """What is other than in the undisturbed run: files, and records that are there twice."""
    found = conftest.contents(out)
    other = sorted(name for name in found.keys() | reference.keys() if found.get(name) != reference.get(name))
    for path in out.glob("cells/*/records.jsonl"):
        samples = Counter(json.loads(line)["sample"] for line in path.read_text().splitlines())
        other += [f"{path}: {sample} twice" for sample, count in samples.items() if count > 1]
    return other


def alone(plugins, planned, out):
    """What a run comes to in one process."""
    execute(plugins, RunSpec(planned, out, threads=1, timing=False))
    return conftest.contents(out)


def killed(out, reference, rng, *options):
    """Run the command with four workers, of which three are killed."""
    command = [sys.executable, "-m", "adaptbench", "run", "--plugin", str(conftest.TOYS), "--out", str(out)]
    command += ["--no-timing", "--json", "--threads=1", "--executor=ray", f"--workers={WORKERS}", *options]
    command += [f"--model={model}" for model in MODELS] + [f"--task={task}" for task in TASKS]
    killer = Killer(out, rng)
    killer.start()
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    killer.over = True
    killer.join()
    if done.returncode:
        return {"killed": killer.killed, "wrong": [f"it ended with {done.returncode}: {done.stderr[-2000:]}"]}
    told = {"killed": killer.killed, "retried": done.stderr.count("another one goes on")}
    cells = len(json.loads(done.stdout)["cells"])
    return told | {"cells": cells, "seconds": round(time.monotonic() - start, 1), "wrong": wrong(out, reference)}


@contextmanager
def cluster():
    """Start a cluster of this machine and give its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as temporary:  # a socket's path has 107 bytes at most
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={WORKERS}"]
        command += [f"--port={address.partition(':')[2]}", f"--temp-dir={temporary}", "--include-dashboard=false"]
        head = subprocess.Popen([*command, "--disable-usage-stats"], stdout=subprocess.PIPE, text=True)
        try:
            while "Ray runtime started" not in (line := head.stdout.readline()):
                if not line:
                    raise RuntimeError("Ray does not start: The current node timed out")
            yield address
        finally:
            head.terminate()
            head.wait()


def main():
    folder, on_own, joined, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    plugins = load_plugins([str(conftest.TOYS)])
    reference = alone(plugins, plan(plugins.registry, Request(MODELS, TASKS)), folder / "alone")

    def say(told):
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    for number in range(on_own):
        say(killed(folder / f"{number}", reference, random.Random(f"{seed} {number}")))
    with cluster() as address:
        for number in range(on_own, on_own + joined):
            rng = random.Random(f"{seed} {number}")
            say(killed(folder / f"{number}", reference, rng, f"--ray-address={address}"))
        small = plan(plugins.registry, Request(MODELS[::2], ["toy-images", "toy-words"]))
        crew = RayCrew(plugins.registry, 1, address=address, shared=False)
        spec = RunSpec(small, folder / "carried", threads=1, timing=False)
        execute(plugins, spec, None, Crewed(crew, plugins.registry))
        cells = alone(plugins, small, folder / "small")
        cells = {name: content for name, content in cells.items() if not name.startswith("features/")}
        say({"carried": wrong(folder / "carried", cells)})


if __name__ == "__main__":
    main()
