"""Vectors that were computed once, by the encoder that computed them and the content that it saw.

A block is a fixed run of inputs that were encoded together; it is stored whole, in one safetensors file named after the
digests of its contents, or not at all. All of it can be computed again: a block that a power failure has lost or that
does not have its checksum is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from ..hashing import array_digest, sha256_hex
from .files import disk_errors, make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..contracts import FloatArray

logger = logging.getLogger(__name__)


class FeatureStore:
    """The blocks of one encoder.

    Args:
        folder: Where the run keeps its features.
        encoder: Key of the encoder: everything that can change a vector.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder / encoder[:16]
        self._lock = FileLock(self._folder / ".lock")

    def get(self, digests: Sequence[str]) -> FloatArray | None:
        """Return the vectors of a block, float32 [len(digests), d], or ``None`` if they have to be computed."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(digests)
        if not path.exists():
            return None
        with disk_errors(path, "read"):
            data = path.read_bytes()
        try:
            stored = load(data)
            vectors: FloatArray = stored["vectors"]
            sound = stored["sha256"].tobytes() == _checksum(vectors) and len(vectors) == len(digests)
        except (SafetensorError, KeyError, ValueError, TypeError):
            sound = False
        if not sound:
            logger.warning("%s: damaged features are computed again", path)
            return None
        return vectors

    def put(self, digests: Sequence[str], vectors: FloatArray) -> None:
        """Store the vectors of a block."""
        from safetensors.numpy import save

        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        data = save({"vectors": vectors, "sha256": np.frombuffer(_checksum(vectors), dtype=np.uint8)})
        make_folder(self._folder)
        with disk_errors(self._folder), self._lock:
            write_atomic(self._path(digests), data, durable=False)

    def _path(self, digests: Sequence[str]) -> Path:
        return self._folder / f"{sha256_hex(*(digest.encode() for digest in digests))[:32]}.safetensors"


def _checksum(vectors: FloatArray) -> bytes:
    return bytes.fromhex(array_digest(vectors))
