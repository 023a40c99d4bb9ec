"""Square grids of patches, on which some selectors put a coarser one."""

from __future__ import annotations

import math

from pydantic import Field

from ...harness.errors import UserError
from ...harness.methods import Selector


class OnGrid(Selector):
    """Leave ``grid`` x ``grid`` visual tokens of the square of patches of each image."""

    grid: int = Field(8, ge=1)
    """How many visual tokens each side of an image has."""

    def kept(self, given: int) -> int:
        """Return grid x grid, if the patches are a square of at least that side."""
        side = math.isqrt(given)
        if side**2 != given or self.grid > side:
            what = f"cannot put a grid of {self.grid} x {self.grid} on {given} visual tokens"
            raise UserError(what, todo=f"give grid from 1 to {side}" if side**2 == given else "choose another method")
        return self.grid**2
