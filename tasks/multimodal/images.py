"""The images of multimodal benchmarks: named by their bytes, decoded when they are asked for.

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
from ...harness.reading import within
from ...harness.texts import utf8
from ..decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

CONVENTION = b"llava-rgb/1"
"""Name and version of the way images become RGB; a change of any pixel changes it."""

_KEPT = 8
"""Decoded images kept at a time: benchmarks ask several questions of an image one after the other. Few, because
each may have as many pixels as Pillow allows.
"""


class LazyImage:
    """An image that is read when it is asked for, and decoded once for all questions that follow each other.

    Args:
        where: What messages call it, such as its path.
        fetch: Returns its encoded bytes, the same whenever it is called.
    """

    def __init__(self, where: str, fetch: Callable[[], bytes]) -> None:
        self.where, self.fetch = where, fetch

    @classmethod
    def file(cls, path: str | Path) -> LazyImage:
        """Make an image of a file, which need not exist before it is loaded."""
        return cls(str(path), functools.partial(_read, Path(path)))

    @classmethod
    def within(cls, folder: str | Path, name: str) -> LazyImage:
        """Make an image of a file that a data set names; it must be below ``folder``, and is not read before that."""
        return cls(str(Path(folder, name)), functools.partial(_read_within, folder, name))

    @functools.cached_property
    def digest(self) -> str:
        """Hash of its bytes; of the place where it should be, if there is none."""
        try:
            return sha256_hex(CONVENTION, self.fetch())
        except UserError:
            return sha256_hex(b"missing", utf8(self.where))

    def load(self) -> Image:
        """Decode it into mode RGB.

        Raises:
            BadSample: It cannot be read, is cut off, is not an image, or holds more pixels than Pillow allows.
            UserError: None of its kind can be read.
        """
        return _decoded(self)


# Known by the digest: equal images in several rows of a table are decoded once.
_kept: OrderedDict[str, Image] = OrderedDict()


def _decoded(lazy: LazyImage) -> Image:
    image = _kept.get(lazy.digest)
    if image is None:
        content = lazy.fetch()
        try:
            image = decode(content, lazy.where, lambda opened: opened.convert("RGB"))
        except UserError as error:
            raise BadSample(error.what, where=lazy.where, todo="fix the image") from error
        _kept[lazy.digest] = image
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return image


def _read_within(folder: str | Path, name: str) -> bytes:
    return _read(within(folder, name))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a NUL or half of a character in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadSample(f"cannot read the image: {reason}", where=str(path)) from error
