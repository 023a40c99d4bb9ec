"""Which model types that a library knows are priced, each with its default config: ``doctor --architectures``."""

from __future__ import annotations

import multiprocessing
from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..errors import UserError
from .counting import Blueprint, Counter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from multiprocessing.connection import Connection

AUTO = {
    "causal": "AutoModelForCausalLM",
    "image-text": "AutoModelForImageTextToText",
    "image classification": "AutoModelForImageClassification",
    "zero-shot": "AutoModelForZeroShotImageClassification",
    "masked": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
}
"""What kinds of models there are -> what builds them."""
PRICED, TEXT_ONLY, REFUSED, NOT_BUILT = "priced", "images not priced", "refused", "transformers does not build it"
STATES = (PRICED, TEXT_ONLY, REFUSED, NOT_BUILT)
_TOKENS = 100
_LONGEST = 300
"""Characters of a reason."""


class Stock(Blueprint, Protocol):
    """A model type with its default config."""

    missing: str
    """Why its images are not priced; empty if they are."""

    def own_error(self) -> str:
        """Why the library itself does not build it; empty if it does."""
        ...


class Library(Protocol):
    """What builds model types with their default configs."""

    def __call__(self, model_type: str, auto: str) -> Stock:
        """A model type, as an Auto class builds it."""
        ...

    def model_types(self, auto: str) -> list[str]:
        """The model types that an Auto class builds."""
        ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of a model type.

    Attributes:
        kind: Of `AUTO`.
        model_type: As a config names it.
        state: Of `STATES`.
        reason: Why it is not priced, or its images are not.
        flops: Phase -> FLOPs of a prompt of 100 tokens, and of one image.
    """

    kind: str
    model_type: str
    state: str
    reason: str = ""
    flops: Mapping[str, int] = field(default_factory=dict)


def price(library: Library, kind: str, model_type: str) -> Coverage:
    """Price a model type by both counters."""
    try:
        stock = library(model_type, auto=AUTO[kind])
        counter = Counter(stock)
        flops = {phase: counter.count(phase, 1 if phase == "head" else _TOKENS).value for phase in counter.phases()}
    except UserError as error:
        own = stock.own_error()
        return Coverage(kind, model_type, NOT_BUILT if own else REFUSED, _short(own or str(error)))
    return Coverage(kind, model_type, TEXT_ONLY if stock.missing else PRICED, _short(stock.missing), flops)


def cover(library: Library, wanted: Iterable[tuple[str, str]], seconds: float) -> Iterator[Coverage]:
    """Price kinds of model and model types in a process of their own, each in a limited time.

    Args:
        library: Importable by name, for the other process.
        wanted: Kind of `AUTO` and model type.
        seconds: For one of them.
    """
    worker = None
    try:
        for kind, model_type in wanted:
            worker = worker or _Worker(library)
            found = worker.price(kind, model_type, seconds)
            if found is None:
                worker.stop()
                worker = None
            yield found or Coverage(kind, model_type, REFUSED, f"it takes over {seconds:g} s")
    finally:
        if worker is not None:
            worker.stop()


class _Worker:
    """A process that prices."""

    def __init__(self, library: Library) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        self._process = context.Process(target=_work, args=(library, other), daemon=True)
        self._process.start()
        other.close()

    def price(self, kind: str, model_type: str, seconds: float) -> Coverage | None:
        """What became of a model type; ``None`` if it takes too long or takes the process down."""
        try:
            self._end.send((kind, model_type))
            return self._end.recv() if self._end.poll(seconds) else None
        except EOFError:
            return None

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._end.close()


def _work(library: Library, end: Connection) -> None:
    while True:
        kind, model_type = end.recv()
        try:
            end.send(price(library, kind, model_type))
        except Exception as error:  # noqa: BLE001 - a crash is an answer, too
            end.send(Coverage(kind, model_type, REFUSED, _short(f"crash: {type(error).__name__}: {error}")))


def totals(found: Iterable[Coverage]) -> dict[str, dict[str, int]]:
    """Kind of model -> state -> number of model types."""
    tally = Tally((one.kind, one.state) for one in found)
    kinds = dict.fromkeys(kind for kind, _ in tally)
    return {kind: {state: tally[kind, state] for state in STATES} for kind in kinds}


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
