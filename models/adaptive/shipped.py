"""The checkpoints of AdaLLaVA that ship: trained on the shipped LLaVA by ``adaptbench train adallava``."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = {
    switch: {
        "auto": str(_WEIGHTS / f"tiny-llava-{letter}"),
        "prumerge-plus": str(_WEIGHTS / f"tiny-llava-{letter}-prumerge-plus"),
    }
    for switch, letter in (("layers", "l"), ("heads", "h"))
}
"""What is switched -> name -> folder. ``prumerge-plus`` was trained with PruMerge+ between tower and projector."""
