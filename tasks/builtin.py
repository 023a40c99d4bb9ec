"""The built-in tasks and suites, registered like anybody's plugin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.registry import Registrar

SUITES = Path(__file__).parent / "suites"


@hookimpl
def register(registry: Registrar) -> None:
    """Register few-shot tasks and the suites."""
    from .fewshot.episodes import Protocol
    from .fewshot.task import few_shot_card

    here = "adaptbench.tasks.fewshot.sources"
    sources = {
        "glyphs": ("Letters of the world's scripts", (15,)),
        "digits": ("Handwritten digits", (5,)),
    }
    for name, (summary, all_ways) in sources.items():
        registry.task(name, f"{here}:{name}_task", card=few_shot_card(summary))
        for ways in all_ways:
            for shots in (1, 5):
                card = few_shot_card(summary, Protocol(ways=ways, shots=shots))
                args = {"ways": ways, "shots": shots}
                registry.task(f"{name}-{ways}way-{shots}shot", f"{here}:{name}_task", card=card, args=args)
    for path in sorted(SUITES.glob("*.yaml")):
        registry.suite(path.stem, path)
