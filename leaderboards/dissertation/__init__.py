"""What the dissertation prints and finds, beside what runs say: its tables as data, its findings, and its trainings.

Nothing else in this package depends on it: `register` adds its reports and figures, as a plugin would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...harness.registry import Registrar


def register(registry: Registrar) -> None:
    """Register what is drawn and written of the dissertation."""
    registry.comparison("efficiency", f"{__name__}.efficiency:efficiency")
    registry.figure(
        "scale",
        f"{__name__}.scale:scale",
        summary="accuracy against the size of models, in the four settings of a pair",
    )
    registry.table(
        "seeds",
        f"{__name__}.seeds:seeds",
        summary="methods by budget over several trainings: mean, interval and range",
    )
    registry.table(
        "findings",
        f"{__name__}.findings:findings",
        summary="the dissertation's findings on adaptive inference beside those of the runs",
    )
