"""Images as arrays of pixels: what caches of miniImageNet and tieredImageNet hold."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.contracts import Input
from ...harness.errors import UserError
from ...harness.hashing import image_digest
from .images import collect

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from PIL.Image import Image

    from .images import ImageSet

    Pixels = npt.NDArray[np.uint8]


def pixel_images(name: str, pixels: Any, rows: Mapping[str, Any], *, bgr: bool = False, where: str) -> ImageSet:
    """Make a set of images of an array.

    Args:
        name: As `ImageSet` has it.
        pixels: uint8 [n, height, width, 3].
        rows: Class -> positions of its images.
        bgr: Whether the channels are blue, green, red, as OpenCV writes them.
        where: What messages call the source.

    Raises:
        UserError: The array is of another type or shape, or a position is outside it.
    """
    shape, kind = np.shape(pixels), getattr(pixels, "dtype", type(pixels).__name__)
    if kind != np.uint8 or len(shape) != 4 or shape[3] != 3:
        raise UserError(
            f"its images are {kind} {list(shape)}, not uint8 [n, height, width, 3]",
            where=where,
            todo="restore the file",
        )
    outside = [row for some in rows.values() for row in some if not 0 <= row < len(pixels)]
    if outside:
        raise UserError(f"it has no image {outside[0]}", where=where, todo="restore the file")
    return collect(
        name, ((title, (_input(pixels, row, bgr) for row in some)) for title, some in rows.items()), where=where
    )


def rows_by_label(labels: Any, count: int, *, where: str) -> dict[str, list[int]]:
    """Return class -> positions, of a list with the class of each image: whole numbers or texts.

    Raises:
        UserError: It is of another kind, or not of ``count`` images.
    """
    try:
        array = np.asarray(labels)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "iuU" or array.shape != (count,):
        raise UserError(
            f"its labels are {array.dtype} {list(array.shape)}, not the classes of {count} images",
            where=where,
            todo="restore the file",
        )
    width = len(str(array.max(initial=0))) if array.dtype.kind != "U" else 0
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(array.tolist()):
        rows.setdefault(str(label).zfill(width), []).append(row)
    return rows


def load_npz(path: str, key: str) -> Pixels:
    """Return an array of an npz file. If it is not compressed, it stays on disk: tieredImageNet's has 9 GB.

    Raises:
        UserError: It is not such a file, or has no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{key}.npy")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                shape, fortran, dtype = _HEADERS[version](stream)
                begins = stream.tell()
                while stream.read(2**20):  # to the end, where zipfile compares its checksum
                    pass
            if member.compress_type == zipfile.ZIP_STORED and not fortran and not dtype.hasobject:
                offset = _data_of(path, member) + begins
                return np.memmap(path, dtype, "r", offset, shape)
        with np.load(path) as arrays:  # without pickles
            array: Pixels = arrays[key]
            return array
    except (OSError, zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError) as error:
        raise UserError(f"not an npz file with {key!r}: {error}", where=path, todo="restore the file") from error


_HEADERS: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _data_of(path: str, member: zipfile.ZipInfo) -> int:
    """Return where a member's data begin: behind a header of 30 bytes, its name and an extra field."""
    with open(path, "rb") as stream:  # noqa: PTH123
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
    return member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


def _input(pixels: Pixels, row: int, bgr: bool) -> Input:
    def load() -> Image:
        from PIL import Image as Images

        return Images.fromarray(np.ascontiguousarray(pixels[row, ..., ::-1] if bgr else pixels[row]))

    return Input(image_digest(load()), load)
