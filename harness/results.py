"""What a finished cell says: the content of ``result.json`` and ``timing.json``.

``result.json`` holds only what a repetition gives again, to the byte; all that depends on the clock or on the machine
is in ``timing.json``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from .cards import MethodCard, ModelCard, TaskCard
from .transformer import Language

SCHEMA_VERSION = 3
"""Of what a run directory holds; it rises with every change that older versions cannot read, or make of older runs."""
READ_VERSIONS = (2, SCHEMA_VERSION)
"""Versions that are read; documents of version 2 have no checksum."""

END_TO_END = "embed()"
"""What is timed of every model of images; of one that is a torch module, its forward pass is timed besides."""


STAGES = ("tower", "method", "prefill", "token")
"""Of an answer: vision tower and projector, what methods add, the language model on what is left, one more token."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Stored):
    """A score with its interval.

    Attributes:
        value: Point estimate, in the metric's own unit (a share for ``%``).
        low: Lower end of the interval; ``None`` where n is too small to have one.
        high: Upper end.
        n: Number of scored samples.
        method: How the interval was made, as shown to users.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


class FlopCount(_Stored):
    """FLOPs of one input's forward pass, with the convention they were counted under (see `harness.measure.flops`)."""

    value: int
    unit: Literal["FLOP"] = "FLOP"
    """One multiply-accumulate is two FLOPs."""
    phase: str
    counter: str
    attention: str
    waived: tuple[str, ...] = ()
    """Operators that were not counted, each waived by name."""

    def convention(self) -> tuple[str, str, str]:
        """What must be equal for two counts to be compared."""
        return (self.unit, self.phase, self.counter)


class CellId(_Stored):
    """Which cell: printed, sorted and compared as a value."""

    model: str
    """Canonical model spec, methods included, without the budget."""
    task: str
    budget: float = 1.0
    seed: int = 0


class FailedCell(_Stored):
    """A cell that could not be completed, and why: it is tried again by the command that asked for it."""

    cell: CellId
    reason: str


class Range(_Stored):
    """What one answer takes: the least, the mean and the most of a cell's answers."""

    least: float
    mean: float
    most: float


class Account(_Stored):
    """What answers spend of a budget under one accounting (see `harness.spending`).

    Attributes:
        success: Share of the answers that are within the budget, compared in exact arithmetic.
        of_full: Mean share of the same model with every switch on.
        utilisation: Mean share of the budget that was used; above 1 is beyond it.
    """

    success: Estimate
    of_full: Estimate
    utilisation: Estimate


class Spending(_Stored):
    """What a cell's answers spent.

    Attributes:
        units: Counted in switches; ``None`` for a model without switches.
        flops: Counted in FLOPs of the language model.
        of_base: FLOPs of the language model, of those of the base model without any method, over all answers.
        language_flops: FLOPs of the language model.
        visual_tokens: That the language model read.
        blocks: That ran in a prefill.
        heads: Query heads that ran, of all blocks together.
    """

    units: Account | None
    flops: Account | None
    of_base: float | None
    language_flops: Range | None
    visual_tokens: Range | None
    blocks: Range | None
    heads: Range | None


class CellResult(_Stored):
    """``result.json``."""

    schema_version: int = SCHEMA_VERSION
    key: str
    cell: CellId
    model_card: ModelCard
    method_cards: dict[str, MethodCard] = {}
    task_card: TaskCard
    samples_digest: str
    """Hash of the samples that were scored: two cells are compared only if it is equal."""
    samples: int
    unscored: int
    unparsed: int
    partial: str | None
    """``None`` for a whole run; else why not, such as ``--limit 10``. Never ranked."""
    metrics: dict[str, Estimate]
    breakdown: dict[str, dict[str, dict[str, Estimate]]] = {}
    """Axis -> subset -> its metrics."""
    costs: dict[str, Estimate] = {}
    """Mean cost of a sample, such as its ``flops`` and ``visual_tokens``."""
    spending: Spending | None = None
    """``None`` if the answers do not tell."""
    language: Language | None = None
    """The language model whose work the records hold, if the model tells its architecture."""
    flops: FlopCount | None
    flops_missing: str = ""
    """Why ``flops`` is ``None``."""
    parameters: int | None = None
    notes: tuple[str, ...] = ()
    """The model's remarks on its answers, such as settings of its checkpoint that it ignores."""
    settings: dict[str, str | int | float | bool]
    """Batch size, device, dtype: whatever else can change an answer."""
    records_sha256: str


class Spread(_Stored):
    """Median and quartiles, in seconds."""

    median: float
    q1: float
    q3: float


class Timing(_Stored):
    """``timing.json``, and ``end-to-end.json`` where that is of a part: measured in this session.

    Never compared across machines. In seconds and bytes.
    """

    schema_version: int = SCHEMA_VERSION
    session: str
    machine: str
    """Short description of the hardware; times of different machines are not compared."""
    device: str
    what: str
    """What was timed, such as ``forward of 64 images``."""
    inputs: int
    """Inputs in the timed batch."""
    warmup: int
    repeats: int
    median: float
    q1: float
    q3: float
    p95: float
    peak_memory: int | None = None
    stages: dict[str, Spread] = {}
    """Of `STAGES`, those that a prefill says it has: what each took of the same repetitions, and a token after them."""
    gpu: dict[str, int] = {}
    """State of the GPU right after: clock and power with their limits, temperature, other processes."""
    note: str = ""
    """Anything that makes the timing suspect."""
    own: bool = False
    """Of the passes that answered the cell, each of other inputs; otherwise of its first batch, repeated."""
    shared: bool = False
    """Measured for another cell of the session: of the same model, and inputs of the same shape."""

    @property
    def way(self) -> str:
        """What was timed, however many inputs it had: ``forward``, ``prefill`` or ``embed()``."""
        return self.what.partition(" of ")[0]
