"""Which classes and images take part, and that what is left out is told."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench.harness.contracts import Input
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.choosing import distinct, limit_classes, with_possible_ways
from adaptbench.tasks.fewshot.images import ImageSet
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.sources import image_folder_task
from adaptbench.tasks.fewshot.task import FewShot


def image_set(*classes):
    """A set from class -> digests."""
    labels = np.repeat(np.arange(len(classes)), [len(digests) for digests in classes])
    images = [Input(digest, lambda: None) for digests in classes for digest in digests]
    return ImageSet("set", tuple(f"c{i:02d}" for i in range(len(classes))), labels, images)


MANY = image_set(*([f"{c}-{i}" for i in range(3)] for c in range(40)))


def test_limited_classes_keep_their_images():
    few = limit_classes(MANY, 7, seed=1)
    assert (few.name, len(few.classes)) == ("set/7-classes", 7)
    for label, title in enumerate(few.classes):
        digests = [image.digest for image, at in zip(few.images, few.labels, strict=True) if at == label]
        assert digests == [f"{int(title[1:])}-{i}" for i in range(3)]


def test_fewer_classes_are_among_more_and_another_seed_has_others():
    sets = [set(limit_classes(MANY, count, seed=1).classes) for count in (8, 16, 40)]
    assert sets[0] < sets[1] < sets[2] == set(MANY.classes)
    assert set(limit_classes(MANY, 8, seed=2).classes) != sets[0]
    assert limit_classes(MANY, 3, order="name", seed=2).classes == ("c00", "c01", "c02")


@pytest.mark.parametrize("count", [0, -1, 41, 2.0, True, "8"])
def test_another_number_of_classes_is_refused(count):
    with pytest.raises(UserError, match="is not a whole number from 1 to 40"):
        limit_classes(MANY, count)


def test_an_unknown_order_is_refused():
    with pytest.raises(UserError, match="choose from random, name"):
        limit_classes(MANY, 3, order="size")


def test_an_image_of_two_classes_is_in_none_and_one_that_appears_twice_is_there_once():
    found = distinct(image_set("abbc", "cd", "e"))
    assert [image.digest for image in found.images] == ["a", "b", "d", "e"]
    assert found.labels.tolist() == [0, 0, 1, 2]
    assert found.notes == ("1 images are in more than one class and are left out, such as one of c00 and c01",)
    assert distinct(found).notes == found.notes
    assert distinct(image_set("aab", "c")).notes == ()


def test_ways_are_lowered_to_the_classes_that_are_large_enough():
    images = image_set("abc", "def", "gh", "ijk")
    protocol = Protocol(ways=5, shots=1, queries=2, episodes=4)
    fitting, lower = with_possible_ways(images, protocol)
    assert lower.ways == 3
    task = FewShot(fitting, lower)
    assert task.manifest.support.shape == (4, 3, 1)
    assert task.notes == [
        "episodes have 3 ways instead of 5: no more classes have enough images",
        "1 of 4 classes have fewer than 3 images and take no part",
    ]
    enough = Protocol(ways=3, queries=2)
    assert with_possible_ways(images, enough)[1] is enough


def test_the_options_of_every_source(tmp_path, image_files):
    image_files.fill(tmp_path, "abcdef", each=4)
    protocol = {"ways": 5, "queries": 2, "episodes": 3}
    task = image_folder_task(str(tmp_path), classes=3, class_order="name", reduce_ways=True, **protocol)
    assert (task.images.classes, task.protocol.ways, task.card.chance) == (("a", "b", "c"), 3, 1 / 3)
    with pytest.raises(UserError, match="only 3 classes have the 3 images"):
        _ = image_folder_task(str(tmp_path), classes=3, **protocol).manifest
    seeds = [image_folder_task(str(tmp_path), classes=3, seed=seed, **protocol).images.classes for seed in range(4)]
    assert len(set(seeds)) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": True}, "split=True is not text"),
        ({"reduce_ways": "maybe"}, "reduce_ways='maybe' is not true or false"),
        ({"seed": "x"}, "seed='x' is not a whole number"),
        ({"class_order": 1}, "class_order=1 is not text"),
    ],
)
def test_an_option_of_another_kind_is_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        image_folder_task(str(tmp_path), **options)


def test_unreadable_images_are_left_out_if_one_says_so(tmp_path, image_files):
    image_files.fill(tmp_path, "abc", each=4)
    whole = (tmp_path / "b" / "2.png").read_bytes()
    (tmp_path / "b" / "2.png").write_bytes(whole[: len(whole) // 2])
    protocol = {"ways": 3, "queries": 2, "episodes": 3}
    task = image_folder_task(str(tmp_path), skip_unreadable=True, **protocol)
    assert len(task.inputs) == 11
    assert task.notes == ["1 of 12 images cannot be read and are left out, such as b/2.png"]
    assert len(image_folder_task(str(tmp_path), **protocol).inputs) == 12
