"""The pictures of multimodal benchmarks: named by their bytes, decoded when they are asked for.

The convention is that of LLaVA-1.5's evaluation scripts: the first frame, as stored (EXIF orientation is not applied),
converted to RGB as Pillow does it (what is transparent keeps the colour beneath). Padding to a square and scaling are
the model's business.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import BadSample, UserError
from ...harness.hashing import sha256_hex
from ..decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

CONVENTION = b"llava-rgb/1"
"""Name and version of the way pictures become RGB; a change of any pixel changes it."""

_KEPT = 8
"""Decoded pictures kept at a time: benchmarks ask several questions of a picture one after the other. Few, because
each may have as many pixels as Pillow allows.
"""


class Picture:
    """A picture that is read when it is asked for, and decoded once for all questions that follow each other.

    Args:
        where: What messages call it, such as its path.
        fetch: Returns its encoded bytes, the same whenever it is called.
    """

    def __init__(self, where: str, fetch: Callable[[], bytes]) -> None:
        self.where, self.fetch = where, fetch

    @classmethod
    def file(cls, path: str | Path) -> Picture:
        """Make a picture of a file, which need not exist before it is loaded."""
        return cls(str(path), functools.partial(_read, Path(path)))

    @functools.cached_property
    def digest(self) -> str:
        """Hash of its bytes; of the place where it should be, if there is none."""
        try:
            return sha256_hex(CONVENTION, self.fetch())
        except UserError:
            return sha256_hex(b"missing", self.where.encode())

    def load(self) -> Image:
        """Decode it into mode RGB.

        Raises:
            BadSample: It cannot be read, is cut off, is no picture, or holds more pixels than Pillow allows.
            UserError: None of its kind can be read.
        """
        return _decoded(self)


# Known by the digest: equal pictures in several rows of a table are decoded once.
_kept: OrderedDict[str, Image] = OrderedDict()


def _decoded(picture: Picture) -> Image:
    image = _kept.get(picture.digest)
    if image is None:
        content = picture.fetch()
        try:
            image = decode(content, picture.where, lambda opened: opened.convert("RGB"))
        except UserError as error:
            raise BadSample(error.what, where=picture.where, todo="mend the picture") from error
        _kept[picture.digest] = image
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return image


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSample(f"cannot read the picture: {error.strerror or error}", where=str(path)) from error
