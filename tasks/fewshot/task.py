"""Few-shot episodes as a task: the model embeds images, the nearest centroid answers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Hamming

from ...harness.contracts import Input, Json, Sample, Task
from ...harness.errors import UserError
from .centroid import Centroid, predict
from .choosing import distinct
from .episodes import Manifest, data_digest, draw, large_classes, row_of
from .protocol import Protocol, few_shot_card

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.contracts import Episode, FloatArray
    from .episodes import IntArray
    from .images import ImageSet


class FewShot(Task):
    """N-way K-shot episodes over a set of images.

    Args:
        images: What to draw from; see `distinct`.
        protocol: Ways, shots, queries, episodes.
        seed: Of the draw.
        manifest: Stored episodes to replay instead of drawing; the protocol is then theirs.
        centroid: See `predict`.
    """

    def __init__(
        self,
        images: ImageSet,
        protocol: Protocol | None = None,
        *,
        seed: int = 0,
        manifest: Manifest | None = None,
        centroid: Centroid = "mean",
    ) -> None:
        self.images = images
        self.protocol = manifest.protocol if manifest else protocol or Protocol()
        if not self.protocol.shots:
            todo = "ask for shots=1 or more, or name a zero-shot task"
            raise UserError("episodes without shots have no centroids", where=images.name, todo=todo)
        self._seed, self._stored, self._centroid = seed, manifest, centroid
        self.card = few_shot_card(images.name, self.protocol)

    @functools.cached_property
    def _distinct(self) -> ImageSet:
        return distinct(self.images)

    @property
    def inputs(self) -> Sequence[Input]:
        """The images, each content once; none that several classes have."""
        return self._distinct.images

    @property
    def labels(self) -> IntArray:
        """Class of each input, int64 [n]: a position in ``images.classes``."""
        return self._distinct.labels

    @property
    def input_classes(self) -> Sequence[str]:
        """Class of each of ``inputs``."""
        return [self.images.classes[label] for label in self.labels.tolist()]

    @property
    def notes(self) -> Sequence[str]:
        """What of the images takes no part."""
        labels = self._distinct.labels
        small = len(self.images.classes) - len(large_classes(labels, self.protocol))
        each = self.protocol.shots + self.protocol.queries
        note = f"{small} of {len(self.images.classes)} classes have fewer than {each} images and take no part"
        return [*self._distinct.notes, *([note] if small else [])]

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The episodes; positions refer to ``inputs``.

        Raises:
            UserError: There are too few classes, or the stored episodes are of other images.
        """
        labels = self._distinct.labels
        data = data_digest([image.digest for image in self.inputs], labels)
        if self._stored is None:
            return draw(labels, self.protocol, seed=self._seed, split=self.images.name, data=data)
        self._stored.check(labels, data)
        return self._stored

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample per episode; its target lists the class of each query."""
        support, query = self.manifest.support, self.manifest.query
        episodes, ways, queries = query.shape
        target = np.repeat(np.arange(ways), queries).tolist()
        used = np.concatenate([support.reshape(episodes, -1), query.reshape(episodes, -1)], axis=1)
        return [Sample(f"episode-{index:05d}", used[index], target) for index in range(episodes)]

    def episode(self, sample: Sample) -> Episode:
        """Return the classes and the images of an episode."""
        return self.manifest.episode(row_of(sample.id), self.labels, self.images.classes)

    def outputs(self, samples: Sequence[Sample], answers: FloatArray) -> list[Json]:
        """Return the predicted class of each query, episode by episode."""
        rows = np.array([row_of(sample.id) for sample in samples], dtype=np.int64)
        predicted = predict(answers, self.manifest.support[rows], self.manifest.query[rows], centroid=self._centroid)
        listed: list[Json] = predicted.tolist()
        return listed

    def parse(self, sample: Sample, output: Json) -> Json | None:  # noqa: ARG002 - every episode has one shape
        """Return the predictions if there is a class for each query, else ``None``."""
        return self.protocol.predictions(output)

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return the share of queries whose class is right; an episode without predictions is not scored."""
        if parsed is None:
            return None
        return {"accuracy": Hamming.similarity(parsed, sample.target) / len(sample.target)}
