"""The models in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .abilities import Sweepable
from .batching import give_back_memory, has_accelerator
from .measure.memory import free_memory, used_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .identity import BoundModel


class LoadedModels:
    """The models in memory: one, or several budgets of one that share its weights."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._apart: set[str] = set()
        """Keys of models that do not share their weights with other budgets."""

    def get(self, model: BoundModel, key: str) -> Any:
        """Build a model, or return it if it is there."""
        if key not in self._known:
            self._let_go()
            self._known[key] = model.load()
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
        self._let_go()
        base = models[first].base()
        if isinstance(base, Sweepable):
            base = base.for_sweep()
        self._known[first] = model = models[first].on(base)
        if not (isinstance(base, Sweepable) and base.shares_weights(model)):
            self._apart.add(first)
            return False
        self._known |= {key: bound.on(base) for key, bound in models.items() if key != first}
        return True

    def _let_go(self) -> None:
        """Make room before the next model takes memory.

        To look for objects that refer to each other takes longer than a small model answers. It can wait while there is
        room for all that this process holds once more.
        """
        if self._known:
            self._known = {}
            if has_accelerator() or used_memory() > free_memory():
                give_back_memory()
