"""Telling the user how far a run is: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from .columns import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .results import CellId, CellResult, Estimate, Timing

_Item = TypeVar("_Item")


class Progress:
    """What the runner says while it works; this one says nothing."""

    def note(self, text: str) -> None:
        """Say something about the run."""

    def start(self, cell: CellId, samples: int, done: int) -> None:
        """A cell begins with ``done`` of its ``samples`` recorded."""

    def turn(self, cell: CellId, samples: int, done: int) -> None:
        """Work goes on with another one of several cells that began."""

    def answered(self, inputs: int, total: int) -> None:
        """Report how many of the task's inputs the model has answered."""

    def recorded(self, samples: int) -> None:
        """Report how many samples of the cell are on disk."""

    def fail(self, cell: CellId) -> None:
        """A cell failed, and the others are done."""

    def finish(self, result: CellResult, timing: Timing | None, reused: bool) -> None:
        """A cell is complete."""


def describe(cell: CellId) -> str:
    """Name a cell in a line."""
    budget = f" @{cell.budget:g}" if cell.budget != 1 else ""
    seed = f" (seed {cell.seed})" if cell.seed else ""
    return f"{cell.model}{budget} on {cell.task}{seed}"


def outcome(result: CellResult) -> str:
    """Say how a cell ended in a line: its first metric with the interval."""
    metric = result.task_card.metrics[0]
    estimate = result.metrics.get(metric.name)
    if estimate is None:
        return "nothing could be scored"
    scale = 100 if metric.unit == "%" else 1
    return f"{metric.name} {scale * estimate.value:.2f}{_ends(estimate, scale)} {metric.unit}".rstrip()


def _ends(estimate: Estimate, scale: int) -> str:
    """The interval: by its half-width, or by both ends where these are not equally far from the value."""
    if estimate.low is None or estimate.high is None:
        return ""
    below, above = (f"{scale * half:.2f}" for half in (estimate.value - estimate.low, estimate.high - estimate.value))
    return f" +- {below}" if below == above else f" [{scale * estimate.low:.2f}, {scale * estimate.high:.2f}]"


class Lines(Progress):
    """Plain lines for a log: one when a cell begins, one when it ends."""

    def __init__(self, cells: int, stream: TextIO | None = None) -> None:
        self._cells, self._stream = cells, stream or sys.stderr
        self._spoken_of = 0
        self._started: dict[CellId, int] = {}

    def note(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{printable(text)}\n")
        self._stream.flush()

    def start(self, cell: CellId, samples: int, done: int) -> None:
        """Say what begins."""
        resumed = f", {done} done before" if done else ""
        self._started[cell] = self._next()
        self.note(f"[{self._started[cell]}/{self._cells}] {describe(cell)}: {samples} samples{resumed}")

    def fail(self, cell: CellId) -> None:
        """Say that a cell failed; why is said in the end."""
        number = self._started.pop(cell, 0) or self._next()
        self.note(f"[{number}/{self._cells}] {describe(cell)}: failed")

    def finish(self, result: CellResult, timing: Timing | None, reused: bool) -> None:
        """Say what came out."""
        kept = " (complete before)" if reused else ""
        number = self._started.pop(result.cell, 0) or self._next()
        self.note(f"[{number}/{self._cells}] {describe(result.cell)}: {outcome(result)}{kept}")

    def _next(self) -> int:
        self._spoken_of += 1
        return self._spoken_of


class Bars(Progress):
    """A bar for the run and one for the cell, on a terminal."""

    def __init__(self, cells: int) -> None:
        self._rich = _rich()
        self._run = self._rich.add_task("cells", total=cells)
        self._cell = self._rich.add_task("", total=None, visible=False)
        self._name, self._samples = "", 0

    def __enter__(self) -> Bars:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._rich.console.print(printable(text), markup=False, highlight=False)

    def start(self, cell: CellId, samples: int, done: int) -> None:
        """Show the cell's bar."""
        self._name, self._samples = describe(cell), samples
        self._rich.reset(self._cell, description=self._name, total=samples, completed=done, visible=True)

    def turn(self, cell: CellId, samples: int, done: int) -> None:
        """Show the other cell's bar; the clock goes on."""
        self._name, self._samples = describe(cell), samples
        self._rich.update(self._cell, description=self._name, total=samples, completed=done, visible=True)

    def answered(self, inputs: int, total: int) -> None:
        """Move the cell's bar through the inputs."""
        self._rich.update(self._cell, description=f"{self._name}: inputs", total=total, completed=inputs)

    def recorded(self, samples: int) -> None:
        """Move the cell's bar through the samples."""
        self._rich.update(self._cell, description=f"{self._name}: samples", total=self._samples, completed=samples)

    def fail(self, cell: CellId) -> None:
        """Print that a cell failed; why is said in the end."""
        self._rich.advance(self._run)
        self._rich.update(self._cell, visible=False)
        self.note(f"{describe(cell)}: failed")

    def finish(self, result: CellResult, timing: Timing | None, reused: bool) -> None:
        """Print what came out."""
        self._rich.advance(self._run)
        self._rich.update(self._cell, visible=False)
        self.note(f"{describe(result.cell)}: {outcome(result)}{' (complete before)' if reused else ''}")


class Steps:
    """How far the steps of a report are; this one says nothing."""

    def over(self, items: Collection[_Item], what: str) -> Iterator[_Item]:
        """Give one after the other, and tell how many are done."""
        yield from items


SILENT = Steps()


class StepBars(Steps):
    """A bar for each kind of step, on a terminal."""

    def __enter__(self) -> StepBars:
        self._rich = _rich()
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def over(self, items: Collection[_Item], what: str) -> Iterator[_Item]:
        """Give one after the other, and move the bar."""
        bar = self._rich.add_task(what, total=len(items))
        for item in items:
            yield item
            self._rich.advance(bar)


def _rich() -> Any:
    """Bars on standard error, which are gone in the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return RichProgress(*columns, console=Console(stderr=True), transient=True)
