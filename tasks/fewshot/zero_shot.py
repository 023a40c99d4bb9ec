"""Zero-shot classification as a task: the texts of a class's name stand for its support images."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Hamming

from ...harness.contracts import Sample, Task
from ...harness.errors import UserError
from .centroid import predict
from .choosing import distinct
from .episodes import data_digest, draw, row_of
from .protocol import zero_shot_card

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.contracts import Aligned, Episode, FloatArray, Input, Json
    from .episodes import IntArray, Manifest
    from .images import ImageSet
    from .protocol import Protocol


class ZeroShot(Task):
    """Images classified by the names of classes: a class is the mean of its normalised text embeddings.

    Args:
        images: What to classify; see `distinct`.
        class_names: What each class is called, in the order of ``images.classes``.
        templates: Each with one ``{}``.
        protocol: Of episodes, in which images are classified among some classes; their shots are not used. Without it,
            each image is a sample and is classified among all classes.
        seed: Of the draw.
        manifest: Stored episodes to replay instead of drawing, such as those of a few-shot task.
    """

    def __init__(
        self,
        images: ImageSet,
        class_names: Sequence[str],
        templates: Sequence[str],
        protocol: Protocol | None = None,
        *,
        seed: int = 0,
        manifest: Manifest | None = None,
    ) -> None:
        self.images, self.class_names, self.templates = images, tuple(class_names), tuple(templates)
        self.protocol = manifest.protocol if manifest else protocol
        self._seed, self._stored = seed, manifest
        self.card = zero_shot_card(images.name, self.protocol)

    @functools.cached_property
    def _distinct(self) -> ImageSet:
        return distinct(self.images)

    @property
    def labels(self) -> IntArray:
        """Class of each input, int64 [inputs]."""
        return self._distinct.labels

    @property
    def inputs(self) -> Sequence[Input]:
        """The images, each content once; none that several classes have."""
        return self._distinct.images

    @property
    def notes(self) -> Sequence[str]:
        """What of the images takes no part."""
        return self._distinct.notes

    @functools.cached_property
    def manifest(self) -> Manifest | None:
        """The episodes, if there are any; positions refer to ``inputs``.

        Raises:
            UserError: There are too few classes, or the stored episodes are of other images.
        """
        if self.protocol is None:
            return None
        data = data_digest([image.digest for image in self.inputs], self.labels)
        if self._stored is None:
            return draw(self.labels, self.protocol, seed=self._seed, split=self.images.name, data=data)
        self._stored.check(self.labels, data)
        return self._stored

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """A sample for each episode, whose target lists the class of each query; or for each image, with its name."""
        if self.manifest is None:
            return [
                Sample(f"image-{position:06d}", (position,), self.class_names[label])
                for position, label in enumerate(self.labels.tolist())
            ]
        episodes, ways, queries = self.manifest.query.shape
        target = np.repeat(np.arange(ways), queries).tolist()
        used = self.manifest.query.reshape(episodes, -1)
        return [Sample(f"episode-{index:05d}", used[index], target) for index in range(episodes)]

    def episode(self, sample: Sample) -> Episode | None:
        """Return the classes and the images of an episode; ``None`` where each image is a sample."""
        if self.manifest is None:
            return None
        return self.manifest.episode(row_of(sample.id), self.labels, self.class_names)

    def outputs(self, samples: Sequence[Sample], answers: Aligned) -> list[Json]:
        """Return the predicted class of each query, episode by episode, or the name of the class of each image."""
        if self.manifest is None:
            asked = np.array([sample.inputs[0] for sample in samples], dtype=np.int64)
            classes = np.arange(len(self.class_names))[np.newaxis]
            whole = np.resize(asked, (1, classes.size, -(-len(asked) // classes.size)))  # any shape does
            best = self._nearest(answers, whole, classes)[0, : len(asked)]
            return [self.class_names[label] for label in best.tolist()]
        rows = np.array([row_of(sample.id) for sample in samples], dtype=np.int64)
        query = self.manifest.query[rows]
        listed: list[Json] = self._nearest(answers, query, self.labels[query[:, :, 0]]).tolist()
        return listed

    def _nearest(self, answers: Aligned, query: IntArray, classes: IntArray) -> IntArray:
        """Classify queries, int64 [episodes, ways, queries], among classes, int64 [episodes, ways]; see `predict`."""
        used, query_rows = np.unique(query, return_inverse=True)
        images, (_, templates, width) = answers.images[used], answers.texts.shape
        self._refuse_nan(answers.texts)
        features = np.concatenate([images, answers.texts.reshape(-1, width)])
        support = len(used) + classes[..., np.newaxis] * templates + np.arange(templates)
        return predict(features, support, query_rows.reshape(query.shape), centroid="mean-of-normalised")

    def parse(self, sample: Sample, output: Json) -> Json | None:  # noqa: ARG002 - every episode has one shape
        """Return the prediction if it is of the right form, else ``None``."""
        if self.protocol is None:
            return output if isinstance(output, str) else None
        return self.protocol.predictions(output)

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return the share of images whose class is right; a sample without a prediction is not scored."""
        if parsed is None:
            return None
        if isinstance(parsed, str):
            return {"accuracy": float(parsed == sample.target)}
        return {"accuracy": Hamming.similarity(parsed, sample.target) / len(sample.target)}

    def _refuse_nan(self, texts: FloatArray) -> None:
        bad = np.argwhere(~np.isfinite(texts).all(axis=2))
        if len(bad):
            text = self.templates[bad[0, 1]].replace("{}", self.class_names[bad[0, 0]])
            raise UserError(f"the embedding of the text {text!r} holds NaN or infinity", todo="fix the model")
