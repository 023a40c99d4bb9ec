"""The built-in report formats, registered like anybody's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.hooks import hookimpl

if TYPE_CHECKING:
    from ..harness.registry import Registrar

_HERE = "adaptbench.leaderboards"


@hookimpl
def register(registry: Registrar) -> None:
    """Register the page, the tables, the charts, and the published table that can be computed again."""
    for suffix in (".svg", ".pdf", ".png", ".html"):
        registry.chart(suffix, f"{_HERE}.cost_chart:write_chart")
    registry.comparison("efficiency", f"{_HERE}.efficiency:efficiency")
    registry.report(".html", f"{_HERE}.page:write_html")
    registry.report(".md", f"{_HERE}.tables:write_markdown")
    registry.report(".csv", f"{_HERE}.tables:write_csv")
    registry.report(".parquet", f"{_HERE}.tables:write_parquet")
    registry.report(".svg", f"{_HERE}.charts:write_svg")
    registry.report(".pdf", f"{_HERE}.charts:write_pdf")
