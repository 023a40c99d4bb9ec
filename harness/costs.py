"""What a cell costs: FLOPs of its own first input, and the time of its own first batch."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .contracts import Traceable
from .errors import UserError
from .faults import blamed_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .contracts import Input
    from .results import FlopCount, Timing

_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Counted(NamedTuple):
    """FLOPs of one input and parameters of the module; ``missing`` says why ``flops`` is ``None``."""

    flops: FlopCount | None
    missing: str
    parameters: int | None


class Costs:
    """The costs of one model with the capability ``embed``. Nothing is loaded or measured before it is asked for.

    Args:
        model: Returns the model.
        waive: Names of operators that may stay uncounted.
    """

    def __init__(self, model: Callable[[], Any], waive: Sequence[str] = ()) -> None:
        self._model, self._waive = model, waive
        self._counted: dict[str, Counted] = {}

    def count(self, inputs: Sequence[Input]) -> Counted:
        """Count the first of a cell's inputs; inputs of equal shapes are counted once."""
        model = self._model()
        if not isinstance(model, Traceable):
            return Counted(None, "not counted: the model is not a torch module", None)
        prepared = _prepared(model, inputs[:1])
        shapes = str([(name, _shape(value)) for name, value in prepared.items()])
        if shapes not in self._counted:
            self._counted[shapes] = self._count(model, prepared)
        return self._counted[shapes]

    def _count(self, model: Traceable, prepared: Mapping[str, Any]) -> Counted:
        from .measure.flops import count_flops, parameters

        size = parameters(model.module)
        try:
            with blamed_on("the trace", type(model.module).__name__):
                flops = count_flops(model.module, prepared, waive=self._waive).stored()
        except UserError as error:  # a model that cannot be counted is still scored and timed
            return Counted(None, f"not counted: {_ADDRESS.sub('0x..', str(error))}", size)
        return Counted(flops, "", size)

    def time(self, inputs: Sequence[Input]) -> Timing | None:
        """Measure one batch, now; ``None`` if the clock cannot tell."""
        from .measure.timing import TooShort, measure

        model = self._model()
        if isinstance(model, Traceable):
            call, what, device = _forward(model, inputs)
        else:  # what it returns is in the processor's memory, so the processor's clock sees all of it
            images = [item.load() for item in inputs]
            call, what, device = functools.partial(model.embed, images), f"embed() of {len(inputs)} images", "cpu"
        try:
            timing = measure(call, what=what, inputs=len(inputs), device=device)
        except TooShort:
            return None
        if not isinstance(model, Traceable):
            return timing
        from .measure.memory import peak_memory

        return timing.model_copy(update={"peak_memory": peak_memory(call, device)})


def _forward(model: Traceable, inputs: Sequence[Input]) -> tuple[Callable[[], object], str, str]:
    """What to time of a torch model, its name, and the device that it is on."""
    import torch

    prepared, module = _prepared(model, inputs), model.module

    def forward() -> object:
        with torch.inference_mode():
            return module(**prepared)

    weight = next(module.parameters(), None)
    return forward, f"forward of {len(inputs)} images", "cpu" if weight is None else str(weight.device)


def _prepared(model: Traceable, inputs: Sequence[Input]) -> Mapping[str, Any]:
    return model.prepare([item.load() for item in inputs])


def _shape(value: Any) -> object:
    return (tuple(value.shape), str(value.dtype)) if hasattr(value, "shape") else type(value).__name__
