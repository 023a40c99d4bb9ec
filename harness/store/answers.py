"""Answers that no record holds yet, of a model that answers each input apart: what was answered is not asked again.

A line is the CRC-32 of a JSON text, a blank, and that text: the digest of an input, and its answer. It begins with its
line feed, so that a line that a kill cut off spoils no other. What is damaged is asked again.
"""

from __future__ import annotations

import functools
import json
import zlib
from typing import TYPE_CHECKING

from ..hashing import canonical_json
from .files import append, disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..contracts import Json


class AnswerStore:
    """The answers to one chunk of a cell.

    Args:
        path: The file; it is there only while something is in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, digest: str) -> Json | None:
        """Return the answer to an input, or ``None``."""
        return self._known.get(digest)

    def put(self, digest: str, answer: Json) -> None:
        """Store the answer to an input; on return it is on disk.

        Raises:
            ValueError: JSON cannot hold the answer.
        """
        text = canonical_json([digest, answer], "answer")
        append(self._path, b"\n%08x %s" % (zlib.crc32(text), text))
        self._known[digest] = answer

    def clear(self) -> None:
        """Forget all answers: records hold them."""
        if self._known or self._path.exists():
            with disk_errors(self._path):
                self._path.unlink(missing_ok=True)
            self._known.clear()

    @functools.cached_property
    def _known(self) -> dict[str, Json]:
        if not self._path.exists():
            return {}
        with disk_errors(self._path, "read"):
            return dict(_sound(self._path.read_bytes().split(b"\n")))


def _sound(lines: list[bytes]) -> Iterator[tuple[str, Json]]:
    for line in lines:
        if line[:9] == b"%08x " % zlib.crc32(line[9:]):
            digest, answer = json.loads(line[9:])
            yield digest, answer
