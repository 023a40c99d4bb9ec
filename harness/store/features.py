"""Vectors that were computed once, by the encoder that computed them and the content that it saw.

A block is a fixed run of inputs that were encoded together; it is stored whole, in one safetensors file named after the
digests of its contents, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from ..hashing import sha256_hex
from .files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..contracts import FloatArray


class FeatureStore:
    """The blocks of one encoder.

    Args:
        folder: Where the run keeps its features.
        encoder: Key of the encoder: everything that can change a vector.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder / encoder[:16]

    def get(self, digests: Sequence[str]) -> FloatArray | None:
        """Return the vectors of a block, float32 [len(digests), d], or ``None`` if it has not been computed."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._path(digests)
        if not path.exists():
            return None
        try:
            vectors = load(path.read_bytes())["vectors"]
        except (SafetensorError, KeyError) as error:
            raise UserError(f"not a block of features: {error}", where=str(path), todo="delete that file") from error
        return np.asarray(vectors, dtype=np.float32)

    def put(self, digests: Sequence[str], vectors: FloatArray) -> None:
        """Store the vectors of a block; on return they are on disk."""
        from safetensors.numpy import save

        write_atomic(self._path(digests), save({"vectors": np.ascontiguousarray(vectors, dtype=np.float32)}))

    def _path(self, digests: Sequence[str]) -> Path:
        return self._folder / f"{sha256_hex(*(digest.encode() for digest in digests))[:32]}.safetensors"
