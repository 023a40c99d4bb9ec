"""The checkpoints of AdaLLaVA that ship: trained on the shipped LLaVA by ``adaptbench train adallava``."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = {
    f"adallava-{letter}": {
        "auto": str(_WEIGHTS / f"tiny-llava-{letter}"),
        "prumerge-plus": str(_WEIGHTS / f"tiny-llava-{letter}-prumerge-plus"),
    }
    for letter in "lh"
}
"""Method -> name -> folder. ``prumerge-plus`` was trained with PruMerge+ between tower and projector."""
