"""Figures of runs, one per file, and what figures of plugins are made of."""

from .cells import sections
from .files import render
from .panels import Drawing, Panel

__all__ = ["Drawing", "Panel", "render", "sections"]
