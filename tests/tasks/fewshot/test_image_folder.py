"""Folders of images: what is a class, in which order, and which folders are refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.folders import image_folder


def test_a_folder_is_a_class(tmp_path, image_files):
    images = image_folder(str(image_files.fill(tmp_path, ["cat", "ant", "Bee"], each=3)))
    assert images.classes == ("Bee", "ant", "cat")  # by code point: no language decides
    assert images.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert images.labels.dtype == np.int64
    shown = {np.asarray(image.load()).tobytes() for image in images.images[3:6]}
    assert shown == {image_files.array(number).tobytes() for number in (3, 4, 5)}


def test_the_name_says_the_split_and_not_the_place(tmp_path, image_files):
    image_files.fill(tmp_path / "here", ["a", "b"])
    image_files.fill(tmp_path / "there" / "test", ["a", "b"])
    assert image_folder(str(tmp_path / "here")).name == "image-folder"
    assert image_folder(str(tmp_path / "there"), split="test").name == "image-folder/test"


def test_neither_names_of_files_nor_the_order_of_writing_change_the_set(tmp_path, image_files):
    image_files.fill(tmp_path / "one", ["a", "b"], each=5)
    for index in reversed(range(10)):
        image_files.write(tmp_path / "two" / "ab"[index // 5] / f"img{(index * 7) % 10}.bmp.png", index)
    one, two = (image_folder(str(tmp_path / name)) for name in ("one", "two"))
    assert [image.digest for image in one.images] == [image.digest for image in two.images]
    assert one.classes == two.classes


def test_a_split_is_chosen_among_the_folders(tmp_path, image_files):
    image_files.fill(tmp_path / "train", ["a", "b"])
    image_files.fill(tmp_path / "test", ["c"], each=4)
    images = image_folder(str(tmp_path), split="test")
    assert (images.classes, len(images.images)) == (("c",), 4)
    with pytest.raises(UserError, match="its folders are splits, not classes: test, train; add split="):
        image_folder(str(tmp_path))
    with pytest.raises(UserError, match="no such folder; choose a split from test, train"):
        image_folder(str(tmp_path), split="val")


def test_omniglot_has_a_class_for_each_character_of_each_alphabet(tmp_path, image_files):
    characters = ["Greek/character02", "Greek/character01", "Bengali/character01"]
    image_files.fill(tmp_path / "images_background", characters)
    image_files.fill(tmp_path / "images_evaluation", ["Tengwar/character01"])
    images = image_folder(str(tmp_path), split="images_background")
    assert images.classes == ("Bengali/character01", "Greek/character01", "Greek/character02")
    assert image_folder(str(tmp_path), split="images_evaluation").classes == ("Tengwar/character01",)


def test_what_is_no_image_of_a_class_is_left_alone(tmp_path, image_files):
    image_files.fill(tmp_path, ["a", ".hidden", "__MACOSX/a"])
    image_files.write(tmp_path / "montage.png", 90)
    image_files.write(tmp_path / "a" / "._0.png", 91)
    for name in (".DS_Store", "a/Thumbs.db", "a/notes.txt", "README.md"):
        (tmp_path / name).write_text("x")
    images = image_folder(str(tmp_path))
    assert (images.classes, len(images.images)) == (("a",), 2)


@pytest.mark.parametrize("name", ["x.JPEG", "x.Jpg", "x.webp", "x.BMP", "x.gif", "x.tif", "x.ppm"])
def test_endings_of_images_count_in_any_case(tmp_path, image_files, name):
    image_files.write(tmp_path / "a" / name)
    assert len(image_folder(str(tmp_path)).images) == 1


def test_links_are_followed(tmp_path, image_files):
    image_files.fill(tmp_path / "store", ["x", "y"], each=3)
    (tmp_path / "set" / "b").mkdir(parents=True)
    (tmp_path / "set" / "a").symlink_to(tmp_path / "store" / "x")
    (tmp_path / "set" / "b" / "linked.png").symlink_to(tmp_path / "store" / "y" / "0.png")
    images = image_folder(str(tmp_path / "set"))
    assert np.bincount(images.labels).tolist() == [3, 1]
    assert images.images[3].load().size == (6, 6)


def test_links_that_lead_nowhere_or_in_a_circle_are_refused(tmp_path, image_files):
    image_files.fill(tmp_path, ["a"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    with pytest.raises(UserError, match="back: the link leads back"):
        image_folder(str(tmp_path))
    (tmp_path / "b" / "back").unlink()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(UserError, match=r"gone\.png: it leads to no file"):
        image_folder(str(tmp_path))


def test_an_empty_class_is_refused_by_name(tmp_path, image_files):
    image_files.fill(tmp_path, ["a", "b"])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "photo.heic").write_text("x")
    with pytest.raises(UserError, match="/c: it holds no image"):
        image_folder(str(tmp_path))


def test_images_beside_folders_leave_the_class_open(tmp_path, image_files):
    image_files.fill(tmp_path, ["a", "a/thumbs"])
    with pytest.raises(UserError, match="also folders such as 'thumbs'"):
        image_folder(str(tmp_path))


def test_a_folder_without_classes_is_refused(tmp_path, image_files):
    with pytest.raises(UserError, match="no such folder"):
        image_folder(str(tmp_path / "none"))
    image_files.write(tmp_path / "loose.png")
    with pytest.raises(UserError, match="no folders, so no classes"):
        image_folder(str(tmp_path))


def test_names_that_differ_in_composition_alone_are_refused(tmp_path, image_files):
    image_files.fill(tmp_path, ["caf\u00e9"])
    assert image_folder(str(tmp_path)).classes == ("caf\u00e9",)
    image_files.fill(tmp_path, ["cafe\u0301"])
    if len(list(tmp_path.iterdir())) == 2:  # some file systems hold the two to be one
        with pytest.raises(UserError, match="two classes are called"):
            image_folder(str(tmp_path))


def test_a_file_system_that_decomposes_names_gives_the_same_classes(tmp_path, image_files):
    image_files.fill(tmp_path / "one", ["caf\u00e9", "cafz"])
    image_files.fill(tmp_path / "two", ["cafe\u0301", "cafz"])
    assert image_folder(str(tmp_path / "one")).classes == image_folder(str(tmp_path / "two")).classes


def test_listing_keeps_no_image_in_memory(tmp_path):
    """200 files of 200 kB: read one after the other, and let go."""
    for index in range(200):
        path = tmp_path / f"class{index % 4}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(index.to_bytes(2, "little") * 100_000)
    image_folder(str(tmp_path))  # what is imported counts once
    tracemalloc.start()
    images = image_folder(str(tmp_path))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(images.images) == 200
    assert kept < 400_000
    assert peak < 2_000_000
