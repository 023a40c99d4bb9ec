"""What befalls runs. Each is stopped or spoilt and given again: it must come to the bytes of an undisturbed one.

Imports are done once and each run is forked, so that it takes a fraction of a second and a kill can fall anywhere.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import adaptbench
import conftest
import kill_runs
from adaptbench.harness.errors import UserError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

_TOYS = Path(conftest.TOYS)
_OTHER_TASKS = ["toy-images(samples=600, seed=5)", "toy-words(samples=150, seed=5)"]
_DONE, _REFUSED, _TRACEBACK = 0, 2, 1


class Suite(NamedTuple):
    """What a run is given."""

    models: Sequence[str]
    tasks: Sequence[str]
    plugin: Path


class Outcome(NamedTuple):
    """How a run ended: 0 done, 2 refused in a line, 1 with a traceback, below 0 killed; and what it said."""

    status: int
    said: str


class Runs:
    """Undisturbed runs, and what disturbed ones are compared with.

    Args:
        folder: Where all runs are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin = Path(shutil.copy(_TOYS, folder / "toys.py"))
        self.suite = Suite(kill_runs.MODELS, kill_runs.TASKS, self.plugin)
        start = time.perf_counter()
        self.reference = self._undisturbed("reference", self.suite)
        self.seconds = time.perf_counter() - start
        self.other = self._undisturbed("other", Suite(kill_runs.MODELS, _OTHER_TASKS, self.plugin))
        self.answers = self._answers()
        self.replayed = Suite([f"replay:{self.answers}"], [kill_runs.TASKS[2]], self.plugin)
        self.scores = self._undisturbed("replayed", self.replayed)
        self.calls = {call: self._count(call) for call in ("fsync", "replace", "write", "append")}

    def _undisturbed(self, name: str, suite: Suite) -> Mapping[str, bytes]:
        outcome = ended(started(self.folder / name, suite), self.folder / name)
        if outcome.status != _DONE:
            raise RuntimeError(outcome.said)
        return conftest.contents(self.folder / name)

    def _answers(self) -> Path:
        """Stored answers to the task of words, of the undisturbed run."""
        cells = json.loads((self.folder / "reference" / "manifest.json").read_bytes())["cells"]
        (key,) = (key for key, cell in cells.items() if cell["task"].startswith("toy-words"))
        lines = (self.folder / "reference" / "cells" / key / "records.jsonl").read_text().splitlines()
        rows = [{name: record[name] for name in ("sample", "output")} for record in map(json.loads, lines)]
        path = self.folder / "answers.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    def _count(self, call: str) -> int:
        """How often an undisturbed run makes a call."""
        out, path = self.folder / f"count-{call}", self.folder / f"calls-{call}"
        with path.open("wb", buffering=0) as log:
            ended(started(out, self.suite, kill_runs.Switch(call, -1, log).install), out)
        return path.stat().st_size

    def same(self, out: Path, suite: Suite, reference: Mapping[str, bytes]) -> str:
        """Give a run again, undisturbed; return what is then wrong with it."""
        outcome = ended(started(out, suite), out)
        if outcome.status != _DONE:
            return f"given again, it ended with {outcome.status}: {outcome.said}"
        found = conftest.contents(out)
        found["manifest"]["cells"] = {
            key: cell for key, cell in found["manifest"]["cells"].items() if key in reference["manifest"]["cells"]
        }
        other = sorted(name for name in reference if found.get(name) != reference[name])
        return f"other bytes in {', '.join(other)}" if other else ""


def started(out: Path, suite: Suite, before: Callable[[], object] = lambda: None) -> int:
    """Start a run in a child process; ``before`` disturbs it."""
    gc.freeze()  # or each run collects the garbage of everything that was imported
    child = os.fork()
    if child:
        return child
    status = _TRACEBACK
    try:
        before()
        adaptbench.run(suite.models, suite.tasks, out=out, plugins=[str(suite.plugin)])
        status = _DONE
    except UserError as error:
        _said(out).write_text(str(error))
        status = _REFUSED
    except BaseException:  # noqa: BLE001 - it is counted
        _said(out).write_text(traceback.format_exc())
    finally:
        os._exit(status)


def ended(child: int, out: Path) -> Outcome:
    """Wait for a run."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = _said(out).read_text() if status > 0 and _said(out).exists() else ""
    return Outcome(status, said)


def _said(out: Path) -> Path:
    return out.with_name(f"{out.name}-said")


def _killed(runs: Runs, out: Path, rng: random.Random, suite: Suite | None = None) -> None:
    child = started(out, suite or runs.suite)
    time.sleep(rng.uniform(0, runs.seconds))
    os.kill(child, signal.SIGKILL)
    ended(child, out)


def killed_at_a_moment(runs: Runs, out: Path, rng: random.Random) -> str:
    """Killed at any moment."""
    _killed(runs, out, rng)
    return runs.same(out, runs.suite, runs.reference)


def _killed_in(call: str) -> Callable[[Runs, Path, random.Random], str]:
    def killed_in_a_call(runs: Runs, out: Path, rng: random.Random) -> str:
        ended(started(out, runs.suite, kill_runs.Switch(call, rng.randint(1, runs.calls[call])).install), out)
        return runs.same(out, runs.suite, runs.reference)

    return killed_in_a_call


def _failing(code: int) -> Callable[[Runs, Path, random.Random], str]:
    """Every write from any one on fails, half done: the run must end with one line."""

    def failing(runs: Runs, out: Path, rng: random.Random) -> str:
        first = rng.randint(1, runs.calls["write"] + runs.calls["append"])
        outcome = ended(started(out, runs.suite, lambda: _fail_from(first, code)), out)
        if outcome.status not in {_DONE, _REFUSED}:
            return f"ended with {outcome.status}: {outcome.said}"
        return runs.same(out, runs.suite, runs.reference)

    return failing


def _fail_from(first: int, code: int) -> None:
    open_path, writes = Path.open, iter(range(1, sys.maxsize))

    def opened(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if mode not in {"wb", "ab"}:
            return open_path(path, mode, *args, **kwargs)  # type: ignore[call-overload]
        if code == errno.EROFS and next(writes) >= first:
            raise OSError(code, os.strerror(code), str(path))
        return kill_runs.Torn(path, mode, _Full(writes, first, code, path))

    Path.open = opened  # type: ignore[assignment, method-assign]


class _Full:
    """Fails where `kill_runs.Torn` would kill."""

    def __init__(self, writes: object, first: int, code: int, path: Path) -> None:
        self._writes, self._first, self._code, self._path = writes, first, code, path

    def tick(self) -> bool:
        if self._code == errno.ENOSPC and next(self._writes) >= self._first:  # type: ignore[call-overload]
            raise OSError(self._code, os.strerror(self._code), str(self._path))
        return False


def two_at_once(runs: Runs, out: Path, rng: random.Random) -> str:
    """Two processes write to one folder: one goes on, and the other goes on or is told of it."""
    first = started(out, runs.suite)
    time.sleep(rng.uniform(0, runs.seconds))
    second = started(out, runs.suite)
    statuses = [ended(child, out).status for child in (first, second)]
    if _DONE not in statuses or not set(statuses) <= {_DONE, _REFUSED}:
        return f"the two ended with {statuses}"
    return runs.same(out, runs.suite, runs.reference)


def clock_set_back(runs: Runs, out: Path, rng: random.Random) -> str:
    """The clock says an earlier day when a killed run is given again."""
    _killed(runs, out, rng)
    days = rng.uniform(0, 3650)

    def earlier() -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() - 86_400 * days
        time.time_ns = lambda: now_ns() - int(86_400e9 * days)

    outcome = ended(started(out, runs.suite, earlier), out)
    return outcome.said or runs.same(out, runs.suite, runs.reference)


def other_suite_between(runs: Runs, out: Path, rng: random.Random) -> str:
    """Another suite is given the folder of a killed run, and killed too."""
    _killed(runs, out, rng)
    _killed(runs, out, rng, Suite(rng.sample(runs.suite.models, 2), _OTHER_TASKS, runs.plugin))
    return runs.same(out, runs.suite, runs.reference)


def plugin_changed_between(runs: Runs, out: Path, rng: random.Random) -> str:
    """The plugin's source changes between a kill and the next run, and back."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _killed(runs, out, rng)
    source = runs.plugin.read_bytes()
    try:
        runs.plugin.write_bytes(source + b"\n# another version\n")
        outcome = ended(started(out, runs.suite), out)
    finally:
        runs.plugin.write_bytes(source)
    return outcome.said if outcome.status == _TRACEBACK else runs.same(out, runs.suite, runs.reference)


def data_changed_between(runs: Runs, out: Path, rng: random.Random) -> str:
    """Stored answers change between a kill and the next run, and back."""
    _killed(runs, out, rng, runs.replayed)
    answers = runs.answers.read_text()
    rows = [json.loads(line) for line in answers.splitlines()]
    rng.choice(rows)["output"] = "another answer"
    try:
        runs.answers.write_text("\n".join(map(json.dumps, rows)))
        outcome = ended(started(out, runs.replayed), out)
    finally:
        runs.answers.write_text(answers)
    return outcome.said if outcome.status == _TRACEBACK else runs.same(out, runs.replayed, runs.scores)


def journal_of_another_run(runs: Runs, out: Path, rng: random.Random) -> str:
    """A journal of another run lies in a cell's folder: it is refused, and without it nothing is missing."""
    _killed(runs, out, rng)
    cells = sorted(path for path in (out / "cells").glob("*") if path.is_dir())
    if not cells:
        return runs.same(out, runs.suite, runs.reference)
    others = sorted((runs.folder / "other" / "cells").glob("*/records.jsonl"))
    journal = rng.choice(cells) / "records.jsonl"
    own = journal.read_bytes() if journal.exists() else None
    shutil.copy(rng.choice(others), journal)
    outcome = ended(started(out, runs.suite), out)
    if outcome.status == _TRACEBACK:
        return outcome.said
    if outcome.status == _DONE:
        return "" if conftest.contents(out) == runs.reference else "another run's records were taken for its own"
    journal.unlink() if own is None else journal.write_bytes(own)
    return runs.same(out, runs.suite, runs.reference)


DISASTERS: dict[str, tuple[int, Callable[[Runs, Path, random.Random], str]]] = {
    "killed at any moment": (300, killed_at_a_moment),
    "killed inside a write of a file": (60, _killed_in("write")),
    "killed inside an append to a journal": (60, _killed_in("append")),
    "killed between a file and its name": (60, _killed_in("replace")),
    "killed before a file is on the disk": (60, _killed_in("fsync")),
    "disk full": (50, _failing(errno.ENOSPC)),
    "file system made read-only": (50, _failing(errno.EROFS)),
    "two runs in one folder": (50, two_at_once),
    "clock set back": (50, clock_set_back),
    "another suite in between": (50, other_suite_between),
    "plugin changed in between": (50, plugin_changed_between),
    "stored answers changed in between": (50, data_changed_between),
    "journal of another run copied in": (50, journal_of_another_run),
}
"""What befalls a run -> how often it is tried, and the trial: it returns what was wrong, or nothing."""
