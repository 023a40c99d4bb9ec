"""Episodes: N-way K-shot tasks drawn once, stored, hashed and replayed by every model.

An episode depends on (seed, split, index) alone: not on the number of workers, the other episodes or the platform.
Orders come from sorting raw 64-bit words of PCG64, whose stream NumPy guarantees; its `choice` and `permutation` may
change between versions (NEP 19).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ...harness.contracts import Episode
from ...harness.errors import UserError
from ...harness.hashing import array_digest, canonical_json, sha256_hex
from ...harness.store.files import write_atomic
from .protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    IntArray = npt.NDArray[np.int64]

GENERATOR = "adaptbench-episodes/1"
"""Name and version of the way episodes are drawn; a change of what is drawn changes it."""


@dataclass(frozen=True, eq=False)
class Manifest:
    """A stored, hashed list of episodes over one set of images.

    Attributes:
        support: Positions of the support images, int64 [episodes, ways, shots].
        query: Positions of the query images, int64 [episodes, ways, queries].
        data: Digest of the images and labels that the positions refer to.
        split: Name of the image set.
        seed: Seed of the draw.
        generator: How they were drawn.
        path: Where it was read from, for messages.
    """

    support: IntArray
    query: IntArray
    data: str
    split: str
    seed: int
    generator: str = GENERATOR
    path: str = ""

    @property
    def protocol(self) -> Protocol:
        """What the episodes are made of."""
        episodes, ways, shots = self.support.shape
        return Protocol(ways, shots, self.query.shape[2], episodes)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of everything in it."""
        arrays = (array_digest(array).encode() for array in (self.support, self.query))
        return sha256_hex(canonical_json(self._header()), *arrays)

    def _header(self) -> dict[str, Any]:
        return {"generator": self.generator, "split": self.split, "seed": self.seed, "data": self.data}

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        fields = {name: canonical_json(value) for name, value in {**self._header(), "digest": self.digest}.items()}
        for name, positions in (("support", self.support), ("query", self.query)):
            # One by one: lists of all episodes at once take longer to make than to write.
            fields[name] = b"[%s]" % b",".join(msgspec.json.encode(episode.tolist()) for episode in positions)
        text = b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in sorted(fields))
        write_atomic(Path(path), b"{%s}" % text)

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read it back.

        Raises:
            UserError: The file is not a manifest, or not the one that was written.
        """
        try:
            content = json.loads(Path(path).read_bytes())
            digest = content.pop("digest")
            support, query = (_whole_numbers(content.pop(name)) for name in ("support", "query"))
            manifest = cls(support, query, **content, path=str(path))
            intact = manifest.digest == digest
        except OSError as error:
            raise UserError(
                f"cannot read it: {error.strerror}", where=str(path), todo="name an episode manifest"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"not an episode manifest: {error}", where=str(path), todo="restore the file") from error
        if not intact or support.ndim != 3 or query.ndim != 3 or support.shape[:2] != query.shape[:2]:
            raise UserError(
                "its content does not have its digest: it was changed", where=str(path), todo="restore the file"
            )
        return manifest

    def episode(self, row: int, labels: IntArray, classes: Sequence[str]) -> Episode:
        """Return one episode.

        Args:
            row: Which.
            labels: Class of each image, int64 [n].
            classes: Their names.
        """
        support, query = self.support[row], self.query[row]
        names = tuple(classes[label] for label in labels[query[:, 0]].tolist())
        return Episode(names, support.tolist(), query.tolist())

    def check(self, labels: IntArray, data: str) -> None:
        """Refuse to be replayed on images that it was not drawn from.

        Args:
            labels: Class of each image, int64 [n].
            data: `data_digest` of the images.

        Raises:
            UserError: They are other images, or the positions are those of no episode.
        """
        if self.data != data:
            raise UserError(
                "its episodes are of other images than these",
                where=self.path,
                todo="use the images that it was drawn from",
            )
        used = np.concatenate([self.support, self.query], axis=2)
        if used.min(initial=0) < 0 or used.max(initial=0) >= len(labels):
            raise UserError("it names images that do not exist", where=self.path, todo="restore the file")
        each, classes = labels[used], np.sort(labels[used[:, :, 0]], axis=1)
        flat = np.sort(used.reshape(len(used), -1), axis=1)
        if (each != each[:, :, :1]).any() or (np.diff(classes) == 0).any() or (np.diff(flat) == 0).any():
            raise UserError(
                "in an episode of it a class or an image stands twice, or a class is mixed",
                where=self.path,
                todo="restore the file",
            )


def row_of(sample: str) -> int:
    """Which episode a sample is, by its id."""
    return int(sample.removeprefix("episode-"))


def _whole_numbers(values: Any) -> IntArray:
    array = np.array(values)
    if array.dtype.kind != "i":
        raise ValueError("positions are not whole numbers")
    return array.astype(np.int64)


def data_digest(images: Sequence[str], labels: IntArray) -> str:
    """Hash of image digests and labels: what positions in a manifest refer to."""
    return sha256_hex(
        *(digest.encode() for digest in images), array_digest(np.asarray(labels, dtype=np.int64)).encode()
    )


def large_classes(labels: IntArray, protocol: Protocol) -> IntArray:
    """Return the classes that have the images for an episode, shots + queries.

    Args:
        labels: Class of each image, int64 [n]; each image is another content.
        protocol: What to draw.
    """
    titles, counts = np.unique(labels, return_counts=True)
    return titles[counts >= protocol.shots + protocol.queries]


def draw(labels: IntArray, protocol: Protocol, *, seed: int, split: str, data: str) -> Manifest:
    """Draw the episodes.

    Only classes with at least shots + queries images take part. In an episode no class and no image stands twice.

    Args:
        labels: Class of each image, int64 [n]; each image is another content.
        protocol: What to draw.
        seed: Of the draw.
        split: Name of the image set; part of the seed.
        data: `data_digest` of the images.

    Raises:
        UserError: Fewer classes than ``ways`` have enough images.
    """
    each = protocol.shots + protocol.queries
    members = [np.flatnonzero(labels == label) for label in large_classes(labels, protocol)]
    if len(members) < protocol.ways:
        raise UserError(
            f"only {len(members)} classes have the {each} images that {protocol.shots} shots and {protocol.queries} "
            f"queries need; {protocol.ways} ways want more",
            where=split,
            todo="lower ways, shots or queries",
        )
    table = np.full((len(members), max(map(len, members))), -1, dtype=np.int64)
    for row, rows in enumerate(members):
        table[row, : len(rows)] = rows
    chosen = np.stack([_episode(table, protocol.ways, each, words) for words in _streams(protocol, seed, split)])
    return Manifest(chosen[:, :, : protocol.shots], chosen[:, :, protocol.shots :], data, split, seed)


def _streams(protocol: Protocol, seed: int, split: str) -> Iterator[np.random.PCG64]:
    for index in range(protocol.episodes):
        entropy = int(sha256_hex(GENERATOR.encode(), str(seed).encode(), split.encode(), str(index).encode()), 16)
        yield np.random.PCG64(np.random.SeedSequence(entropy))


def _episode(table: IntArray, ways: int, each: int, words: np.random.PCG64) -> IntArray:
    """Return the image positions of one episode, [ways, each]: rows of ``table`` and their entries in random order."""
    rows = table[np.argsort(words.random_raw(len(table)), kind="stable")[:ways]]
    keys = words.random_raw(rows.size).reshape(rows.shape)
    keys[rows < 0] = np.iinfo(np.uint64).max  # padding comes last
    smallest = np.argpartition(keys, each - 1, axis=1)[:, :each]  # spares sorting classes of thousands of images
    order = np.argsort(np.take_along_axis(keys, smallest, axis=1), axis=1, kind="stable")
    picked: IntArray = np.take_along_axis(rows, np.take_along_axis(smallest, order, axis=1), axis=1)
    return picked
