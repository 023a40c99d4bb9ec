"""What is trained on: few-shot tasks, reached by their names, and their images, decoded and prepared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from ...harness.contracts import Scores
from ...harness.errors import UserError
from ...harness.plugins import load_plugins
from ...harness.specs import parse_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ...harness.abilities import Traceable
    from ...harness.contracts import FloatArray, Input, Json, Sample

    IntArray = npt.NDArray[np.int64]

_TOGETHER = 64
"""Images to prepare at a time."""
_EMBEDDED = 256
"""Images to embed at a time."""
_MEMORY = 2**32
"""Bytes of prepared images that are kept in memory; more go to a file."""


@runtime_checkable
class FewShotTask(Protocol):
    """A task whose samples are episodes, as those of `tasks.fewshot` are."""

    inputs: Sequence[Input]
    labels: IntArray
    images: Any
    manifest: Any
    samples: Sequence[Sample]

    def outputs(self, samples: Sequence[Sample], answers: FloatArray) -> list[Json]:
        """Return the predicted class of each query, episode by episode."""
        ...


def read(spec: str, where: str, **offered: Any) -> FewShotTask:
    """Make a few-shot task.

    Args:
        spec: Such as ``glyphs(split=base)``.
        where: What messages are about.
        offered: Arguments for what the spec does not say, if the task takes them; ``None`` is left out.

    Raises:
        UserError: It is unknown, not a few-shot task, or has too few classes or images.
    """
    call = parse_call(spec)
    entry = load_plugins().registry.find("task", call.name)
    arguments = entry.bind(call, **{name: value for name, value in offered.items() if value is not None})
    task = entry.factory()(**arguments)
    if not isinstance(task, FewShotTask):
        raise UserError(f"{spec} is not a few-shot task", where=where, todo="name one: glyphs(split=base)")
    return task


@dataclass(frozen=True)
class Images:
    """Images as a module takes them, each once.

    Attributes:
        inputs: Its keyword arguments; the first axis is the image.
    """

    inputs: Mapping[str, torch.Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> dict[str, torch.Tensor]:
        index = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        return {name: tensor[index] for name, tensor in self.inputs.items()}


def prepare(model: Traceable, images: Sequence[Input], file: Path) -> Images:
    """Decode images and prepare them for a model.

    Args:
        model: Whose ``prepare`` is asked.
        images: At least one.
        file: Where they go if they are too large for the memory; one for each argument of the module.
    """
    whole: dict[str, torch.Tensor] = {}
    for start in range(0, len(images), _TOGETHER):
        loaded = [image.load() for image in images[start : start + _TOGETHER]]
        for name, tensor in model.prepare(loaded).items():
            if not start:
                whole[name] = _room((len(images), *tensor.shape[1:]), tensor.dtype, file.with_suffix(f".{name}"))
            whole[name][start : start + len(tensor)] = tensor
    return Images(whole)


def _room(shape: tuple[int, ...], dtype: torch.dtype, file: Path) -> torch.Tensor:
    """A tensor to be filled: in memory or, if it is large, in a file."""
    count = int(np.prod(shape))
    if count * dtype.itemsize <= _MEMORY:
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(file), shared=True, size=count, dtype=dtype).view(shape)


def embed(module: torch.nn.Module, images: Images) -> torch.Tensor:
    """Return the embeddings without gradients, float32 [n, d], on the CPU; the module is in evaluation mode then."""
    device = next(module.parameters()).device
    module.eval()
    with torch.no_grad():
        parts = [
            module(**{name: tensor.to(device) for name, tensor in images[slice(start, start + _EMBEDDED)].items()})
            for start in range(0, len(images), _EMBEDDED)
        ]
    return torch.cat([part.float().cpu() for part in parts])


class Shape(NamedTuple):
    """What a task is made of: classes, and support and query images of each."""

    ways: int
    shots: int
    queries: int

    @property
    def images(self) -> int:
        """Of a task, m."""
        return self.ways * (self.shots + self.queries)


@dataclass(frozen=True)
class Tasks:
    """M tasks of one shape over n images.

    Attributes:
        images: Those that a task has.
        rows: Positions of the images, [M, ways, shots + queries]; the support comes first.
        shape: Of each task.
        labels: Class of each image among those of all sources, [n].
        classes: How many all sources have.
    """

    images: Images
    rows: IntArray
    shape: Shape
    labels: IntArray
    classes: int

    def __len__(self) -> int:
        return len(self.rows)


def shape_of(sources: Mapping[str, FewShotTask]) -> Shape:
    """Return the shape that the tasks of all sources have.

    Raises:
        UserError: They differ.
    """
    shapes: dict[Shape, str] = {}
    for spec, task in sources.items():
        _, ways, shots = task.manifest.support.shape
        shapes.setdefault(Shape(ways, shots, task.manifest.query.shape[2]), spec)
    if len(shapes) > 1:
        one, other, *_ = shapes.values()
        todo = "give all sources the same ways, shots and queries"
        raise UserError("their tasks have different shapes", where=f"sources {one} and {other}", todo=todo)
    return next(iter(shapes))


def gather(sources: Mapping[str, FewShotTask], model: Traceable, file: Path) -> Tasks:
    """Put the tasks of several sources together.

    Args:
        sources: Spec -> task.
        model: Which will be trained.
        file: See `prepare`.

    Raises:
        UserError: As `shape_of`.
    """
    inputs: list[Input] = []
    rows, labels, classes = [], [], 0
    for task in sources.values():
        support, query = task.manifest.support, task.manifest.query
        used, places = np.unique(np.concatenate([support, query], axis=2), return_inverse=True)
        rows.append(places.reshape(*support.shape[:2], -1) + len(inputs))
        inputs += [task.inputs[row] for row in used]
        labels.append(task.labels[used] + classes)
        classes += len(task.images.classes)
    return Tasks(prepare(model, inputs, file), np.concatenate(rows), shape_of(sources), np.concatenate(labels), classes)


class Validation:
    """A few-shot task to score a model on, again and again: images are decoded once, and embedded once each time.

    Args:
        task: The task.
        model: Which prepares its images.
        file: See `prepare`.
    """

    def __init__(self, task: FewShotTask, model: Traceable, file: Path) -> None:
        self._task = task
        self._used = np.unique(np.concatenate([sample.inputs for sample in task.samples]))
        self._images = prepare(model, [task.inputs[row] for row in self._used], file)

    def __call__(self, module: torch.nn.Module) -> float:
        """Return the mean score of its episodes."""
        vectors = embed(module, self._images).numpy()
        features = np.zeros((len(self._task.inputs), vectors.shape[1]), dtype=np.float32)
        features[self._used] = vectors
        return value(self._task, self._task.outputs(self._task.samples, features))


def value(task: Any, outputs: Sequence[Json]) -> float:
    """Return what a model is compared by on a task: its derived metric, such as F1, or the mean of its first one.

    Args:
        task: Any.
        outputs: Raw output for each of its samples.
    """
    parsed = [task.parse(sample, output) for sample, output in zip(task.samples, outputs, strict=True)]
    found = [(sample.id, one, task.score(sample, one)) for sample, one in zip(task.samples, parsed, strict=True)]
    scored = [(name, one, score) for name, one, score in found if score is not None]
    metric = task.card.metrics[0].name
    values = np.array([score[metric] for _, _, score in scored])
    derived = [metric.name for metric in task.card.metrics if metric.kind == "derived"]
    if not derived:
        return float(np.mean(values))
    ids, read = [name for name, _, _ in scored], [one for _, one, _ in scored]
    scores = Scores({metric: values}, {}, np.ones(len(scored)), ids, read)
    return float(task.aggregate(scores)[derived[0]])
