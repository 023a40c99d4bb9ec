"""What the dissertation prints and finds, beside what runs say: its tables as data, its findings, and its trainings.

Nothing else in this package depends on it: `register` adds its reports and figures, as a plugin would, and
`board_context` its scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...harness.hooks import BoardContext
    from ...harness.registry import Registrar


def register(registry: Registrar) -> None:
    """Register what is drawn and written of the dissertation."""
    reports = {
        "seeds": "methods by budget over several trainings: mean, interval and range",
        "findings": "the dissertation's findings on adaptive inference beside those of the runs",
        "efficiency": "Table C.2 of the dissertation computed again; it needs no run",
        "diversity": "the linear case study of chapter 3, as printed and as computed; it needs no run",
    }
    for name, summary in reports.items():
        target = f"{__name__}.{name}:{name}"
        registry.report(name, target, formats=(".html", ".md", ".csv", ".json", ".tex"), summary=summary)
    figures = {
        "scale": "accuracy against the size of models, in the four settings of a pair",
        "tasks-and-samples": "accuracy against the tasks that an encoder was finetuned on, and the samples of each",
    }
    for name, summary in figures.items():
        module = name.replace("-", "_")
        registry.figure(name, f"{__name__}.{module}:{module}", summary=summary)


def board_context(event: BoardContext) -> None:
    """Add the scores of its tables."""
    from .scores import published_scores

    event.published.extend(published_scores())
