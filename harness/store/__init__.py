"""The run directory: what is written, in which order, and how it is read again."""

from .answers import AnswerStore
from .cells import StoredCell, read_cell
from .features import FeatureStore
from .index import Index, MetricColumn
from .journal import Journal
from .run import Manifest, RunDirectory, Session

__all__ = [
    "AnswerStore",
    "FeatureStore",
    "Index",
    "Journal",
    "Manifest",
    "MetricColumn",
    "RunDirectory",
    "Session",
    "StoredCell",
    "read_cell",
]
