"""What models of images and texts are finetuned on besides images: names of classes, and prompts made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import normalize

from ...harness.abilities import NamesClasses
from ...harness.contracts import Aligned, DualEncoder
from ...harness.errors import UserError
from .batches import Steps
from .sources import embed, prepare, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .sources import FewShotTask, Shape, Tasks

_TOGETHER = 64
"""Texts to embed at a time."""


@dataclass(frozen=True)
class Classes:
    """The classes of all sources, in the order of the labels of `sources.Tasks`.

    Attributes:
        names: What they are called.
        templates: Of their prompts.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """Each template with each name, class by class."""
        return [template.replace("{}", name) for name in self.names for template in self.templates]


def classes_of(sources: Mapping[str, FewShotTask]) -> Classes:
    """Return the classes of all sources.

    Raises:
        UserError: A source names no classes, or their templates differ.
    """
    names: list[str] = []
    templates: dict[tuple[str, ...], str] = {}
    for spec, task in sources.items():
        if not isinstance(task, NamesClasses):
            raise UserError("its classes have no names for prompts", where=spec, todo=f"write zero-shot-{spec}")
        names += task.class_names
        templates.setdefault(tuple(task.templates), spec)
    if len(templates) > 1:
        one, other, *_ = templates.values()
        raise UserError("their templates differ", where=f"sources {one} and {other}", todo="give both the same")
    return Classes(tuple(names), next(iter(templates)))


def centroids(model: DualEncoder, classes: Classes) -> torch.Tensor:
    """Return the mean direction of each class's texts, float32 [classes, d], each of length one."""
    texts = classes.texts
    parts = [model.embed_texts(texts[start : start + _TOGETHER]) for start in range(0, len(texts), _TOGETHER)]
    vectors = normalize(torch.from_numpy(np.concatenate(parts)), dim=-1)
    return normalize(vectors.view(len(classes.names), len(classes.templates), -1).mean(dim=1), dim=-1)


def among_classes(cosines: torch.Tensor, labels: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep of cosines with all classes those with the classes of an image's own task.

    Args:
        cosines: [images, classes].
        labels: Of the images, task by task and class by class.
        shape: Of each task.

    Returns:
        Cosines [images, ways], and the way of each image.
    """
    own = labels.view(-1, shape.ways, shape.queries)
    columns = own[:, :, 0].repeat_interleave(shape.ways * shape.queries, dim=0)
    ways = torch.arange(shape.ways, device=labels.device).repeat_interleave(shape.queries)
    return cosines.gather(1, columns), ways.repeat(len(own))


class PromptedSteps(Steps):
    """Steps that also draw a template for each image, by the seed and the number of the step."""

    def __init__(self, tasks: Tasks, epochs: int, together: int, seed: int, templates: int) -> None:
        super().__init__(tasks, epochs, together, seed)
        self._drawn = (seed, templates)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return `Steps`' batch with ``templates``, the position of each image's."""
        batch, (seed, templates) = super().__getitem__(number), self._drawn
        drawn = np.random.default_rng([seed, number, 1]).integers(templates, size=len(batch["labels"]))
        return batch | {"templates": torch.from_numpy(drawn)}


class NamedValidation:
    """A zero-shot task to score a model on, again and again; its images are decoded once.

    Args:
        task: The task.
        model: Which prepares its images.
        file: See `sources.prepare`.
    """

    def __init__(self, task: Any, model: Any, file: Path) -> None:
        self._task = task
        self._used = np.unique(np.concatenate([sample.inputs for sample in task.samples]))
        self._images = prepare(model, [task.inputs[row] for row in self._used], file)
        self._classes = Classes(tuple(task.class_names), tuple(task.templates))

    def __call__(self, model: Any) -> float:
        """Return the mean score of a model that embeds texts, or of one with prompts of its own."""
        names, templates = self._classes.names, len(self._classes.templates)
        if isinstance(model, DualEncoder):
            texts = centroids(model, self._classes).numpy()
        else:
            model, texts = model.for_classes(names), np.eye(len(names), dtype=np.float32)
        vectors = embed(model.module, self._images).numpy()
        images = np.zeros((len(self._task.inputs), vectors.shape[1]), dtype=np.float32)
        images[self._used] = vectors
        answers = Aligned(images, np.repeat(texts[:, np.newaxis], templates, axis=1))
        return value(self._task, self._task.outputs(self._task.samples, answers))
