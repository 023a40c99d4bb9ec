"""TFRecord files: what was written is read, and damage of any byte is noticed."""

from __future__ import annotations

import contextlib
import struct

import google_crc32c
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.tfrecord import example, record_at, records
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = st.lists(st.binary(max_size=20), max_size=4)
FEW = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("records") / "0.tfrecords"


def read(path, content):
    path.write_bytes(content)
    return list(records(str(path)))


@given(DATA)
@FEW
def test_what_was_written_is_read(record_files, path, written):
    found = read(path, record_files.framed(written))
    assert [data for _, data in found] == written
    assert [record_at(str(path), place) for place, _ in found] == written


@given(DATA.filter(len), st.data())
@FEW
def test_any_flipped_byte_is_noticed(record_files, path, written, choose):
    content = bytearray(record_files.framed(written))
    content[choose.draw(st.integers(0, len(content) - 1))] ^= choose.draw(st.integers(1, 255))
    with pytest.raises(UserError, match=r"0\.tfrecords.*(checksum|cut off)"):
        read(path, bytes(content))


@given(DATA.filter(len), st.data())
@FEW
def test_a_cut_inside_a_record_is_noticed(record_files, path, written, choose):
    content = record_files.framed(written)
    last = len(content) - len(record_files.framed(written[-1:]))
    with pytest.raises(UserError, match=f"cut off inside the record at byte {last}; copy it"):
        read(path, content[: choose.draw(st.integers(last + 1, len(content) - 1))])


def test_the_framing_is_tensorflows():
    """The example of RFC 3720, B.4, and its masked form."""
    from adaptbench.tasks.fewshot import tfrecord

    assert google_crc32c.value(b"123456789") == 0xE3069283
    tfrecord._check(b"123456789", struct.pack("<I", 0xC78AB0E5), "here")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no\.tfrecords: cannot read it: No such file"):
        list(records(str(tmp_path / "no.tfrecords")))


NAMES = st.text(max_size=8)
NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)


@given(st.dictionaries(NAMES, st.lists(st.binary(max_size=9), max_size=3) | NUMBERS, max_size=4), st.booleans())
@FEW
def test_an_example_is_read(record_files, features, packed):
    assert example(record_files.example(features, packed=packed)) == features


def test_floats_are_left_out(record_files):
    floats = record_files.field(2, record_files.field(1, struct.pack("<2f", 0.5, 1)))
    entry = record_files.field(1, b"score") + record_files.field(2, floats)
    assert example(record_files.field(1, record_files.field(1, entry))) == {}


@given(st.binary(max_size=60))
@FEW
def test_other_bytes_are_read_or_refused(data):
    with contextlib.suppress(ValueError):
        assert isinstance(example(data), dict)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x05ab", "longer than its message"),
        (b"\x0a\xff", "a number is cut off"),
        (b"\x0a" + b"\xff" * 10, "more than 64 bits"),
        (b"\x08\x01", "field 1 is a number"),
        (b"\x0b", "of no known kind"),
    ],
)
def test_damaged_messages_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        example(data)
