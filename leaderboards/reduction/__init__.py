"""What models keep that read fewer visual tokens: measures from the records of runs, and what others have published."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...harness.hooks import BoardContext
    from ...harness.registry import Registrar


def register(registry: Registrar) -> None:
    """Register the reports and the figure."""
    registry.report(
        "reduction",
        f"{__name__}.reduction:reduction",
        formats=(".html", ".md", ".csv", ".json", ".tex"),
        summary="models that read fewer visual tokens beside the whole one: retention, loyalty, flips, groups A and B",
    )
    registry.report(
        "reduction-claims",
        f"{__name__}.claims:claims",
        formats=(".html", ".md", ".csv", ".json", ".tex"),
        summary="what is claimed of token reduction: holds, does not hold, or undecided on the models of some runs",
    )
    registry.report(
        "reduction-published",
        f"{__name__}.published:published",
        formats=(".html", ".md", ".csv", ".json", ".tex", ".svg", ".pdf", ".png"),
        summary="what is published of token reduction, its averages computed again; .svg: what contradicts; no run",
    )
    registry.figure(
        "retained",
        f"{__name__}.heat:retained",
        summary="what each model keeps of the whole one's score on each task, with intervals",
    )


def board_context(event: BoardContext) -> None:
    """Add the published scores of methods that can be run here."""
    from .scores import published_scores

    event.published.extend(published_scores())
