"""The report ``leaderboard``: the board in the format that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.measure.roofline import find_accelerator
from .board import make_board
from .charts import figure, still
from .page import render
from .tables import csv, latex, markdown, parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.outputs import ReportRequest


def leaderboard(request: ReportRequest, *, hardware: Sequence[str] = ()) -> str | bytes:
    """Return the board of some runs; as ``.svg`` and ``.pdf`` its charts.

    Args:
        request: The runs.
        hardware: Accelerators to predict the time of prefills for.

    Raises:
        UserError: No cell is complete, or there is nothing to draw.
    """
    if hardware and request.form in (".svg", ".pdf"):
        raise UserError("charts have no predicted times", todo="leave --hardware out, or write .html")
    chips = [find_accelerator(name) for name in dict.fromkeys(hardware)]
    board = make_board(request.runs, request.plugins, chips)
    match request.form:
        case ".html":
            return render(board, request.plugins.registry)
        case ".md":
            return markdown(board)
        case ".tex":
            return latex(board)
        case ".csv":
            return csv(board)
        case ".parquet":
            return parquet(board)
        case form:
            return still(figure(board), form)
