"""Encoded images: what they are called by, and how they become RGB. The one place that decodes a user's images.

The convention, ``adaptbench-rgb/1``:

- the first frame or page of an image that has several;
- turned upright as its EXIF orientation says;
- 16-bit grey becomes 8-bit by its high byte, as libpng does it; floating-point and 32-bit pixels are refused;
- what is transparent shows white;
- every other mode - bilevel, grey, palette, CMYK, YCbCr, LAB - as Pillow converts it; colour profiles are not applied.

An image is called by the hash of its encoded bytes and of the convention, so a set of images is known without
decoding it. Equal bytes are equal images; the same image saved twice in different ways is two.
"""

from __future__ import annotations

import functools
import io
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.contracts import Input
from ..harness.errors import UserError
from ..harness.hashing import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

CONVENTION = b"adaptbench-rgb/1"
"""Name and version of the way images become RGB; a change of any pixel changes it."""

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings of the names of image files, in lower case."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_RESTORE = "restore it, or take it out of the set"


def file_input(path: str) -> Input:
    """Return the image in a file. It is hashed now and decoded when it is loaded.

    Raises:
        UserError: The file cannot be read.
    """
    return encoded_input(functools.partial(read, path), path)


def encoded_input(fetch: Callable[[], bytes], where: str, *, data: bytes | None = None) -> Input:
    """Return an encoded image as an input.

    Args:
        fetch: Returns its bytes, the same whenever it is called: once now, once for each time that it is loaded.
        where: What messages call it.
        data: What ``fetch`` returns, where it is at hand.
    """
    digest = _digest(fetch() if data is None else data)
    return Input(digest, functools.partial(_load, fetch, where, digest))


def read(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the image: {error.strerror or error}", where=path, todo=_RESTORE) from error


def decode(data: bytes, where: str, convert: Callable[[Image], Image] | None = None) -> Image:
    """Decode an image into mode RGB.

    Args:
        data: Its encoded bytes.
        where: What messages call it.
        convert: Makes RGB of the opened image; without it, the convention above does.

    Raises:
        UserError: The bytes are not an image, are cut off, or hold more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    from PIL import Image, ImageOps

    bombs = (Image.DecompressionBombWarning, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return convert(image) if convert else _rgb(ImageOps.exif_transpose(image))
    except bombs as error:
        raise UserError(f"too many pixels: {error}", where=where, todo="scale it down") from error
    # What Pillow's decoders raise for bytes that are damaged.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error) as error:
        raise UserError(f"not an image that can be read: {error}", where=where, todo=_RESTORE) from error


def _digest(data: bytes) -> str:
    return sha256_hex(CONVENTION, data)


def _load(fetch: Callable[[], bytes], where: str, digest: str) -> Image:
    data = fetch()
    if _digest(data) != digest:
        raise UserError("it changed since it was hashed", where=where, todo="run the same command again")
    return decode(data, where)


def _rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode.startswith("I"):
        image = _high_byte(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", seen.size, "white"), seen)
    return image.convert("RGB")


def _high_byte(image: Image) -> Image:
    """Turn 16-bit grey into 8-bit; Pillow holds it in mode I;16 or, of some formats, in mode I."""
    import numpy as np
    from PIL import Image as Images

    values = np.asarray(image.convert("I"))
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels are 32-bit numbers")
    return Images.fromarray((values >> 8).astype(np.uint8))
