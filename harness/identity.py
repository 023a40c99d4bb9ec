"""What makes two cells the same cell: the keys under which answers are kept.

A key covers all that can change an answer: the model spec, the identity of its weights, the samples with the content of
their inputs and their targets, the scoring rule, the settings, and the code of the package.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .contracts import Traceable
from .errors import UserError
from .hashing import array_digest, canonical_json, package_source_digest, sha256_file, sha256_hex
from .registry import OBJECT_OWNER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .contracts import Sample, Task
    from .planning import PlannedCell, PlannedModel, Step


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is run.

    Attributes:
        batch_size: Inputs in a batch, unless memory runs out.
        device: Where models that can choose run: ``cpu``, ``cuda``, ``cuda:1``.
        waive: Names of operators that may stay uncounted.
    """

    batch_size: int = 64
    device: str = "cpu"
    waive: tuple[str, ...] = ()

    def answering(self) -> dict[str, str | int | float | bool]:
        """Those settings that can change an answer."""
        return {"batch_size": self.batch_size, "device": self.device}


@dataclass(frozen=True, slots=True)
class Built:
    """A planned model with the arguments that its factories will be called with."""

    model: PlannedModel
    arguments: tuple[dict[str, Any], ...] = field(default=())

    @classmethod
    def of(cls, cell: PlannedCell, settings: Settings) -> Built:
        """Bind a cell's model to seed, device and budget."""
        model, budget = cell.model, cell.model.spec.budget
        offered: dict[str, Any] = {"seed": cell.seed, "device": settings.device}
        arguments = [model.base.entry.bind(model.base.call, **offered)]
        for step in model.methods:
            due = {"budget": budget} if step.entry.card.takes_budget and budget is not None else {}
            arguments.append(step.entry.bind(step.call, **offered, **due))
        return cls(model, tuple(arguments))

    def load(self) -> Any:
        """Import the factories and build the model; this is where weights are read."""
        first, *others = self.arguments
        model = self.model.base.entry.factory()(**first)
        for step, arguments in zip(self.model.methods, others, strict=True):
            model = step.entry.factory()(model, **arguments)
        return model

    def key(self, settings: Settings) -> str:
        """Key of the encoder: all that can change an answer of this model to a given input."""
        steps = (self.model.base, *self.model.methods)
        prints = [_fingerprint(step, given) for step, given in zip(steps, self.arguments, strict=True)]
        arguments = [{name: str(value) for name, value in given.items()} for given in self.arguments]
        return _key(str(self.model.spec), prints, arguments, settings.answering(), package_source_digest())


def cell_key(cell: PlannedCell, model_key: str, samples: str) -> str:
    """Key of a cell, from the key of its model and the digest of its samples."""
    card = cell.task.card
    return _key(asdict_of(cell), model_key, samples, card.rule, card.rule_version)[:32]


def asdict_of(cell: PlannedCell) -> dict[str, Any]:
    """The cell's id as JSON."""
    return cell.id.model_dump(mode="json")


def sample_digests(task: Task, samples: Sequence[Sample]) -> list[str]:
    """The content of each sample's inputs, as records state it."""
    raw = np.array([bytes.fromhex(sha256_hex(i.digest.encode())) for i in task.inputs], dtype="S32")
    return [sha256_hex(raw[np.asarray(sample.inputs, dtype=np.int64)].tobytes()) for sample in samples]


def samples_digest(samples: Sequence[Sample], inputs: Sequence[str]) -> str:
    """Hash of samples: ids, content of inputs (from `sample_digests`), targets. Only equal ones are compared."""
    rows = [[sample.id, content, sample.target] for sample, content in zip(samples, inputs, strict=True)]
    return sha256_hex(canonical_json(rows))


def weights_digest(module: Any) -> str:
    """Hash of a torch module's parameters and buffers."""
    state: Mapping[str, Any] = module.state_dict()
    parts = [f"{name}={array_digest(value.detach().cpu().float().numpy())}" for name, value in sorted(state.items())]
    return sha256_hex(*(part.encode() for part in parts))


def _key(*parts: Any) -> str:
    return sha256_hex(*(canonical_json(part) for part in parts))


def _fingerprint(step: Step, arguments: Mapping[str, Any]) -> str:
    """Identity of what a factory will return, without building it.

    A factory may have a function ``fingerprint(**arguments)``. Otherwise it is the source file that defines it: its
    arguments are part of the key anyway.
    """
    factory = step.entry.factory()
    own = getattr(factory, "fingerprint", None)
    if callable(own):
        return str(own(**arguments))
    if step.entry.owner == OBJECT_OWNER:
        return _object_fingerprint(factory())
    return f"source:{_source_digest(factory)}"


def _object_fingerprint(value: Any) -> str:
    own = getattr(value, "fingerprint", None)
    if isinstance(own, str):
        return own
    if isinstance(value, Traceable):
        return f"weights:{weights_digest(value.module)}"
    from .measure.hardware import session_id

    return f"object:{session_id()}"  # unknown state: never taken for the answers of another session


def _source_digest(factory: Any) -> str:
    while isinstance(factory, functools.partial):
        factory = factory.func
    try:
        path = inspect.getsourcefile(inspect.unwrap(factory))
    except TypeError:
        path = None
    if path is None or not Path(path).is_file():
        raise UserError(
            f"cannot tell which version of {factory!r} this is: it has no source file",
            todo="give the factory a function `fingerprint(**arguments) -> str`",
        )
    return sha256_file(path)
