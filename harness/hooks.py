"""The pluggy hooks: where a plugin registers names, and where it may watch a run.

Every hook takes one keyword-built event (``register`` takes the registrar), so that hooks can grow without breaking the
plugins that implement them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .contracts import Record
    from .registry import Registrar
    from .results import CellId, CellResult, FailedCell, Timing

NAMESPACE = "adaptbench"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins or is resumed; ``cells`` are all that it plans."""

    path: Path
    cells: Sequence[CellId]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStarted:
    """A cell begins; ``done`` of its ``samples`` were recorded before."""

    cell: CellId
    samples: int
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWritten:
    """A record is safely on disk."""

    cell: CellId
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFinished:
    """A cell of the run at ``path`` is complete; ``reused`` says that it was so before this session."""

    path: Path
    cell: CellId
    result: CellResult
    timing: Timing | None
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """All cells of a run are complete, but for those that failed."""

    path: Path
    results: Sequence[CellResult]
    failed: Sequence[FailedCell] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """A score that was published, to stand beside the same score of a run.

    Attributes:
        model: Model spec, without its budget.
        task: Name of the task, without arguments.
        metric: Name of one of its metrics.
        value: As it is shown: 78.5 if the unit of the metric is ``%``.
        source: Where it is printed, in a few words.
        budget: The budget that was asked for.
        rule: The scoring rule.
        samples: How many samples of the task it is about; ``None`` if that is not known.
    """

    model: str
    task: str
    metric: str
    value: float
    source: str
    budget: float = 1.0
    rule: str = "official"
    samples: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardContext:
    """A board is about to be rendered.

    Attributes:
        board: As it is so far.
        notes: Texts that a plugin adds, shown as text at the top.
        published: Scores that a plugin adds; the board shows those that match a cell, with the difference.
    """

    board: Any
    notes: list[str]
    published: list[PublishedScore]


@hookspec
def register(registry: Registrar) -> None:
    """Register models, methods, tasks, suites, reports and figures by name."""


@hookspec
def run_started(event: RunStarted) -> None:
    """Called once when a run begins or is resumed."""


@hookspec
def cell_started(event: CellStarted) -> None:
    """Called when work on a cell begins; not for a cell that was complete already."""


@hookspec
def record_written(event: RecordWritten) -> None:
    """Called for each record after it is on disk."""


@hookspec
def cell_finished(event: CellFinished) -> None:
    """Called for each cell of the run once it is complete."""


@hookspec
def run_finished(event: RunFinished) -> None:
    """Called once when no cell is left to do."""


@hookspec
def board_context(event: BoardContext) -> None:
    """Called before a board is rendered."""


NAMES = tuple(name for name, value in list(globals().items()) if hasattr(value, f"{NAMESPACE}_spec"))
"""The hooks that there are."""
