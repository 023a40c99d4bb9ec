"""Vectors that were computed once, by the encoder that computed them and the content that it saw.

A block is a fixed run of inputs that were encoded together; it is stored whole, under the digests of their contents, or
not at all. Each process appends its blocks to a file of its own and reads those of all: none waits for another, and a
folder holds as many files as processes worked on it. All of it can be computed again: a block that a kill or a power
failure has cut short or that does not have its checksum is.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..hashing import array_digest, canonical_json, sha256_hex
from .files import append, disk_errors, make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..contracts import FloatArray

logger = logging.getLogger(__name__)

_HEAD = struct.Struct("<32s32sQQ")
"""What comes before the vectors, little-endian float32: key, checksum, rows, columns."""
_ENDING = ".blocks"
_WRITER = secrets.token_hex(8)
"""Part of the names of this process' files, and of those that it forks."""


class _Block(NamedTuple):
    """Where a block's vectors are."""

    file: Path
    start: int
    checksum: bytes
    shape: tuple[int, ...]


class FeatureStore:
    """The blocks of one encoder.

    Args:
        folder: Where the run keeps its features.
        encoder: Key of the encoder: everything that can change a vector.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder / encoder[:16]
        self._own = self._folder / f"{_WRITER}-{os.getpid()}{_ENDING}"
        self._blocks: dict[bytes, list[_Block]] = {}
        self._looked = False

    def stored(self) -> dict[str, str]:
        """Return the key of each block that is in a file -> its checksum."""
        self._look()
        return {key.hex(): blocks[-1].checksum.hex() for key, blocks in self._blocks.items()}

    def get(self, digests: Sequence[str]) -> FloatArray | None:
        """Return the vectors of a block, float32 [len(digests), d], or ``None`` if they have to be computed.

        What other processes store is found until the first call.
        """
        if not self._looked:
            self._look()
        key = _key(digests)
        for block in reversed(self._blocks.get(key, ())):
            with disk_errors(block.file, "read"), block.file.open("rb") as stream:
                stream.seek(block.start)
                data = stream.read(_size(block.shape))
            if len(data) == _size(block.shape) and block.shape[0] == len(digests):
                vectors: FloatArray = np.frombuffer(data, dtype="<f4").reshape(block.shape)
                if _checksum(vectors) == block.checksum:
                    return vectors
            logger.warning("%s: damaged features are computed again", block.file)
        return None

    def put(self, digests: Sequence[str], vectors: FloatArray) -> None:
        """Store the vectors of a block: a kill loses no block that was put."""
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        key, checksum = _key(digests), _checksum(vectors)
        make_folder(self._folder)
        start = append(self._own, _HEAD.pack(key, checksum, *vectors.shape) + vectors.tobytes(), durable=False)
        block = _Block(self._own, start + _HEAD.size, checksum, vectors.shape)
        self._blocks.setdefault(key, []).append(block)

    def _look(self) -> None:
        """Find the blocks that are there, by whichever process."""
        self._looked = True
        self._blocks.clear()
        for file in sorted(self._folder.glob(f"*{_ENDING}")):
            with disk_errors(file, "read"), file.open("rb") as stream:
                place, end = 0, stream.seek(0, os.SEEK_END)
                while place + _HEAD.size <= end:
                    stream.seek(place)
                    key, checksum, *shape = _HEAD.unpack(stream.read(_HEAD.size))
                    start = place + _HEAD.size
                    place = start + _size(shape)
                    if place <= end:  # or it was cut short, or is being written
                        self._blocks.setdefault(key, []).append(_Block(file, start, checksum, (shape[0], shape[1])))


def _size(shape: Sequence[int]) -> int:
    return 4 * shape[0] * shape[1]


def _key(digests: Sequence[str]) -> bytes:
    return _key_of(tuple(digests))


@functools.lru_cache(maxsize=1)  # what is asked for is then put
def _key_of(digests: tuple[str, ...]) -> bytes:
    return bytes.fromhex(sha256_hex(canonical_json(digests)))


def _checksum(vectors: FloatArray) -> bytes:
    return bytes.fromhex(array_digest(vectors))
