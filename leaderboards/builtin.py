"""The built-in report formats and figures, registered like anybody's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.hooks import hookimpl
from . import dissertation

if TYPE_CHECKING:
    from ..harness.registry import Registrar

_HERE = "adaptbench.leaderboards"
_FIGURES = {
    "pareto": "accuracy against what a prefill costs, a line for each model over its budgets",
    "plans": "which blocks, heads and channels ran: by budget and by input",
    "attention": "what the last token of a prompt attends to in the picture, block by block",
    "radar": "a polygon for each model over all tasks",
    "ablation": "accuracy by budget for models that differ in one argument of a method",
    "random": "a learned scheduler beside random ones: mean and range over seeds",
    "answers": "a picture, a question, and the answers at several budgets",
    "compositional": "two simple tasks, their composite, and the composite in context, for each model",
    "gap": "a composite after the simple tasks beside its in-context gold standard, with the difference",
    "mistakes": "what answers show to have been done: both operations, one of them, none, or something else",
}


@hookimpl
def register(registry: Registrar) -> None:
    """Register the page, the tables, the charts, the figures, and the published table that can be computed again."""
    for suffix in (".svg", ".pdf", ".png", ".html"):
        registry.chart(suffix, f"{_HERE}.cost_chart:write_chart")
    registry.report(".html", f"{_HERE}.page:write_html")
    registry.report(".md", f"{_HERE}.tables:write_markdown")
    registry.report(".csv", f"{_HERE}.tables:write_csv")
    registry.report(".parquet", f"{_HERE}.tables:write_parquet")
    registry.report(".svg", f"{_HERE}.charts:write_svg")
    registry.report(".pdf", f"{_HERE}.charts:write_pdf")
    for name, summary in _FIGURES.items():
        registry.figure(name, f"{_HERE}.figures.{name}:{name}", summary=summary)
    dissertation.register(registry)
