"""Few-shot image classification: sources of images, episodes, and the nearest-centroid classifier."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .episodes import Manifest
    from .images import ImageSet
    from .protocol import Protocol, few_shot_card
    from .task import FewShot

__all__ = ["FewShot", "ImageSet", "Manifest", "Protocol", "few_shot_card"]

_HOMES = {
    "FewShot": "task",
    "ImageSet": "images",
    "Manifest": "episodes",
    "Protocol": "protocol",
    "few_shot_card": "protocol",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: to list names must not cost the import of numpy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
