"""What ships for the shipped LLaVA: AdaLLaVA's checkpoints and FitPrune's schedule, made by ``adaptbench train``."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"
_SCHEDULE = Path(__file__).parents[1] / "pruning" / "schedules" / "tiny-llava.json"
SHIPPED = {
    f"adallava-{letter}": {
        "auto": str(_WEIGHTS / f"tiny-llava-{letter}"),
        "prumerge-plus": str(_WEIGHTS / f"tiny-llava-{letter}-prumerge-plus"),
    }
    for letter in "lh"
} | {"fitprune": {"auto": str(_SCHEDULE)}}
"""Method -> name -> folder or file. ``prumerge-plus`` was trained with PruMerge+ between tower and projector."""
