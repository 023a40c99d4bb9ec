"""Caches of pixels: pickles that run nothing, arrays that stay on disk, and what both must hold."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.mini_imagenet import mini_imagenet
from adaptbench.tasks.fewshot.old_pickles import load_pickle
from adaptbench.tasks.fewshot.pixels import load_npz, pixel_images, rows_by_label
from adaptbench.tasks.fewshot.tiered_imagenet import tiered_imagenet

PIXELS = np.arange(12 * 2 * 2 * 3, dtype=np.uint8).reshape(12, 2, 2, 3)
LABELS = [index // 4 for index in range(12)]


def pickled(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


def shown(images):
    return {tuple(np.asarray(image.load()).ravel()) for image in images.images}


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_are_read(tmp_path, protocol):
    content = {"data": PIXELS, "labels": [np.int64(3)], "names": ["a", b"\xe9"], 2: (None, 0.5)}
    found = load_pickle(pickled(tmp_path / "a.pkl", content, protocol))
    assert (found["data"] == PIXELS).all()
    assert {name: found[name] for name in ("labels", "names", 2)} == {
        name: content[name] for name in ("labels", "names", 2)
    }


def test_a_pickle_of_python_2_and_numpy_1_is_read(tmp_path):
    """``{'data': np.array([1, 2], 'u1')}`` as Python 2 wrote it: bytes are texts, NumPy's module has its old name."""
    path = tmp_path / "old.pkl"
    path.write_bytes(
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbs."
    )
    assert load_pickle(str(path))["data"].tolist() == [1, 2]


class Hostile:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Hostile()), r"it asks for builtins\.print"),
        (pickle.dumps(np.empty), "it asks for"),
        (pickle.dumps(PIXELS)[:-40], "not a pickle of arrays"),
        (b"", "not a pickle of arrays"),
        (b"PK\x03\x04", "not a pickle of arrays"),
    ],
)
def test_other_pickles_are_refused(tmp_path, capsys, content, message):
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_pickle(str(tmp_path / "x.pkl"))
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match=r"none\.pkl: cannot read it"):
        load_pickle(str(tmp_path / "none.pkl"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_of_an_npz_is_read_and_its_checksum_compared(tmp_path, save):
    path = str(tmp_path / "a.npz")
    save(path, images=PIXELS, other=np.zeros(3))
    found = load_npz(path, "images")
    assert (found == PIXELS).all()
    assert isinstance(found, np.memmap) == (save is np.savez)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"images.npy") + 10 + 128 + 40] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="not an npz file with 'images'"):
        load_npz(path, "images")


def test_other_npz_files_are_refused(tmp_path):
    path = str(tmp_path / "a.npz")
    with pytest.raises(UserError, match="not an npz"):
        load_npz(path, "images")
    np.savez(path, images=np.array([None]))
    with pytest.raises(UserError, match="not an npz"):
        load_npz(path, "images")
    with pytest.raises(UserError, match="with 'labels'"):
        load_npz(path, "labels")


@pytest.mark.parametrize("pixels", [PIXELS.astype(np.float32), PIXELS[0], PIXELS.transpose(0, 3, 1, 2), [[1]], None])
def test_pixels_of_another_type_or_shape_are_refused(pixels):
    with pytest.raises(UserError, match=r"not uint8 \[n, height, width, 3\]"):
        pixel_images("x", pixels, {}, where="x")


@pytest.mark.parametrize("labels", [[0.5] * 12, [0] * 11, None, {"a": 1}, [[0], [1, 2]], [None] * 12])
def test_labels_of_another_kind_or_number_are_refused(labels):
    with pytest.raises(UserError, match="not the classes of 12 images"):
        rows_by_label(labels, 12, where="x")


def test_classes_stand_by_number_or_by_name():
    assert list(rows_by_label([10, 2, 2], 3, where="x").items()) == [("10", [0]), ("02", [1, 2])]
    assert rows_by_label(["n1", "n0"], 2, where="x") == {"n1": [0], "n0": [1]}
    with pytest.raises(UserError, match="it has no image 12"):
        pixel_images("x", PIXELS, {"a": [0, 12]}, where="x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("miniImageNet_category_split_val.pickle", {"data": PIXELS, "labels": LABELS}),
        (
            "mini-imagenet-cache-val.pkl",
            {"image_data": PIXELS, "class_dict": {"0": [0, 1, 2, 3], "1": [4, 5, 6, 7], "2": [8, 9, 10, 11]}},
        ),
    ],
)
def test_caches_of_miniimagenet(tmp_path, name, content):
    pickled(tmp_path / name, content)
    with pytest.raises(
        UserError, match="val is not whole: it has 3 classes, not 16; 3 classes do not have 600 images: 0 has 4"
    ):
        mini_imagenet(str(tmp_path), split="val")
    images = mini_imagenet(str(tmp_path), split="valid", complete=False)
    assert (images.name, images.classes, images.labels.tolist()) == ("mini-imagenet/val", ("0", "1", "2"), LABELS)
    assert shown(images) == set(map(tuple, PIXELS.reshape(12, -1)))
    assert len(images.notes) == 2


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {"data": PIXELS},
        {"image_data": PIXELS, "class_dict": {"a": "bc"}},
        {"image_data": PIXELS, "class_dict": [1]},
    ],
)
def test_other_caches_are_refused(tmp_path, content):
    pickled(tmp_path / "mini-imagenet-cache-train.pkl", content)
    with pytest.raises(UserError, match=r"cache-train\.pkl: .*restore it"):
        mini_imagenet(str(tmp_path), split="train")


def test_arrays_of_tieredimagenet_have_their_channels_turned_round(tmp_path):
    np.savez(tmp_path / "test_images.npz", images=PIXELS)
    pickled(tmp_path / "test_labels.pkl", {"labels": LABELS})
    with pytest.raises(UserError, match="it has 3 classes, not 160"):
        tiered_imagenet(str(tmp_path))
    images = tiered_imagenet(str(tmp_path), complete=False)
    assert images.name == "tiered-imagenet/test"
    assert shown(images) == set(map(tuple, PIXELS[..., ::-1].reshape(12, -1)))
    pickled(tmp_path / "test_labels.pkl", {"label": LABELS})
    with pytest.raises(UserError, match="it has no labels"):
        tiered_imagenet(str(tmp_path))
