"""The models in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .abilities import Reusable, Sweepable
from .batching import give_back_memory, has_accelerator
from .measure.memory import free_memory, used_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .identity import BoundModel


class LoadedModels:
    """The models in memory: one, or several budgets of one that share its weights; and their base for the next spec."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._base: tuple[str, Reusable] | None = None
        """Name and base of the known models, if they share its weights."""
        self._apart: set[str] = set()
        """Keys of models that do not share their weights with other budgets."""

    def get(self, model: BoundModel, key: str) -> Any:
        """Build a model, or return it if it is there."""
        if key not in self._known:
            self._know(key, model.on(model.common(self._loaded(model))))
        return self._known[key]

    def apart(self, key: str) -> bool:
        """Whether a model was found not to share its weights with other budgets."""
        return key in self._apart

    def load_together(self, models: Mapping[str, BoundModel]) -> bool:
        """Build one model at several budgets; ``False`` if these would not share their weights.

        Args:
            models: Key -> model, the first of which is built in any case.
        """
        if self.apart(first := next(iter(models))):
            return False
        if models.keys() <= self._known.keys():
            return True
        common = models[first].common(self._loaded(models[first]))
        if isinstance(common, Sweepable):
            common = common.for_sweep()
        model = self._know(first, models[first].on(common))
        if not (isinstance(common, Sweepable) and common.shares_weights(model)):
            self._apart.add(first)
            return False
        self._known |= {key: bound.on(common) for key, bound in models.items() if key != first}
        return True

    def _loaded(self, model: BoundModel) -> Any:
        """The base of a model: the one that is there, if it is the same and nothing changed it, or else a new one."""
        if self._base is not None and self._base[0] == model.base_name:
            self._known = {}
            if (again := self._base[1].as_loaded()) is not None:
                return again
        self._let_go()
        base = model.base()
        if not isinstance(base, Reusable):
            return base
        self._base = model.base_name, base
        return base.as_loaded()

    def _know(self, key: str, model: Any) -> Any:
        """Keep a model, and its base unless that would be more weights."""
        self._known[key] = model
        if self._base is not None and not self._base[1].shares_weights(model):
            self._base = None
        return model

    def _let_go(self) -> None:
        """Make room before the next weights take memory.

        To look for objects that refer to each other takes longer than a small model answers. It can wait while there is
        room for all that this process holds once more.
        """
        if self._known or self._base:
            self._known, self._base = {}, None
            if has_accelerator() or used_memory() > free_memory():
                give_back_memory()
