"""Task selection: moments merged task by task, against mean and covariance computed again for every prefix."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from adaptbench.harness.selection import Moments, Space, select

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES, WIDTH = 150, 512
STREAM = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from test_task_selection import Pool
from adaptbench.harness.selection import select
pool = Pool(10_000)
target = pool[0]
start = time.perf_counter(), time.process_time()
found = select(target, pool)
seconds = time.perf_counter() - start[0], time.process_time() - start[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "peak": peak, "coverages": len(found.coverages)}))
"""


class Pool:
    """Candidates that are made when they are asked for: float32 [150, 512], correlated, each with a mean of its own."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        rng = np.random.default_rng(0)
        scale = np.exp(-np.arange(WIDTH) / 80)
        self.noise = (rng.standard_normal((20_000, WIDTH)) * scale).astype(np.float32)
        self.means = (1 + 0.5 * rng.standard_normal((1_000, WIDTH)) * scale).astype(np.float32)

    def __len__(self) -> int:
        return self.tasks

    def __getitem__(self, task: int) -> np.ndarray:
        start = task * 7919 % (len(self.noise) - SAMPLES)
        return self.noise[start : start + SAMPLES] + self.means[task % 1_000] * (1 + task // 1_000 / 100)


def recomputed(target: np.ndarray, pool: Pool, order: np.ndarray, space: Space) -> np.ndarray:
    """Return the coverages of all prefixes, each from the mean and the covariance of all its samples."""
    samples = np.concatenate([pool[task] for task in order.tolist()]).astype(np.float64)
    centred, goal = np.empty_like(samples), space.project(target.mean(axis=0, dtype=np.float64))
    found = []
    for count in range(SAMPLES, len(samples) + 1, SAMPLES):
        mean = samples[:count].mean(axis=0)
        np.subtract(samples[:count], mean, out=centred[:count])
        scatter = centred[:count].T @ centred[:count]
        moments = Moments(len(goal))
        moments.count, moments.mean = count, space.project(mean)
        moments.scatter = space.axes.T @ scatter @ space.axes
        found.append(space.coverage(moments, goal)[0])
    return np.array(found)


def test_a_thousand_tasks_against_recomputing_every_prefix(side_by_side: Callable[..., Any], report: Any) -> None:
    pool = Pool(1_000)
    target, whole = pool[0], Moments(WIDTH)
    found = select(target, pool)
    for task in range(len(pool)):
        whole.add(pool[task])
    space = Space.of(whole, found.axes, found.options.ridge)
    times = side_by_side(lambda: select(target, pool), lambda: recomputed(target, pool, found.order, space), rounds=1)
    np.testing.assert_allclose(times.our_result.coverages, times.their_result, rtol=1e-8)
    ratio = times.ratio()
    report(
        "1,000 tasks of 150 samples, 512 dimensions, all prefixes; the other computes mean and covariance again",
        f"{min(times.ours):.2f} s",
        f"{min(times.theirs):.0f} s",
        f"{ratio:.0f}",
    )
    assert ratio >= 200


def test_ten_thousand_tasks_streamed(report: Any) -> None:
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", STREAM, folder], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["coverages"] == 10_000
    wall, processor = told["seconds"]
    report(
        "10,000 such tasks, streamed, in a process of its own (a limit)",
        f"{wall:.0f} s, {processor:.0f} s of the processor, {told['peak'] / 1e9:.2f} GB at the peak",
        "60 s, 1 GB",
        "",
    )
    assert processor < 60
    assert told["peak"] < 1e9
