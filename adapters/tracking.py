"""What a tracker of experiments, such as MLflow or Weights & Biases, is told of a run, and when.

A cell becomes one run of the tracker, and the run directory one more, with the manifest and the board as files. A
tracker that fails costs a line of warning, never a cell.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..harness.api import report
from ..harness.errors import UserError
from ..harness.hashing import sha256_hex
from ..harness.hooks import hookimpl
from ..harness.progress import describe
from ..harness.specs import parse
from ..harness.store import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..harness.hooks import CellFinished, RunFinished

logger = logging.getLogger(__name__)
_MOST_FAILURES = 2
"""Failures in a row after which nothing more is tried: a server that is away makes each of them wait."""

Params = dict[str, str | int | float | bool]


class Logged(NamedTuple):
    """What a tracker keeps as one run.

    Attributes:
        key: Of 32 hexadecimal digits: tells it from all others, and is the same whenever it is logged.
        group: Name of the run directory.
        name: As shown to users.
        params: What was asked.
        metrics: What came of it.
        files: Files to keep.
    """

    key: str
    group: str
    name: str
    params: Params
    metrics: dict[str, float]
    files: Sequence[Path] = ()


class Tracker(Protocol):
    """Something that keeps runs."""

    name: str

    def log(self, logged: Logged) -> None:
        """Keep a run; what it has already under the same key is not kept twice."""
        ...


class TrackerHooks:
    """The hooks that tell a tracker.

    Args:
        tracker: Who is told.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._failures = 0

    @hookimpl
    def cell_finished(self, event: CellFinished) -> None:
        """Tell of a cell."""
        self._tell(describe(event.cell), lambda: self._tracker.log(of_cell(event)))

    @hookimpl
    def run_finished(self, event: RunFinished) -> None:
        """Tell of the run, with its manifest and its board."""
        with tempfile.TemporaryDirectory(prefix="adaptbench-board-") as folder:
            self._tell(str(event.path), lambda: self._tracker.log(self._of_run(event, Path(folder))))

    def _of_run(self, event: RunFinished, folder: Path) -> Logged:
        manifest, files = RunDirectory(event.path).manifest(), [event.path / "manifest.json"]
        try:
            files.append(report(event.path, folder / "leaderboard.html"))
        except UserError as error:
            logger.warning("%s is given no board of %s: %s", self._tracker.name, event.path, error)
        group = event.path.resolve().name
        key = sha256_hex(f"{group} {manifest.created}".encode())[:32]
        params: Params = {"created": manifest.created, "cells": len(event.results)}
        return Logged(key, group, group, params, {}, files)

    def _tell(self, what: str, tell: Callable[[], None]) -> None:
        if self._failures >= _MOST_FAILURES:
            return
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, the run goes on
            self._failures += 1
            reason = next(iter(str(error).strip().splitlines()), "")
            rest = "; it is told no more in this session" if self._failures == _MOST_FAILURES else ""
            logger.warning("%s did not keep %s: %s: %s%s", self._tracker.name, what, type(error).__name__, reason, rest)
        else:
            self._failures = 0


def of_cell(event: CellFinished) -> Logged:
    """Return what a tracker keeps of a cell: spec, rule and versions; scores with their intervals; costs.

    Costs are ``flops`` and tokens of a sample, or of an input of a task whose answers do not tell them, ``seconds`` of
    an input, and ``peak_memory`` in bytes.
    """
    result, timing, cell = event.result, event.timing, event.cell
    session = RunDirectory(event.path).manifest().sessions[-1]
    spec, card = parse(cell.model), result.task_card
    params: Params = {
        "model": cell.model,
        "base": str(spec.base),
        "methods": "+".join(map(str, spec.methods)),
        "budget": cell.budget,
        "task": cell.task,
        "seed": cell.seed,
        "rule": f"{card.rule} v{card.rule_version}",
        "partial": result.partial or "",
        **result.settings,
        "git_revision": session.environment.get("git_revision") or "",
        **{f"version of {name}": version for name, version in session.environment.get("packages", {}).items()},
    }
    metrics: dict[str, float | None] = {
        "samples": result.samples,
        "unscored": result.unscored,
        "unparsed": result.unparsed,
        "parameters": result.parameters,
        "flops": result.flops.value if result.flops else None,
        **{name: cost.value for name, cost in result.costs.items()},
        "seconds": timing.median / timing.inputs if timing else None,
        "peak_memory": timing.peak_memory if timing else None,
    }
    for name, found in result.metrics.items():
        metrics |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
    known = {name: float(value) for name, value in metrics.items() if value is not None}
    return Logged(result.key, event.path.resolve().name, describe(cell), params, known)
