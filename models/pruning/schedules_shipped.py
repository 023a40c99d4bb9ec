"""The schedules that ship for FitPrune, made by ``adaptbench train fitprune``."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "schedules"


def schedules(model: str) -> dict[str, str]:
    """Return the schedules of a shipped model by name: ``auto``, and ``quarter``; see `fitprune.FitPrune.schedule`."""
    return {"auto": str(_FOLDER / f"{model}.json"), "quarter": str(_FOLDER / f"{model}-quarter.json")}
