"""What the page shows, as plain values: templates and tables only set it."""

from .conditions import card_views, run_view
from .facts import baselines, facts, unranked
from .overview import overviews
from .summary import summaries
from .task import plot_views, task_table

__all__ = [
    "baselines",
    "card_views",
    "facts",
    "overviews",
    "plot_views",
    "run_view",
    "summaries",
    "task_table",
    "unranked",
]
