"""Few-shot episodes as a task: the model embeds images, the nearest centroid answers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Input, Json, Sample, Task
from ...harness.errors import UserError
from .centroid import Centroid, predict
from .episodes import Manifest, Protocol, data_digest, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...harness.contracts import FloatArray
    from .episodes import IntArray
    from .images import ImageSet


def few_shot_card(summary: str, protocol: Protocol | None = None, **fields: Any) -> TaskCard:
    """Return the card of a few-shot task.

    Args:
        summary: What the images are, such as ``Letters of novel scripts``.
        protocol: The protocol that the name fixes, if it fixes one.
        fields: Further fields of the card.
    """
    shape = f", {protocol.ways}-way {protocol.shots}-shot" if protocol else ""
    return TaskCard(
        summary=f"{summary}{shape}: nearest centroid with cosine",
        capability="embed",
        metrics=(Metric(name="accuracy"),),
        rule="nearest-centroid-cosine",
        sample_noun="episode",
        chance=1 / protocol.ways if protocol else None,
        citation="dissertation section 3.4",
        **fields,
    )


class FewShot(Task):
    """N-way K-shot episodes over a set of images.

    Args:
        images: What to draw from. Images of equal content count once.
        protocol: Ways, shots, queries, episodes.
        seed: Of the draw.
        manifest: File of a stored `Manifest` to replay instead of drawing; the protocol is then the manifest's.
        centroid: See `predict`.
    """

    def __init__(
        self,
        images: ImageSet,
        protocol: Protocol | None = None,
        *,
        seed: int = 0,
        manifest: str | Path | None = None,
        centroid: Centroid = "mean",
    ) -> None:
        self.images = images
        self.protocol = protocol or Protocol()
        self._seed, self._path, self._centroid = seed, manifest, centroid
        self.card = few_shot_card(images.name, self.protocol)

    @functools.cached_property
    def _first(self) -> IntArray:
        """Positions of the first image of each content."""
        seen: dict[str, int] = {}
        for position, image in enumerate(self.images.images):
            seen.setdefault(image.digest, position)
        return np.fromiter(seen.values(), dtype=np.int64)

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """The images, each content once."""
        return [self.images.images[position] for position in self._first]

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The episodes; positions refer to ``inputs``."""
        labels = self.images.labels[self._first]
        data = data_digest([image.digest for image in self.inputs], labels)
        if self._path is None:
            return draw(labels, self.protocol, seed=self._seed, split=self.images.name, data=data)
        manifest = Manifest.read(self._path)
        if manifest.data != data:
            raise UserError(
                f"its episodes are of other images than these of {self.images.name}",
                where=str(self._path),
                todo="use the images that it was drawn from",
            )
        return manifest

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample an episode; its target lists the class of each query."""
        support, query = self.manifest.support, self.manifest.query
        episodes, ways, queries = query.shape
        target = np.repeat(np.arange(ways), queries).tolist()
        used = np.concatenate([support.reshape(episodes, -1), query.reshape(episodes, -1)], axis=1)
        return [Sample(f"episode-{index:05d}", used[index], target) for index in range(episodes)]

    def outputs(self, samples: Sequence[Sample], answers: FloatArray) -> list[Json]:
        """Return the predicted class of each query, episode by episode."""
        rows = np.array([int(sample.id.removeprefix("episode-")) for sample in samples])
        predicted = predict(answers, self.manifest.support[rows], self.manifest.query[rows], centroid=self._centroid)
        listed: list[Json] = predicted.tolist()
        return listed

    def parse(self, output: Json) -> Json | None:
        """Return the predictions if there is a class for each query, else ``None``."""
        _, ways, queries = self.manifest.query.shape
        whole = isinstance(output, list) and len(output) == ways * queries
        return output if whole and all(type(c) is int and 0 <= c < ways for c in output) else None

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return the share of queries whose class is right; an episode without predictions is not scored."""
        if parsed is None:
            return None
        return {"accuracy": sum(map(int.__eq__, parsed, sample.target)) / len(sample.target)}
