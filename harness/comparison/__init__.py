"""Two sides, and what the samples say of the difference between them: accuracy, costs, and what flipped."""

from .compare import compare, compare_cells
from .result import Comparison, CostRatio, FlippedSample, Flips, MetricComparison, TaskComparison, Unpaired
from .samples import SampleReader
from .side import Side

__all__ = [
    "Comparison",
    "CostRatio",
    "FlippedSample",
    "Flips",
    "MetricComparison",
    "SampleReader",
    "Side",
    "TaskComparison",
    "Unpaired",
    "compare",
    "compare_cells",
]
