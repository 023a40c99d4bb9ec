"""Images as LLaVA's scripts see them, and what is left of a run when one is broken."""

import io
import json

import numpy as np
import pytest
from adaptbench.harness.errors import BadSample
from adaptbench.tasks.multimodal import pope
from adaptbench.tasks.multimodal.images import LazyImage
from adaptbench.tasks.multimodal.question import Question
from PIL import Image

GRADIENT = Image.fromarray(np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3))


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def lazy(content):
    return LazyImage("cat.png", lambda: content)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_becomes_rgb_as_pillow_converts_it(mode):
    image = GRADIENT.convert("L").convert("LA") if mode == "LA" else GRADIENT.convert(mode)
    content = encoded(image, "JPEG" if mode == "CMYK" else "PNG", **({"quality": 100} if mode == "CMYK" else {}))
    with Image.open(io.BytesIO(content)) as opened:
        expected = opened.convert("RGB")
    loaded = lazy(content).load()
    assert loaded.mode == "RGB"
    assert loaded.tobytes() == expected.tobytes()


def test_an_exif_orientation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert lazy(encoded(GRADIENT, "JPEG", exif=exif)).load().size == (10, 12)


def test_the_first_frame_of_an_animation_counts():
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    content = encoded(red, "GIF", save_all=True, append_images=[blue])
    assert lazy(content).load().getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.effect_noise((64, 64), 50))[:-600], "not an image that can be read"),
        (b"", "not an image that can be read"),
        (b"GIF89a nothing", "not an image that can be read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(content, reason):
    with pytest.raises(BadSample, match=f"^cat.png: {reason}"):
        lazy(content).load()


def test_too_many_pixels_are_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadSample, match=r"^cat\.png: too many pixels"):
        lazy(encoded(Image.new("RGB", (11, 11), "teal"))).load()


def test_a_file_that_is_missing_is_refused_when_it_is_loaded_and_has_a_digest_before(tmp_path):
    gone = LazyImage.file(tmp_path / "gone.png")
    assert gone.digest != LazyImage.file(tmp_path / "too.png").digest
    with pytest.raises(BadSample, match=r"gone\.png: cannot read the image: No such file"):
        gone.load()


def test_equal_images_are_read_from_their_bytes_once():
    content, calls = encoded(Image.new("RGB", (5, 7), "olive")), []

    def fetch():
        calls.append(1)
        return content

    first, second = LazyImage("one row", fetch), LazyImage("another row", fetch)
    assert first.load() is second.load()
    assert len(calls) == 3  # two digests, one image


def test_one_bad_image_fails_its_own_questions_and_never_the_run(run, tmp_path):
    images = [lazy(encoded(GRADIENT.rotate(90 * n, expand=True))) for n in range(3)] + [lazy(b"torn")]
    questions = [
        Question(f"q{n}", f"Is there a thing {n}?", images[n % 4], "yes", subsets={"split": "random", "answer": "yes"})
        for n in range(12)
    ]
    result = run(Looks(), pope.BENCHMARK.task(questions), out=tmp_path / "r").results[0]
    assert (result.samples, result.unscored, result.metrics["accuracy"].value) == (12, 3, 1.0)
    lines = (tmp_path / "r" / "cells" / result.key / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["fault"] != "" for record in records] == [n % 4 == 3 for n in range(12)]
    assert "cat.png: not an image" in records[3]["fault"]
    assert records[3]["scores"] is None


class Looks:
    name = "looks"
    fingerprint = "looks"

    def generate(self, prompts):
        return ["yes" if prompt.images[0].mode == "RGB" else "no" for prompt in prompts]


@pytest.fixture
def run():
    import adaptbench

    return lambda model, task, out: adaptbench.run([model], task, out=out)
