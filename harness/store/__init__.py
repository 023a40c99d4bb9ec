"""The run directory: what is written, in which order, and how it is read again."""

from .features import FeatureStore
from .index import Index, MetricColumn
from .journal import Journal
from .run import Manifest, RunDirectory, Session

__all__ = ["FeatureStore", "Index", "Journal", "Manifest", "MetricColumn", "RunDirectory", "Session"]
