"""What a cell costs: FLOPs of its own first input, and the time of its own first batch."""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .abilities import AnswersApart, CountedMaskedModel, HasModule, Prefilling, SaysWhyUncounted, Staged, Traceable
from .contracts import Prompt
from .errors import BadSample, UserError
from .faults import blamed_on
from .measure.timing import shapes_of
from .results import END_TO_END, FlopCount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .abilities import Mark
    from .cards import Capability
    from .contracts import Input, Record, Sample
    from .measure.timing import Effort, Passes
    from .results import Timing


OF_IMAGES: tuple[Capability, ...] = ("embed", "dual")
"""Capabilities whose cost is that of embedding images. The texts of ``dual`` are embedded once, however many images."""


_SHARE = 0.02
"""Of the time that a cell's answers took: after that, a measurement ends, if it has its first repetitions."""
_LEAST_SECONDS = 0.1
"""Of a measurement, however quick the answers."""
_TIMED_PROMPTS = 8
"""A timed prefill reads at most these first prompts of a cell: it shares nothing, and one of a full batch would often
take longer than all of the cell's answers."""


class Counted(NamedTuple):
    """FLOPs of one input and parameters of the module.

    ``missing`` says why ``flops`` is ``None``; a ``convention`` says that they come with the answers.
    """

    flops: FlopCount | None
    missing: str
    parameters: int | None
    convention: Mapping[str, Any] | None = None


def answered_flops(
    convention: Mapping[str, Any] | None, samples: Sequence[Sample], records: Sequence[Record]
) -> FlopCount | None:
    """Return the mean FLOPs of an input from the costs that came with the answers; ``None`` if one came without."""
    asked = sum(len(sample.inputs) for sample, record in zip(samples, records, strict=True) if not record.fault)
    flops = [cost.flops for record in records for cost in record.costs if cost.flops is not None]
    if convention is None or not flops or len(flops) < asked:
        return None
    return FlopCount(value=round(sum(flops) / len(flops)), **convention)


def uncounted(counted: Counted, model: Callable[[], Any]) -> str:
    """Say why there are no FLOPs: a model whose answers should have brought them may know."""
    asked = None if counted.convention is None else model()
    return (asked.uncounted if isinstance(asked, SaysWhyUncounted) else "") or counted.missing


class Costs:
    """The costs of one model. Nothing is loaded or measured before it is asked for.

    Args:
        model: Returns the model.
        waive: Names of operators that may stay uncounted.
    """

    def __init__(self, model: Callable[[], Any], waive: Sequence[str] = ()) -> None:
        self._model, self._waive = model, waive
        self._counted: dict[str, Counted] = {}
        self._timed: dict[str, tuple[Timing | None, Timing | None]] = {}

    def count(self, inputs: Sequence[Input], capability: Capability = "embed") -> Counted:
        """Count the first of a cell's inputs; inputs of equal shapes are counted once."""
        model = self._model()
        if capability not in OF_IMAGES:
            if isinstance(model, Prefilling | AnswersApart | CountedMaskedModel):
                return Counted(None, "not counted: no answer came with its FLOPs", _size(model), model.convention)
            return Counted(None, "not counted: the model does not say what its prefill costs", None)
        if not isinstance(model, Traceable):
            return Counted(None, "not counted: the model is not a torch module", None)
        prepared = _prepared(model, inputs[:1])
        shapes = shapes_of(prepared)
        if shapes not in self._counted:
            self._counted[shapes] = self._count(model, prepared)
        return self._counted[shapes]

    def _count(self, model: Traceable, prepared: Mapping[str, Any]) -> Counted:
        from .measure.flops import count_flops, not_counted, parameters

        size = parameters(model.module)
        try:
            with blamed_on("the trace", type(model.module).__name__):
                flops = count_flops(model.module, prepared, waive=self._waive).stored()
        except UserError as error:  # a model that cannot be counted is still scored and timed
            return Counted(None, not_counted(error), size)
        return Counted(flops, "", size)

    def times(
        self,
        inputs: Sequence[Input],
        capability: Capability = "embed",
        answering: float = math.inf,
        passes: Passes | None = None,
    ) -> tuple[Timing | None, Timing | None]:
        """Return what `time` and `end_to_end` do, measured once for all cells whose inputs have the same shape."""
        given = passes.given.get(len(inputs)) if passes else None
        shape = f"{capability}: {given or self._shape(inputs, capability)}"
        if shape in self._timed:
            timing, whole = (one and one.model_copy(update={"shared": True}) for one in self._timed[shape])
            return timing, whole
        timing = self.time(inputs, capability, answering, passes)
        self._timed[shape] = timing, self.end_to_end(inputs, capability, answering, passes) if timing else None
        return self._timed[shape]

    def _shape(self, inputs: Sequence[Input], capability: Capability) -> str:
        """The shape of what a module is given; of what any other model is given, which inputs these are."""
        model = self._model()
        if capability in OF_IMAGES and isinstance(model, Traceable):
            return shapes_of(_prepared(model, inputs))
        return str([item.digest for item in inputs[:_TIMED_PROMPTS]])

    def end_to_end(
        self,
        inputs: Sequence[Input],
        capability: Capability = "embed",
        answering: float = math.inf,
        passes: Passes | None = None,
    ) -> Timing | None:
        """Measure the same batch from images to vectors, as every model is timed; ``None`` if `time` does just that."""
        model = self._model()
        if capability not in OF_IMAGES or not isinstance(model, Traceable):
            return None
        own = passes.whole.get(len(inputs)) if passes else None
        return _measured(_embedding(model, inputs, _device(model)), _effort(answering), own)

    def time(
        self,
        inputs: Sequence[Input],
        capability: Capability = "embed",
        answering: float = math.inf,
        passes: Passes | None = None,
    ) -> Timing | None:
        """Measure one batch, now, unless the cell's own passes tell.

        Args:
            inputs: The batch, of which a prefill reads the first prompts.
            capability: What is asked of the model.
            answering: Seconds that the cell's answers took: measuring takes a small share of that, or a few calls.
            passes: Those that answered the cell.

        Returns:
            ``None`` if the clock cannot tell, or a generator has no prefill of its own.
        """
        model, own = self._model(), None
        if capability not in OF_IMAGES:
            if not isinstance(model, Prefilling | CountedMaskedModel):
                return None
            prefill = _prefill(model, _askable(inputs[:_TIMED_PROMPTS]))
            if prefill is None:
                return None
            batch = prefill
        elif isinstance(model, Traceable):
            batch = _forward(model, inputs)
            own = passes.module.get(len(inputs)) if passes else None
        else:  # what it returns is in the processor's memory, so the processor's clock sees all of it
            batch = _embedding(model, inputs, "cpu")
            own = passes.whole.get(len(inputs)) if passes else None
        timing = _measured(batch, _effort(answering), own)
        if timing is None or (capability in OF_IMAGES and not isinstance(model, Traceable)):
            return timing
        from .measure.memory import peak_memory

        peak = passes.peak.get(len(inputs)) if passes and timing.own else None
        held = peak_memory(batch.call, batch.device) if peak is None else peak
        return timing.model_copy(update={"peak_memory": held})


class _Batch:
    """What is timed.

    Args:
        prepare: Returns the call. What it is given is loaded only if it has to be made.
        what: What it does, as shown to users.
        inputs: To how many inputs.
        device: Where it runs.
        stages: The same call, if it marks its stages.
    """

    def __init__(
        self,
        prepare: Callable[[], Callable[[], object]],
        what: str,
        inputs: int,
        device: str,
        stages: Callable[[Mark], object] | None = None,
    ) -> None:
        self._prepare, self.what, self.inputs, self.device, self.stages = prepare, what, inputs, device, stages

    @functools.cached_property
    def call(self) -> Callable[[], object]:
        """What to time."""
        return self._prepare()


def _measured(batch: _Batch, effort: Effort, own: Sequence[float] | None) -> Timing | None:
    """What the cell's own passes took, of a call on the processor, or else repetitions; ``None`` if it is too short."""
    from .measure.timing import TooShort, measure, measure_stages, of_passes

    what, inputs, device = batch.what, batch.inputs, batch.device
    with suppress(TooShort):
        if batch.stages is not None:
            return measure_stages(batch.stages, what=what, inputs=inputs, device=device, effort=effort)
        found = of_passes(own, what=what, inputs=inputs) if own and device == "cpu" else None
        return found or measure(batch.call, what=what, inputs=inputs, device=device, effort=effort)
    return None


def _effort(answering: float) -> Effort:
    from .measure.timing import Effort

    return Effort(most=max(_LEAST_SECONDS, _SHARE * answering))


def _embedding(model: Any, inputs: Sequence[Input], device: str) -> _Batch:
    """What to time of any model of images, end to end."""

    def prepare() -> Callable[[], object]:
        return functools.partial(model.embed, [item.own() for item in inputs])

    return _Batch(prepare, f"{END_TO_END} of {len(inputs)} images", len(inputs), device)


def _device(model: HasModule) -> str:
    """Where a module is: of one that is split, an accelerator before the processor's memory."""
    return min(_devices(model), key=lambda name: (not name.startswith("cuda"), name), default="cpu")


def _devices(model: HasModule) -> set[str]:
    return {str(weight.device) for weight in model.module.parameters()} - {"meta"}


def _forward(model: Traceable, inputs: Sequence[Input]) -> _Batch:
    """What to time of a torch model."""
    import torch

    def prepare() -> Callable[[], object]:
        prepared, module = _prepared(model, inputs), model.module

        def forward() -> object:
            with torch.inference_mode():
                return module(**prepared)

        return forward

    return _Batch(prepare, f"forward of {len(inputs)} images", len(inputs), _device(model))


def _askable(inputs: Sequence[Input]) -> list[Any]:
    """The prompts that can be loaded; those of likelihoods are contexts with their continuations."""
    prompts = []
    for item in inputs:
        with suppress(BadSample):
            loaded = item.own()
            prompts.append(Prompt("".join(filter(None, loaded))) if isinstance(loaded, tuple) else loaded)
    return prompts


def _prefill(model: Prefilling | CountedMaskedModel, prompts: Sequence[Any]) -> _Batch | None:
    """What to time of a generator; ``None`` if it can read no prompt."""
    if not prompts:
        return None
    try:
        call = model.prefill(prompts)
    except BadSample:
        return _prefill(model, [prompt for prompt in prompts if len(prompts) > 1 and _reads(model, prompt)])
    device = _device(model) if isinstance(model, HasModule) else "cpu"
    split = isinstance(model, HasModule) and len(_devices(model)) > 1  # a mark is read on one of them
    stages = model.stages(prompts) if isinstance(model, Staged) and not split else None
    return _Batch(lambda: call, f"prefill of {len(prompts)} prompts", len(prompts), device, stages)


def _reads(model: Prefilling | CountedMaskedModel, prompt: Any) -> bool:
    return _prefill(model, [prompt]) is not None


def _size(model: Any) -> int | None:
    from .measure.flops import parameters

    if not isinstance(model, HasModule) or any(weight.is_meta for weight in model.module.parameters()):
        return None  # weights that are on the disk may be there twice, if they are shared
    return parameters(model.module)


def _prepared(model: Traceable, inputs: Sequence[Input]) -> Mapping[str, Any]:
    return model.prepare([item.own() for item in inputs])
