"""Meta-Dataset: records by their spec, folders by lists, and what is damaged or missing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.meta_dataset import SOURCES, meta_dataset
from PIL import Image

DATA = Path(__file__).parent / "data"
SIGNS = {str(number): f"{number:02d}.Sign" for number in range(43)}


def png(number):
    """An encoded image and its pixels."""
    pixels = np.full((2, 2, 3), number, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def spec(**changes):
    return {
        "name": "traffic_sign",
        "classes_per_split": {"TRAIN": 0, "VALID": 0, "TEST": 43},
        "images_per_class": dict.fromkeys(SIGNS, 2),
        "class_names": SIGNS,
        "file_pattern": "{}.tfrecords",
    } | changes


@pytest.fixture
def root(tmp_path, record_files):
    """The 43 traffic signs, two images of each."""
    for number in range(43):
        images = [png(number), png(100 + number)]
        record_files.write(tmp_path / "traffic_sign" / f"{number}.tfrecords", images, number)
    (tmp_path / "traffic_sign" / "dataset_spec.json").write_text(json.dumps(spec()))
    return tmp_path


def signs(root, **options):
    return meta_dataset(str(root), source="traffic_sign", **options)


def test_records_are_images(root):
    images = signs(root)
    assert (images.name, images.classes) == ("meta-dataset-traffic_sign/test", tuple(SIGNS.values()))
    assert np.bincount(images.labels).tolist() == [2] * 43
    assert {image.load().getpixel((0, 0))[0] for image in images.images[:2]} == {0, 100}
    assert len(signs(root, per_class=1).images) == 43


def test_folders_are_the_same_set(root, tmp_path):
    for number, title in SIGNS.items():
        (tmp_path / "folders" / "traffic_sign" / title).mkdir(parents=True)
        for image in (int(number), 100 + int(number)):
            (tmp_path / "folders" / "traffic_sign" / title / f"{image}.png").write_bytes(png(image))
    (tmp_path / "traffic_sign_splits.json").write_text(
        json.dumps({"train": [], "valid": [], "test": [*SIGNS.values()]})
    )
    foldered = signs(tmp_path / "folders", splits=str(tmp_path))
    assert [image.digest for image in foldered.images] == [image.digest for image in signs(root).images]
    (tmp_path / "traffic_sign_splits.json").rename(tmp_path / "traffic_sign_dataset_spec.json")
    assert len(signs(tmp_path / "folders", splits=str(tmp_path)).classes) == 43


def test_a_file_cut_between_records_is_noticed(root, record_files):
    record_files.write(root / "traffic_sign" / "7.tfrecords", [png(7)], 7)
    with pytest.raises(UserError, match=r"1 files are not whole: 7\.tfrecords has 1 records, not 2; restore"):
        signs(root)
    (root / "traffic_sign" / "9.tfrecords").unlink()
    found = signs(root, complete=False)
    assert found.notes == (
        "2 files of records are not whole: 7.tfrecords has 1 records, not 2",
        "it has 42 classes, not 43",
    )
    assert len(found.images) == 83


def test_damage_is_noticed_by_file(root, record_files):
    path = root / "traffic_sign" / "7.tfrecords"
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[40] ^= 1
    for content, message in (
        (bytes(changed), r"7\.tfrecords, byte 0: the record does not have its checksum"),
        (whole[:-3], r"7\.tfrecords: it is cut off"),
        (record_files.framed([b"\x0a\xff"]), "not a record of one image and one label: a number is cut off"),
        (record_files.framed([record_files.example({"image": [png(7)]})]), "one label: 'label'"),
        (record_files.framed([record_files.example({"image": [7], "label": [7]})]), "an image is bytes"),
        (record_files.framed([record_files.example({"image": [png(7)] * 2, "label": [7]})]), "too many values"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            signs(root, complete=False)
    record_files.write(path, [png(7)], 8)
    with pytest.raises(UserError, match=r"7\.tfrecords, byte 0: it is of class 8, not 7"):
        signs(root)


def test_a_file_that_changes_during_a_run_is_noticed(root, record_files):
    image = signs(root).images[-1]
    record_files.write(root / "traffic_sign" / "42.tfrecords", [png(1), png(2)], 42)
    with pytest.raises(UserError, match="changed since it was hashed"):
        image.load()


@pytest.mark.parametrize(
    ("name", "source", "classes"),
    [
        ("omniglot_dataset_spec.json", "omniglot", {"Tagalog/character01": 7, "Tagalog/character02": 8}),
        ("ilsvrc_2012_dataset_spec.json", "ilsvrc_2012", {"n02992211": 4, "n04536866": 5}),
    ],
)
def test_alphabets_and_graphs_share_out_records_too(tmp_path, record_files, name, source, classes):
    content = json.loads((DATA / name).read_text()) | {"file_pattern": "{}.tfrecords"}
    content.setdefault("class_names", {str(number): title for title, number in classes.items()})
    sizes = {"TEST": dict.fromkeys(classes, 1)} if source == "ilsvrc_2012" else {"7": 1, "8": 1}
    (tmp_path / source).mkdir()
    (tmp_path / source / "dataset_spec.json").write_text(json.dumps(content | {"images_per_class": sizes}))
    for number in classes.values():
        record_files.write(tmp_path / source / f"{number}.tfrecords", [png(number)], number)
    found = meta_dataset(str(tmp_path), source=source, complete=False)
    assert found.classes == tuple(classes)
    assert found.notes == (f"it has 2 classes, not {SOURCES[source].classes['test']}",)


@pytest.mark.parametrize(
    "changes",
    [
        {"images_per_class": {}},
        {"images_per_class": 3},
        {"images_per_class": dict.fromkeys(SIGNS, "many")},
        {"file_pattern": None},
        {"file_pattern": "{}_{}.tfrecords"},
    ],
)
def test_other_specs_are_refused(root, changes):
    (root / "traffic_sign" / "dataset_spec.json").write_text(json.dumps(spec(**changes)))
    with pytest.raises(UserError, match=r"dataset_spec\.json: not a dataset_spec of records"):
        signs(root)


def test_no_pattern_leads_out_of_the_folder(root, tmp_path):
    (root / "traffic_sign" / "dataset_spec.json").write_text(json.dumps(spec(file_pattern="../other/{}.tfrecords")))
    assert len(signs(root).images) == 86


def test_an_unknown_source_a_split_without_classes_and_no_lists_are_refused(root):
    with pytest.raises(UserError, match="no source 'cub'; choose from ilsvrc_2012, omniglot"):
        meta_dataset(str(root), source="cub")
    with pytest.raises(UserError, match="per_class=-1 is less than 0"):
        signs(root, per_class=-1)
    with pytest.raises(UserError, match="its split 'val' has no classes"):
        signs(root, split="valid")
    (root / "dtd").mkdir()
    with pytest.raises(UserError, match=r"nor dtd_splits\.json nor dtd_dataset_spec\.json; write splits=FOLDER"):
        meta_dataset(str(root), source="dtd")
    with pytest.raises(UserError, match="aircraft: there is no such folder; write root="):
        meta_dataset(str(root), source="aircraft")
