"""TFRecord files of ``tf.train.Example``, without TensorFlow.

A record is its length (u64), a checksum of that, the data and a checksum of them, all little-endian; a checksum is a
masked CRC-32C (TensorFlow, ``core/lib/io/record_writer.h``). Both are checked, which readers from PyPI do not do.
Nothing in a file says how many records it should have: whoever knows their number must notice that it was cut off
between two of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEADER, _CRC = 12, 4
_MASK = 0xA282EAD8
_SIZES = {1: 8, 2: 0, 5: 4}
"""Kind of a field -> its bytes; 0 where its length comes first."""
_TODO = "copy it from its source again"


def records(path: str) -> Iterator[tuple[int, bytes]]:
    """Read a file's records one after the other.

    Args:
        path: The file.

    Yields:
        The place of the record in the file, in bytes, and its data.

    Raises:
        UserError: The file cannot be read, is cut off inside a record, or does not have its checksums.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - a path as the folder's listing gives it
            size, place = os.fstat(stream.fileno()).st_size, 0
            while place < size:
                data = _record(stream, place, size, path)
                yield place, data
                place += _HEADER + len(data) + _CRC
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=path, todo=_TODO) from error


def record_at(path: str, place: int) -> bytes:
    """Read the one record that begins at ``place``; see `records`."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            stream.seek(place)
            return _record(stream, place, os.fstat(stream.fileno()).st_size, path)
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=path, todo=_TODO) from error


def _record(stream: BinaryIO, place: int, size: int, path: str) -> bytes:
    header = stream.read(_HEADER)
    length = int.from_bytes(header[:8], "little")
    if len(header) == _HEADER:
        _check(header[:8], header[8:], f"{path}, byte {place}")
    if len(header) < _HEADER or length + _CRC > size - place - _HEADER:
        raise UserError(f"it is cut off inside the record at byte {place}", where=path, todo=_TODO)
    data = stream.read(length)
    _check(data, stream.read(_CRC), f"{path}, byte {place}")
    return data


def _check(data: bytes, stored: bytes, where: str) -> None:
    try:
        import google_crc32c
    except ImportError as error:
        todo = "pip install 'adaptbench[records]'"
        raise UserError("google-crc32c is needed to check records", where=where, todo=todo) from error
    crc: int = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
    if masked != int.from_bytes(stored, "little"):
        raise UserError("the record does not have its checksum: it was changed", where=where, todo=_TODO)


def example(data: bytes) -> Mapping[str, list[bytes] | list[int]]:
    """Read a serialised ``tf.train.Example``: feature -> its values. Lists of floats are left out.

    The messages are ``Example {1: Features {1: map<text, Feature {1: bytes, 2: floats, 3: int64s}>}}`` (TensorFlow,
    ``core/example/example.proto``), in protocol buffers' wire format.

    Raises:
        ValueError: It is something else.
    """
    found: dict[str, list[bytes] | list[int]] = {}
    for features in _messages(data, 1):
        for entry in _messages(features, 1):
            name = b"".join(_messages(entry, 1)).decode()
            for feature in _messages(entry, 2):
                for values in _messages(feature, 1):
                    found[name] = list(_messages(values, 1))
                for values in _messages(feature, 3):
                    found[name] = _whole_numbers(values)
    return found


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the content of each field ``wanted``, which has a length."""
    for number, value in _fields(data):
        if number == wanted:
            if isinstance(value, int):
                raise ValueError(f"field {number} is a number")
            yield value


def _whole_numbers(data: bytes) -> list[int]:
    """Return an Int64List, packed or not."""
    numbers: list[int] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            numbers.append(value)
        elif number == 1 and isinstance(value, bytes):
            at = 0
            while at < len(value):
                each, at = _varint(value, at)
                numbers.append(each)
    return [number - (number >> 63 << 64) for number in numbers]


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field: a varint as a number, all else as its bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind not in _SIZES:
            raise ValueError(f"field {number} is of no known kind")
        length, at = (_SIZES[kind], at) if _SIZES[kind] else _varint(data, at)
        if at + length > len(data):
            raise ValueError(f"field {number} is longer than its message")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at ``at``, and where the next thing begins."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number has more than 64 bits")
