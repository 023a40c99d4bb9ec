"""One side of a comparison: a run, or some cells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from ..errors import UserError
from ..specs import did_you_mean, parse
from ..store import Index, RunDirectory, StoredCell, read_cell

if TYPE_CHECKING:
    from pathlib import Path

    from ..results import CellId


class SideCell(NamedTuple):
    """A cell that a side offers: complete, or the reason why it cannot be read."""

    id: CellId
    stored: StoredCell | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """A run, or one model of it.

    Attributes:
        run: The directory.
        model: Canonical model spec without a budget; empty for all models of the run.
        budget: Only this one of the model's; ``None`` for all.
    """

    run: RunDirectory
    model: str = ""
    budget: float | None = None

    @classmethod
    def of(cls, run: RunDirectory, model: str = "") -> Self:
        """Look a model of a run up.

        Args:
            run: The directory.
            model: Spec, with or without a budget; empty for all models.

        Raises:
            UserError: The run has no such model.
        """
        if not model:
            return cls(run)
        names = list(dict.fromkeys(cell.model for cell in run.manifest().cells.values()))
        if model in names:  # a Python object may have any name
            return cls(run, model)
        spec = parse(model)
        name = str(spec.without_budget())
        if name not in names:
            hint = did_you_mean(name, names)
            raise UserError(
                f"the run has no model {model}{hint}", where=str(run.path), todo=f"it has {', '.join(names) or 'none'}"
            )
        return cls(run, name, spec.budget)

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """Open what the command line calls a side: ``RUN``, or ``RUN#SPEC`` for one model of it.

        Raises:
            UserError: There is no such run, or it has no such model.
        """
        folder, _, model = str(path).partition("#")
        return cls.of(RunDirectory.existing(folder), model)

    @property
    def name(self) -> str:
        """The run's name, or the model's spec."""
        budget = "" if self.budget is None else f"@{self.budget:g}"
        return f"{self.model}{budget}" if self.model else self.run.manifest().name

    def cells(self) -> list[SideCell]:
        """The cells, in the run's order."""
        with Index(self.run) as index:
            return [
                self._read(key, cell, index)
                for key, cell in self.run.manifest().cells.items()
                if self.model in ("", cell.model) and self.budget in (None, cell.budget)
            ]

    def _read(self, key: str, cell: CellId, index: Index) -> SideCell:
        try:
            stored = read_cell(self.run.journal(key), index)
        except UserError as error:
            return SideCell(cell, None, f"{error.what}; {error.todo}")
        return SideCell(cell, stored, "" if stored else "not complete")
