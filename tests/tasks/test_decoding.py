"""How a user's image files become RGB, and which of them are refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.decoding import decode, encoded_input, file_input
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decoded(image, form="PNG", **options):
    result = decode(encoded(image, form, **options), "image")
    assert result.mode == "RGB"
    return np.asarray(result)


def one_colour(mode, colour, size=(3, 2)):
    return Image.new(mode, size, colour)


def png_header(width, height):
    """A PNG file that claims a size and holds no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SAMPLE = {
    "png": encoded(Image.effect_noise((9, 9), 50)),
    "jpeg": encoded(Image.effect_noise((9, 9), 50), "JPEG"),
    "gif": encoded(Image.effect_noise((9, 9), 50), "GIF"),
    "webp": encoded(Image.effect_noise((9, 9), 50).convert("RGB"), "WEBP"),
    "bmp": encoded(Image.effect_noise((9, 9), 50), "BMP"),
    "tiff": encoded(Image.effect_noise((9, 9), 50), "TIFF"),
    "ppm": encoded(Image.effect_noise((9, 9), 50), "PPM"),
}


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF", "JPEG", "WEBP"])
def test_colours_of_every_format_are_kept(form):
    options = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    pixels = decoded(one_colour("RGB", (200, 30, 90)), form, **options)
    assert pixels.shape == (2, 3, 3)
    assert np.abs(pixels.astype(int) - (200, 30, 90)).max() <= (2 if form == "JPEG" else 0)


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
    ],
)
def test_grey_and_transparent_images_are_seen_on_white(mode, colour, seen):
    assert (decoded(one_colour(mode, colour)) == seen).all()


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decoded(image).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert decoded(image, transparency=1).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_cmyk_becomes_rgb():
    pixels = decoded(one_colour("CMYK", (0, 255, 255, 0)), "TIFF")
    assert (pixels == (255, 0, 0)).all()


def test_sixteen_bit_grey_keeps_its_high_byte():
    grey = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    for form in ("PNG", "TIFF"):
        assert decoded(Image.fromarray(grey), form)[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]


@pytest.mark.parametrize("value", [-1, 70_000])
def test_pixels_of_more_bits_are_refused(value):
    numbers = Image.fromarray(np.full((2, 2), value, dtype=np.int32))
    with pytest.raises(UserError, match="32-bit"):
        decoded(numbers, "TIFF")
    with pytest.raises(UserError, match="floating-point"):
        decoded(Image.new("F", (2, 2), 0.5), "TIFF")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_upright(form):
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert decoded(image, form, exif=exif).shape == (4, 2, 3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_is_what_counts(form):
    frames = [one_colour("RGB", colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if form == "WEBP" else {}
    assert (decoded(frames[0], form, save_all=True, append_images=frames[1:], **options) == (255, 0, 0)).all()


@pytest.mark.parametrize("form", SAMPLE)
def test_a_file_that_is_cut_off_is_refused_by_name(form):
    with pytest.raises(UserError, match="image: not an image"):
        decode(SAMPLE[form][: len(SAMPLE[form]) // 2], "image")


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"\x00" * 1000])
def test_what_is_no_image_is_refused_by_name(data):
    with pytest.raises(UserError, match="image: not an image"):
        decode(data, "image")


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(size):
    with pytest.raises(UserError, match="image: too many pixels"):
        decode(png_header(*size), "image")


@given(st.sampled_from(sorted(SAMPLE)), st.data())
def test_damaged_bytes_give_an_image_or_a_user_error(form, data):
    damaged = bytearray(SAMPLE[form])
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        mode = decode(bytes(damaged), "image").mode
    except UserError:
        mode = "RGB"
    assert mode == "RGB"


def test_an_image_is_called_by_its_bytes(tmp_path, image_files):
    one = file_input(str(image_files.write(tmp_path / "a.png", 1)))
    same = file_input(str(image_files.write(tmp_path / "b" / "c.png", 1)))
    other = file_input(str(image_files.write(tmp_path / "d.png", 2)))
    assert one.digest == same.digest != other.digest
    assert encoded_input((tmp_path / "a.png").read_bytes, "x").digest == one.digest
    assert np.array_equal(np.asarray(one.load()), image_files.array(1))


def test_hashing_decodes_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image at all")
    assert file_input(str(tmp_path / "a.png")).digest


def test_a_file_that_is_missing_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: cannot read the image: No such file"):
        file_input(str(tmp_path / "gone.png"))


def test_a_file_that_changes_during_a_run_is_noticed(tmp_path, image_files):
    image = file_input(str(image_files.write(tmp_path / "a.png", 1)))
    image_files.write(tmp_path / "a.png", 2)
    with pytest.raises(UserError, match=r"a\.png: it changed"):
        image.load()
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png: cannot read"):
        image.load()
