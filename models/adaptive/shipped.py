"""What ships for the shipped LLaVA: AdaLLaVA's checkpoints and FitPrune's schedules, made by ``adaptbench train``."""

from __future__ import annotations

from pathlib import Path

from ..pruning.schedules_shipped import schedules

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = {
    f"adallava-{letter}": {
        "auto": str(_WEIGHTS / f"tiny-llava-{letter}"),
        "prumerge-plus": str(_WEIGHTS / f"tiny-llava-{letter}-prumerge-plus"),
    }
    for letter in "lh"
} | {"fitprune": schedules("tiny-llava")}
"""Method -> name -> folder or file. ``prumerge-plus`` was trained with PruMerge+ between tower and projector."""
