"""The report ``leaderboard``: the board in the format that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.measure.roofline import find_accelerator
from ..harness.outputs import FOLDER
from .board import make_board
from .charts import figure, still
from .page import render
from .site import site
from .tables import csv, latex, markdown, parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..harness.outputs import Files, ReportRequest
    from .board import Board


_TABLES: dict[str, Callable[[Board], str | bytes]] = {".md": markdown, ".tex": latex, ".csv": csv, ".parquet": parquet}


def leaderboard(request: ReportRequest, *, hardware: Sequence[str] = ()) -> str | bytes | Files:
    """Return the board of some runs: as a folder a site, as ``.svg`` and ``.pdf`` its charts.

    Args:
        request: The runs.
        hardware: Accelerators to predict the time of prefills for.

    Raises:
        UserError: No cell is complete, or there is nothing to draw.
    """
    if hardware and request.form in (".svg", ".pdf"):
        raise UserError("charts have no predicted times", todo="leave --hardware out, or write .html")
    chips = [find_accelerator(name) for name in dict.fromkeys(hardware)]
    board = make_board(request.runs, request.plugins, chips, request.progress)
    form, registry = request.form, request.plugins.registry
    if form == FOLDER:
        return site(board, registry, request.progress)
    if form == ".html":
        return render(board, registry, request.progress)
    return _TABLES[form](board) if form in _TABLES else still(figure(board), form)
