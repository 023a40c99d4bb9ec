"""Task selection (dissertation, Algorithm 1): which candidate tasks to finetune on for a target."""

from .choice import Options, Pool, Selection, select
from .coverage import Moments, PlainCurve, Space

__all__ = ["Moments", "Options", "PlainCurve", "Pool", "Selection", "Space", "select"]
