"""What a cell costs: FLOPs of its own first input, and the time of its own first batch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .contracts import Embedder, Traceable
from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .contracts import Task
    from .identity import Settings
    from .results import FlopCount, Timing


class Costs:
    """The costs of one model on one task. Nothing is loaded or measured before it is asked for.

    Args:
        model: Returns the model.
        task: Its inputs are what is counted and timed.
        settings: Batch size, device and waived operators.
    """

    def __init__(self, model: Callable[[], Any], task: Task, settings: Settings) -> None:
        self._model, self._task, self._settings = model, task, settings
        self.flops_missing = ""
        """Why `flops` is ``None``, after it was asked for."""

    @functools.cached_property
    def flops(self) -> FlopCount | None:
        """FLOPs of one input."""
        model = self._model()
        if not isinstance(model, Traceable):
            self.flops_missing = "not counted: the model is not a torch module"
            return None
        from .measure.flops import count_flops

        try:
            return count_flops(model.module, self._prepared(1), waive=self._settings.waive).stored()
        except UserError as error:
            self.flops_missing = f"not counted: {error}"
            return None

    @property
    def parameters(self) -> int | None:
        """Parameters of the module."""
        model = self._model()
        if not isinstance(model, Traceable):
            return None
        from .measure.flops import parameters

        return parameters(model.module)

    def time(self) -> Timing | None:
        """Measure one batch, now; ``None`` if the clock cannot tell, or for a capability that is not timed yet."""
        from .measure.timing import TooShort, measure

        model = self._model()
        if not isinstance(model, Embedder):
            return None
        count = min(self._settings.batch_size, len(self._task.inputs))
        call, what, memory = self._call(model, count)
        try:
            timing = measure(call, what=what, inputs=count, device=self._settings.device)
        except TooShort:
            return None
        return timing.model_copy(update={"peak_memory": memory()})

    def _call(self, model: Any, count: int) -> tuple[Callable[[], object], str, Callable[[], int | None]]:
        """What to time, its name, and how to measure its memory."""
        if not isinstance(model, Traceable):
            images = [item.load() for item in self._task.inputs[:count]]
            return functools.partial(model.embed, images), f"embed() of {count} images", lambda: None
        import torch

        from .measure.memory import peak_memory

        prepared, module = self._prepared(count), model.module

        def forward() -> object:
            with torch.inference_mode():
                return module(**prepared)

        return forward, f"forward of {count} images", lambda: peak_memory(forward, self._settings.device)

    def _prepared(self, count: int) -> Mapping[str, Any]:
        prepared: Mapping[str, Any] = self._model().prepare([item.load() for item in self._task.inputs[:count]])
        return prepared
