"""Samples: which of a task's are run, and what their inputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .abilities import NamesClasses
from .errors import UserError
from .hashing import canonical_json, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from .contracts import Input, Sample, Task


@dataclass(frozen=True, slots=True)
class SampleLimit:
    """How many of the samples to run, for a quick look: never ranked.

    Attributes:
        first: Keep this many, the first ones (``--limit``).
        drawn: Keep this many, drawn by the cell's seed (``--sample``).
    """

    first: int | None = None
    drawn: int | None = None

    def __post_init__(self) -> None:
        for name, count in (("--limit", self.first), ("--sample", self.drawn)):
            if count is not None and count < 1:
                raise UserError(f"{count} samples are not enough", where=name, todo="ask for one or more")

    def __str__(self) -> str:
        options = (("--limit", self.first), ("--sample", self.drawn))
        return " ".join(f"{name} {count}" for name, count in options if count is not None)

    def of(self, samples: Sequence[Sample], seed: int) -> Sequence[Sample]:
        """Return the chosen samples, in their order."""
        if self.drawn is not None:
            order = sorted(range(len(samples)), key=lambda i: sha256_hex(canonical_json([seed, samples[i].id])))
            samples = [samples[i] for i in sorted(order[: self.drawn])]
        return samples if self.first is None else samples[: self.first]


def sample_digests(task: Task, samples: Sequence[Sample]) -> list[str]:
    """The content of each sample's inputs, as records state it. No other inputs are read.

    What a task asks of classes belongs to all of its samples.
    """
    inputs, used = task.inputs, input_positions(samples)
    digests = "".join(sha256_hex(inputs[position].digest.encode()) for position in used.tolist())
    raw = np.zeros(len(inputs), dtype="V32")
    raw[used] = np.frombuffer(bytes.fromhex(digests), dtype=raw.dtype)
    named = [list(task.class_names), list(task.templates)] if isinstance(task, NamesClasses) else []
    shared = [canonical_json(named)] if named else []
    return [sha256_hex(raw[np.asarray(sample.inputs, dtype=np.int64)].tobytes(), *shared) for sample in samples]


def input_positions(samples: Iterable[Sample]) -> npt.NDArray[np.int64]:
    """Return the positions in ``task.inputs`` of the inputs of samples: in order, each once."""
    positions = np.concatenate([np.zeros(0, np.int64), *(np.asarray(s.inputs, np.int64) for s in samples)])
    return np.flatnonzero(np.bincount(positions))  # hundreds of thousands, of few inputs: no need to sort them


def samples_digest(samples: Sequence[Sample], inputs: Sequence[str]) -> str:
    """Hash of samples: ids, contents (from `sample_digests`), targets and groups. Only equal ones are compared."""
    rows = [[s.id, content, s.target, s.group] for s, content in zip(samples, inputs, strict=True)]
    return sha256_hex(canonical_json(rows, "samples"))


@dataclass(frozen=True, slots=True)
class ChosenSamples:
    """A task with those of its samples that a run asks."""

    task: Task
    samples: Sequence[Sample]
    contents: Sequence[str]
    """Digest of the inputs of each sample."""
    digest: str
    partial: str | None
    """The options that left samples out; ``None`` if all were chosen."""

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Positions of the task's inputs that may be read: all, or those of the chosen samples."""
        return np.arange(len(self.task.inputs)) if self.partial is None else input_positions(self.samples)

    def inputs(self, count: int) -> list[Input]:
        """Return the first inputs that may be read."""
        return [self.task.inputs[position] for position in self.positions[:count].tolist()]

    @classmethod
    def of(cls, task: Task, seed: int, limit: SampleLimit) -> ChosenSamples:
        """Choose from a task's samples.

        Raises:
            UserError: There are none, or two have the same id.
        """
        samples = limit.of(task.samples, seed)
        if not samples:
            raise UserError("the task has no samples", todo="fix the task")
        if len({sample.id for sample in samples}) < len(samples):
            raise UserError("two samples have the same id", todo="fix the task")
        contents = sample_digests(task, samples)
        partial = str(limit) if len(samples) < len(task.samples) else None
        return cls(task, samples, contents, samples_digest(samples, contents), partial)
