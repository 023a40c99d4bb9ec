"""What a board is made of, and what of it has no rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import wording
from ..wording import counted
from .conditions import made_with, utc

if TYPE_CHECKING:
    from ..board import Board


def facts(board: Board) -> list[str]:
    """What the board is made of, when, where and by which versions."""
    standings = [standing for section in board.sections for standing in section.standings]
    models, (done, asked) = len({s.row.label for s in standings}), board.cells
    partial = sorted({section.partial for section in board.sections} - {""})
    sessions = [session for run in board.runs for session in run.manifest.sessions]
    on_gpu = any(s.row.timing.device != "cpu" for s in standings if s.row.timing)
    versions = {made_with(session) for session in sessions}
    return [
        f"{counted(models, 'model')} on {counted(len(board.sections), 'task')}",
        f"{done:,} of {counted(asked, 'cell')} done" if done < asked else counted(done, "cell"),
        *partial,
        *sorted({utc(session.started)[:10] for session in sessions}),
        *sorted(versions),
        *sorted({str(session.environment.get("machine", "")) for session in sessions} - {""}),
        *([] if on_gpu else ["no GPU was measured"]),
    ]


def unranked(board: Board) -> list[dict[str, Any]]:
    """Why cells have no rank or no scores: each reason once for each run, with its cells."""
    found: dict[tuple[str, str], list[str]] = {}
    for section, standing in board.unranked:
        found.setdefault((standing.reason, standing.row.run.name), []).append(
            f"{standing.row.label} on {section.title}"
        )
    for miss in board.missing:
        cell = miss.cell
        name = f"{wording.budgeted(cell.model, cell.budget)} on {wording.seeded(cell.task, cell.seed)}"
        found.setdefault((miss.reason, miss.run), []).append(name)
    return [{"reason": reason, "run": run, "cells": cells} for (reason, run), cells in found.items()]


def baselines(board: Board) -> str:
    """Names of the baselines."""
    names = (s.row.label for section in board.sections for s in section.standings if s.baseline)
    return wording.listed(list(dict.fromkeys(names)))
