"""The checkpoints of AdaLLaVA that ship: trained on the shipped LLaVA by ``adaptbench train adallava``."""

from __future__ import annotations

from pathlib import Path

SHIPPED = {switch: str(Path(__file__).parent / "weights" / f"tiny-llava-{switch[0]}") for switch in ("layers", "heads")}
"""What is switched -> folder."""
