"""The engine. It knows no task and no model, and imports no torch until a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from .api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
