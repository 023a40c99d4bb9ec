"""The finetuned checkpoints that ship, in ``weights/BASE/METHOD/NAME``: scripts in ``ci`` trained them."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"


def shipped(base: str) -> dict[str, dict[str, str]]:
    """Return method -> name -> folder of the checkpoints that ship for a model; ``auto`` is ``seed0``, or the first."""
    found: dict[str, dict[str, str]] = {}
    for folder in sorted((_WEIGHTS / base).glob("*/*/")):
        found.setdefault(folder.parent.name, {})[folder.name] = str(folder)
    return {
        method: {"auto": names.get("seed0", next(iter(names.values()))), **names} for method, names in found.items()
    }
