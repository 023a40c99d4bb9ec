"""Letters: novel scripts are novel, no letter resembles one of another split, and a seed decides every pixel."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.glyphs import SPLITS, alphabet, glyphs
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial.distance import cdist

LATIN_TWINS = "ΑΒΕΖΗΙΚΜΝΟΡΤΧο"
"""Greek letters that fonts draw as they draw Latin ones."""


def shape(letter, side=20):
    """Draw a letter by other means than the source does: large, cut to its ink, averaged down."""
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(fonts / f"{letter.faces[0]}.ttf", 64)
    image = Image.new("L", (220, 220))
    ImageDraw.Draw(image).text((70, 70), letter.char, fill=255, font=font)
    cut = image.crop(image.getbbox()).resize((side, side), Image.Resampling.BOX)
    return np.asarray(cut, dtype=np.float64).ravel() / 255


def test_no_script_is_in_two_splits():
    scripts = [script for split in SPLITS for script in SPLITS[split]]
    assert len(scripts) == len(set(scripts))
    for split, own in SPLITS.items():
        assert {letter.script for letter in alphabet(split)} == set(own)


def test_a_letter_is_of_the_script_that_unicode_says():
    for split in SPLITS:
        for letter in alphabet(split):
            name = unicodedata.name(letter.char).lower().replace(" ", "-")
            assert name.startswith(letter.script)
            assert unicodedata.category(letter.char) in {"Lu", "Ll", "Lo"}


def test_no_letter_looks_like_one_of_another_split():
    """The share of ink in common (intersection over union) of any two stays below 95 %."""
    shapes = {split: np.array([shape(letter) for letter in alphabet(split)]) for split in SPLITS}
    for one, two in (("base", "val"), ("base", "test"), ("val", "test")):
        a, b = shapes[one], shapes[two]
        apart, ink = cdist(a, b, "cityblock"), a.sum(axis=1)[:, None] + b.sum(axis=1)
        assert ((ink - apart) / (ink + apart)).max() < 0.95
    assert not {letter.char for letter in alphabet("test")} & set(LATIN_TWINS)


def test_there_are_enough_classes_for_fifteen_ways():
    assert all(len(alphabet(split)) >= 75 for split in SPLITS)


def test_every_image_is_another():
    images = glyphs(scripts="hebrew")
    assert len({image.digest for image in images.images}) == len(images.images) == 20 * len(images.classes)
    assert np.bincount(images.labels).tolist() == [20] * len(images.classes)
    assert images.name == "glyphs/test/hebrew"


def test_drawing_again_gives_the_same_and_another_seed_gives_others():
    one, two, other = (glyphs("val", scripts="lisu", per_class=3, seed=seed) for seed in (7, 7, 8))
    digests = [[image.digest for image in images.images] for images in (one, two, other)]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


def test_an_image_depends_on_neither_the_others_nor_their_number():
    few, many = glyphs("val", scripts="lisu", per_class=2), glyphs("val", per_class=5)
    kept = {many.classes[label]: [] for label in many.labels}
    for image, label in zip(many.images, many.labels, strict=True):
        kept[many.classes[label]].append(image.digest)
    for label, title in enumerate(few.classes):
        own = [image.digest for image, at in zip(few.images, few.labels, strict=True) if at == label]
        assert own == kept[title][:2]


def test_images_are_white_on_black_in_the_size_asked_for():
    image = glyphs("val", scripts="lao", per_class=1, size=40).images[0].load()
    pixels = np.asarray(image)
    assert (image.mode, image.size) == ("RGB", (40, 40))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert np.median(pixels) < 40
    assert pixels.max() > 150


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "train"}, "no split 'train'; choose from base, val, test"),
        ({"scripts": "klingon"}, "no script 'klingon'; choose from georgian"),
        ({"scripts": "latin"}, "no script 'latin'"),
        ({"per_class": 0}, "cannot draw 0 images"),
        ({"size": 4}, "of 4 pixels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        glyphs(**wrong)
