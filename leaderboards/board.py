"""The board: what every report format is made from."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.hooks import BoardContext
from ..harness.progress import SILENT
from .collect import collect
from .published import with_published
from .ranking import sections
from .wording import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.measure.roofline import Accelerator
    from ..harness.plugins import Plugins
    from ..harness.progress import Steps
    from ..harness.store import RunDirectory
    from .collect import Missing, Run
    from .ranking import Section, Standing


@dataclass(frozen=True, slots=True)
class Board:
    """What the runs say, ranked.

    Attributes:
        missing: Cells that have no scores.
        notes: Texts of plugins that listen to ``board_context``.
    """

    runs: tuple[Run, ...]
    sections: tuple[Section, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The names of the runs."""
        return listed([run.name for run in self.runs])

    @property
    def cells(self) -> tuple[int, int]:
        """How many cells have scores, and how many were asked for."""
        done = sum(len(section.standings) for section in self.sections)
        return done, done + len(self.missing)

    @property
    def unranked(self) -> list[tuple[Section, Standing]]:
        """Cells with scores but without a rank, baselines aside."""
        return [(s, standing) for s in self.sections for standing in s.standings if not standing.comparable]


def make_board(
    directories: Sequence[RunDirectory],
    plugins: Plugins,
    hardware: Sequence[Accelerator] = (),
    progress: Steps = SILENT,
) -> Board:
    """Read and rank runs, and let plugins add notes and published scores.

    Args:
        directories: The runs.
        plugins: They may listen.
        hardware: Accelerators to predict the time of prefills for.
        progress: Is told how many cells were read.

    Raises:
        UserError: There is no run, or no cell of the runs is complete.
    """
    if not directories:
        raise UserError(
            "there is no run to report on", todo="name one or more run directories; see `adaptbench report --help`"
        )
    found = collect(directories, hardware, progress)
    if not found.rows:
        reasons = "; ".join(f"{miss.cell.model} on {miss.cell.task}: {miss.reason}" for miss in found.missing[:3])
        raise UserError(
            f"no cell is complete{f' ({reasons})' if reasons else ''}",
            where=listed([str(run.directory.path) for run in found.runs]),
            todo="run the same `adaptbench run` command again to its end",
        )
    board = Board(found.runs, sections(found.rows), found.missing)
    context = BoardContext(board=board, notes=[], published=[])
    plugins.fire("board_context", context)
    return replace(
        board, sections=with_published(board.sections, context.published), notes=tuple(map(str, context.notes))
    )


def folder_of(package: str) -> Path:
    """The folder of a package of the ``board`` extra, without importing it.

    Raises:
        UserError: It is not installed.
    """
    spec = None if sys.modules.get(package, sys) is None else importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(package)
    return Path(spec.origin).parent


def need(module: str) -> Any:
    """Import a library of the ``board`` extra.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error.name) from error


def _missing(name: str | None) -> UserError:
    return UserError(f"this report needs {name}, which is not installed", todo="pip install 'adaptbench[board]'")
