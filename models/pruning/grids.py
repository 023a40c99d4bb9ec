"""Grids of visual tokens, on which some selectors put a coarser one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from pydantic import Field

from ...harness.errors import UserError
from .choosing import OfTower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from ...adapters.tower_signals import Signals
    from ...harness.specs import Value


class OnGrid(OfTower):
    """Leave ``grid`` x ``grid`` visual tokens of each image, or of each tile or view of one."""

    size_options = ("grid",)

    grid: int = Field(8, ge=1)
    """How many visual tokens each side of an image, or of a tile, has."""

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - before all blocks
        """Return the grid that has about that share of the tokens."""
        return {"grid": max(1, round(math.sqrt(share * visual)))}

    def kept(self, given: int) -> int:
        """Return grid x grid, if the patches are a square of at least that side."""
        side = math.isqrt(given)
        if side**2 != given or self.grid > side:
            what = f"cannot put a grid of {self.grid} x {self.grid} on {given} visual tokens"
            raise UserError(what, todo=f"give grid from 1 to {side}" if side**2 == given else "choose another method")
        return self.grid**2

    def shared(self, tokens: Sequence[int]) -> Sequence[Self]:
        """Return the same for each view: its own grid."""
        return [self] * len(tokens)

    def check(self, tower: Signals) -> None:
        """Refuse images whose tokens are in no grid, or in one that is too small."""
        (rows, columns), tokens = tower.grid, tower.features.shape[1]
        if not rows or tokens % (rows * columns):
            raise UserError("the tokens of an image are in no grid", todo="choose another method")
        if self.grid > min(rows, columns):
            what = f"cannot put a grid of {self.grid} x {self.grid} on {rows} x {columns} visual tokens"
            raise UserError(what, todo=f"give grid from 1 to {min(rows, columns)}")

    def middles(self, tower: Signals) -> torch.Tensor:
        """Return the token in the middle of each cell, of two the later one: int64 [n], cell by cell, tile by tile."""
        import torch

        (rows, columns), tokens = tower.grid, tower.features.shape[1]
        down, across = (
            torch.tensor([(2 * cell + 1) * side // (2 * self.grid) for cell in range(self.grid)])
            for side in (rows, columns)
        )
        first = torch.arange(0, tokens, rows * columns)
        places = first[:, None, None] + down[:, None] * columns + across
        return places.flatten().to(tower.features.device)
