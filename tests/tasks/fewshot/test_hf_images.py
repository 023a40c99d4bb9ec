"""Data sets of Hugging Face's library, made here in each of the forms in which they lie on a disk."""

from __future__ import annotations

import os
import subprocess
import sys

import datasets
import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.folders import image_folder
from adaptbench.tasks.fewshot.hub import hf_images

datasets.disable_progress_bars()

NAMES = ["zebra", "ant", "Bee"]


@pytest.fixture
def folder(tmp_path, image_files):
    return image_files.fill(tmp_path / "folder", NAMES, each=4)


def rows(folder):
    """The images of the folder, the classes by turns."""
    return [
        {"image": {"bytes": (folder / name / f"{index}.png").read_bytes(), "path": None}, "label": label}
        for index in range(4)
        for label, name in enumerate(NAMES)
    ]


def dataset(folder, names=NAMES):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_list(rows(folder), features=features)


@pytest.fixture
def saved(folder, tmp_path):
    dataset(folder).save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def same(one, two):
    assert one.classes == two.classes
    assert one.labels.tolist() == two.labels.tolist()
    assert [image.digest for image in one.images] == [image.digest for image in two.images]
    for first, second in zip(one.images, two.images, strict=True):
        assert np.array_equal(np.asarray(first.load()), np.asarray(second.load()))


@pytest.mark.parametrize("form", ["save_to_disk", "parquet", "parquet folder", "image folder"])
def test_every_form_gives_the_set_that_the_folder_gives(folder, saved, tmp_path, form):
    if form == "save_to_disk":
        path = saved
    elif form == "image folder":
        path = str(folder)
    else:
        (tmp_path / "parquet").mkdir()
        file = tmp_path / "parquet" / "train-00000-of-00001.parquet"
        dataset(folder).to_parquet(file)
        path = str(file if form == "parquet" else file.parent)
    images = hf_images(path)
    same(images, image_folder(str(folder)))
    assert images.classes == ("Bee", "ant", "zebra")
    assert images.name == ("hf-images" if form == "save_to_disk" else "hf-images/train")


def test_the_order_of_rows_does_not_matter(folder, saved, tmp_path):
    dataset(folder).shuffle(seed=1).with_format("numpy").save_to_disk(tmp_path / "shuffled")
    same(hf_images(str(tmp_path / "shuffled")), hf_images(saved))


def test_a_split_is_chosen(folder, tmp_path):
    whole = dataset(folder)
    datasets.DatasetDict(train=whole, test=whole.select(range(6))).save_to_disk(tmp_path / "splits")
    images = hf_images(str(tmp_path / "splits"), split="test")
    assert np.bincount(images.labels).tolist() == [2, 2, 2]
    assert images.name == "hf-images/test"
    with pytest.raises(UserError, match="several splits; choose split= from train, test"):
        hf_images(str(tmp_path / "splits"))
    with pytest.raises(UserError, match="no split 'val'; choose split= from train, test"):
        hf_images(str(tmp_path / "splits"), split="val")


def test_columns_are_found_by_type_or_named(folder, tmp_path):
    named = dataset(folder).rename_columns({"image": "photo", "label": "species"})
    named.save_to_disk(tmp_path / "named")
    same(hf_images(str(tmp_path / "named")), image_folder(str(folder)))
    titles = [f"class-{label}" for label in named["species"]]
    named.remove_columns("species").add_column("kind", titles).save_to_disk(tmp_path / "texts")
    with pytest.raises(UserError, match="no columns are of the type ClassLabel; choose label= from photo, kind"):
        hf_images(str(tmp_path / "texts"))
    assert hf_images(str(tmp_path / "texts"), label="kind").classes == ("class-0", "class-1", "class-2")
    named.add_column("other", titles).cast_column("other", datasets.ClassLabel(names=sorted(set(titles)))).save_to_disk(
        tmp_path / "two"
    )
    with pytest.raises(UserError, match="2 columns are of the type ClassLabel; choose label= from species, other"):
        hf_images(str(tmp_path / "two"))
    assert hf_images(str(tmp_path / "two"), label="species").classes == ("Bee", "ant", "zebra")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": "photo"}, "no column 'photo'; choose image= from image, label"),
        ({"label": "species"}, "no column 'species'"),
        ({"image": "label"}, "is of no images"),
        ({"label": "image"}, "has no class"),
    ],
)
def test_other_columns_are_refused(saved, columns, message):
    with pytest.raises(UserError, match=message):
        hf_images(saved, **columns)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": None, "label": 0}, "row 1 has no image"),
        ({"image": "same", "label": None}, "row 1 has no class but None"),
        ({"image": "same", "label": -1}, "row 1 has no class but -1"),
    ],
)
def test_rows_that_lack_something_are_refused_by_number(folder, tmp_path, row, message):
    first = rows(folder)[0]
    second = row | ({"image": first["image"]} if row["image"] else {})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    datasets.Dataset.from_list([first, second], features=features).save_to_disk(tmp_path / "holes")
    with pytest.raises(UserError, match=message):
        hf_images(str(tmp_path / "holes"))


def test_hashing_decodes_nothing_and_loading_names_the_row(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    broken = [{"image": {"bytes": b"no image", "path": None}, "label": 0}]
    datasets.Dataset.from_list(broken, features=features).save_to_disk(tmp_path / "broken")
    images = hf_images(str(tmp_path / "broken"))
    with pytest.raises(UserError, match="broken row 0: not an image"):
        images.images[0].load()


def test_a_data_set_whose_code_would_run_is_refused(tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    for path in (tmp_path / "evil", tmp_path / "evil" / "evil.py"):
        with pytest.raises(UserError):
            hf_images(str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.with_suffix(".parquet").write_text("x")])
def test_folders_and_files_without_data_are_refused(tmp_path, make):
    make(tmp_path / "none")
    for path in tmp_path.glob("none*"):
        with pytest.raises(UserError, match="datasets cannot load it"):
            hf_images(str(path))


def test_without_a_network_the_hub_is_said_to_be_out_of_reach(tmp_path):
    code = (
        "from adaptbench.harness.errors import UserError\n"
        "from adaptbench.tasks.fewshot.hub import hf_images\n"
        "try:\n    hf_images('uoft-cs/cifar10', split='test')\n"
        "except UserError as error:\n    print(error)\n"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=True)
    assert "hf-images:uoft-cs/cifar10: it is not a folder here, and the hub cannot be reached" in done.stdout
