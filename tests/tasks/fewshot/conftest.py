from __future__ import annotations

import struct

import google_crc32c
import pytest


class RecordFiles:
    """Writes TFRecord files of ``tf.train.Example``."""

    def framed(self, written):
        heads = [struct.pack("<Q", len(data)) for data in written]
        return b"".join(head + crc(head) + data + crc(data) for head, data in zip(heads, written, strict=True))

    def example(self, features, *, packed=True):
        """Bytes of an Example with features of bytes and of whole numbers."""
        entries = b""
        for name, values in features.items():
            if values and isinstance(values[0], bytes):
                listed = self.field(1, b"".join(self.field(1, value) for value in values))
            elif packed:
                listed = self.field(3, self.field(1, b"".join(map(varint, values))))
            else:
                listed = self.field(3, b"".join(varint(8) + varint(value) for value in values))
            entries += self.field(1, self.field(1, name.encode()) + self.field(2, listed))
        return self.field(1, entries)

    def field(self, number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    def write(self, path, images, label):
        """A file with a record for each encoded image."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.framed([self.example({"image": [image], "label": [label]}) for image in images]))
        return path


def crc(data):
    value = google_crc32c.value(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number):
    number &= 2**64 - 1
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


@pytest.fixture(scope="session")
def record_files():
    return RecordFiles()
