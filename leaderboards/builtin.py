"""The built-in reports and figures, registered like anybody's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.hooks import hookimpl
from . import dissertation, reduction

if TYPE_CHECKING:
    from ..harness.hooks import BoardContext
    from ..harness.registry import Registrar

_HERE = "adaptbench.leaderboards"
_FIGURES = {
    "pareto": "accuracy against what a prefill costs, a line for each model over its budgets",
    "plans": "which blocks, heads and channels ran: by budget and by input",
    "attention": "what the last token of a prompt attends to in the image, block by block",
    "kept": "which visual tokens of an image each model keeps, stage by stage",
    "radar": "a polygon for each model over all tasks",
    "ablation": "accuracy by budget for models that differ in one argument of a method",
    "random": "a learned scheduler beside random ones: mean and range over seeds",
    "answers": "an image, a question, and the answers at several budgets",
    "compositional": "two simple tasks, their composite, and the composite in context, for each model",
    "gap": "a composite after the simple tasks beside its in-context gold standard, with the difference",
    "mistakes": "what answers show to have been done: both operations, one of them, none, or something else",
    "history": "scores of each model over many runs",
    "costs": "FLOPs and predicted time of architectures: adaptbench cost --out",
    "selection": "similarity and coverage of candidate tasks: adaptbench select --figure",
}
_SECTIONS = {
    "pareto": "Cost",
    "plans": "Cost",
    "compositional": "Composition",
    "gap": "Composition",
    "mistakes": "Composition",
}
"""Figures with panels on the board, and their headings."""


@hookimpl
def register(registry: Registrar) -> None:
    """Register the leaderboard, the figures, and what belongs to token reduction and to the dissertation."""
    registry.report(
        "leaderboard",
        f"{_HERE}.leaderboard:leaderboard",
        formats=(".html", "/", ".md", ".csv", ".parquet", ".tex", ".svg", ".pdf"),
        summary="models by tasks: ranks, intervals, costs; as a folder with all samples, as .svg and .pdf its charts",
    )
    registry.report(
        "comparison",
        f"{_HERE}.comparing:comparison",
        formats=(".html", ".md", ".json", ".txt"),
        summary="two runs, or models of one run: differences, costs, and the samples that flipped",
    )
    registry.report(
        "history",
        f"{_HERE}.history:history",
        formats=(".html", ".md", ".csv", ".json", ".tex"),
        summary="each model over many runs, by date and git revision: scores, changes, costs",
    )
    registry.report(
        "model-card",
        f"{_HERE}.model_card:model_card",
        formats=(".yaml", ".md"),
        summary="results of one model as the metadata of a Hugging Face model card (model-index)",
    )
    for name, summary in _FIGURES.items():
        module, section = f"{_HERE}.figures.{name}", _SECTIONS.get(name, "")
        panels = f"{module}:on_board" if section else None
        registry.figure(name, f"{module}:{name}", summary=summary, panels=panels, section=section)
    reduction.register(registry)
    dissertation.register(registry)


@hookimpl
def board_context(event: BoardContext) -> None:
    """Add what the dissertation, and others of token reduction, published."""
    reduction.board_context(event)
    dissertation.board_context(event)
