"""Two sides, and what the samples say of the difference between them: accuracy, costs, and what flipped."""

from .compare import compare
from .result import Comparison, CostRatio, Flips, TaskComparison, Unpaired
from .side import Side

__all__ = ["Comparison", "CostRatio", "Flips", "Side", "TaskComparison", "Unpaired", "compare"]
