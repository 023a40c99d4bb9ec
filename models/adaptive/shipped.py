"""What ships for ``tiny-llava``: AdaLLaVA's checkpoints, FitPrune's schedules, TRIM's text half, made by `train`."""

from __future__ import annotations

from pathlib import Path

from ..pruning.schedules_shipped import schedules

_WEIGHTS = Path(__file__).parent / "weights"
_TEXT = Path(__file__).parents[1] / "reference" / "weights" / "tiny-text"
SHIPPED = {
    f"adallava-{letter}": {
        "auto": str(_WEIGHTS / f"tiny-llava-{letter}"),
        "prumerge-plus": str(_WEIGHTS / f"tiny-llava-{letter}-prumerge-plus"),
    }
    for letter in "lh"
} | {"fitprune": schedules("tiny-llava"), "trim": {"auto": str(_TEXT)}}
"""Method -> name -> folder or file. ``prumerge-plus`` was trained with PruMerge+ between tower and projector."""
