"""What makes two cells the same cell: the keys under which answers are kept.

A key covers all that can change an answer: the model spec, the identity of its weights, the samples with the content of
their inputs and their targets, the scoring rule, the settings, and the code of the package and of the plugins.

A registered factory is known by its function ``fingerprint(**arguments) -> str`` if it has one. Otherwise it is known
by the source of the package (or file) that defines it, by what it captured there if it is a Python object, and by the
content of the files and folders that its arguments name.

A Python object is known by its attribute ``fingerprint`` (a text) if it has one. Otherwise a model is known by the
source of its class and by all that its attributes hold, weights included. A task is known by the source of its class
and its plain attributes; its samples are part of the key anyway.

What cannot be identified, such as an object that a library in another language made, is new in every run: its answers
are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .abilities import FingerprintingFactory, HasFingerprint
from .fingerprints import named_files, object_digest, source_digest
from .hashing import canonical_json, package_source_digest, sha256_hex
from .registry import OBJECT_OWNER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .contracts import Task
    from .planned_models import PlannedMethod, PlannedModel, Step
    from .planning import PlannedCell, PlannedTask


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
class BoundModel:
    """A planned model with the arguments that its base's factory will be called with."""

    model: PlannedModel
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, cell: PlannedCell, settings: Settings) -> BoundModel:
        """Bind a cell's model to seed, device and waived operators."""
        return cls(cell.model, cell.model.bind(seed=cell.seed, device=settings.device, waive=settings.waive))

    @property
    def base_name(self) -> str:
        """What tells its base from others in this process."""
        return f"{self.model.base.call} {self.arguments}"

    def load(self) -> Any:
        """Build the model."""
        return self.on(self.common(self.base()))

    def base(self) -> Any:
        """Import the factory and build the model without its methods; this is where weights are read."""
        return self.model.base.entry.factory()(**self.arguments)

    def common(self, base: Any) -> Any:
        """Return what all budgets have in common, which is made of a `base`."""
        return self._with(base, self.model.as_applied[: self._common])

    def on(self, common: Any) -> Any:
        """Return the model that is made of what is `common`: to its own budgets, or to those of the same model."""
        return self._with(common, self.model.as_applied[self._common :])

    @property
    def _common(self) -> int:
        """Methods before the first one that takes a budget."""
        takes = [planned.entry.card.takes_budget for planned in self.model.as_applied]
        return takes.index(True) if True in takes else len(takes)

    def _with(self, model: Any, methods: Sequence[PlannedMethod]) -> Any:
        for planned in methods:
            model = planned.method.apply(model)
        return model

    def weights(self, run: str) -> str:
        """Identity of what the methods modify, which all budgets have in common; ``run`` if it is not known."""
        return _fingerprint(self.model.base, self.arguments) or run

    def key(self, settings: Settings, run: str, weights: str = "") -> str:
        """Key of the encoder: all that can change an answer of this model to a given input.

        Args:
            settings: How it is run.
            run: Random name of this run of the runner: part of the key of a model that cannot be identified.
            weights: From `weights`, where they have been identified before.
        """
        base = weights or self.weights(run)
        methods = [_method_fingerprint(planned) or run for planned in self.model.methods]
        arguments = {name: repr(value) for name, value in self.arguments.items()}
        spec = str(self.model.spec.without_budget())
        return _key(spec, base, arguments, methods, settings.answering(), package_source_digest())


def cell_key(cell: PlannedCell, model_key: str, samples: Sequence[str], settings: Settings) -> str:
    """Key of a cell.

    Args:
        cell: Its id and the scoring rule of its task.
        model_key: From `BoundModel.key`.
        samples: What tells the samples from others: their digest, the code that scores them, which part they are.
        settings: How it is run.
    """
    card = cell.task.card
    return _key(cell.id.model_dump(mode="json"), model_key, samples, card.rule, card.rule_version, settings.waive)[:32]


def task_fingerprint(planned: PlannedTask, task: Task) -> str | None:
    """Identity of the code that makes outputs of a task's answers and scores them; ``None`` if unknown."""
    if planned.step.entry.owner != OBJECT_OWNER:
        return _factory_digest(planned.step)
    if isinstance(task, HasFingerprint) and isinstance(task.fingerprint, str):
        return task.fingerprint
    plain = {
        n: v for n, v in getattr(task, "__dict__", {}).items() if v is None or isinstance(v, bool | int | float | str)
    }
    return object_digest([type(task), plain])


def _key(*parts: Any) -> str:
    return sha256_hex(*(canonical_json(part) for part in parts))


def _fingerprint(step: Step, arguments: Mapping[str, Any]) -> str | None:
    """Identity of what a factory will return, without building it; ``None`` if unknown."""
    factory: Any = step.entry.factory()
    subject = factory() if step.entry.owner == OBJECT_OWNER else factory
    if isinstance(subject, HasFingerprint) and isinstance(subject.fingerprint, str):
        return subject.fingerprint
    if subject is not factory:
        return object_digest(subject)
    if isinstance(factory, FingerprintingFactory):
        return str(factory.fingerprint(**arguments))
    code = _factory_digest(step)
    return None if code is None else _key(code, named_files(arguments))


def _method_fingerprint(planned: PlannedMethod) -> str | None:
    """Identity of what a method does, but for the options that the spec says; ``None`` if unknown."""
    options, own = planned.method.model_dump(), planned.method.fingerprint()
    code = own or _factory_digest(planned)
    if code is None:
        return None
    given = [options.get(name) for name in ("budget", "seed")]
    return _key(code, given, [] if own else named_files(options))


def _factory_digest(step: Step | PlannedMethod) -> str | None:
    """A name's factory by its source; a factory that is a Python object also by what it captured."""
    factory = step.entry.factory()
    return source_digest(factory) if isinstance(step.entry.target, str) else object_digest(factory)
