"""Published benchmarks by their layouts: which classes make a split, and that what is not whole is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.cub import cub
from adaptbench.tasks.fewshot.domainnet import domainnet
from adaptbench.tasks.fewshot.mini_imagenet import mini_imagenet
from adaptbench.tasks.fewshot.omniglot import PUBLISHED, omniglot
from adaptbench.tasks.fewshot.published import Published

BIRDS = [f"{index:03d}.Bird" for index in range(30)]


def tree(root, classes, each=1):
    """A folder of classes whose images are distinct; nobody decodes them."""
    for index, title in enumerate(classes):
        (root / title).mkdir(parents=True)
        for image in range(each):
            (root / title / f"{image}.png").write_bytes(f"{root.name}{index}.{image}".encode())
    return root


class TestListsAndFolders:
    def test_a_folder_and_a_list_are_one_set(self, tmp_path):
        tree(tmp_path / "images", BIRDS)
        shutil.copytree(tmp_path / "images", tmp_path / "folders" / "val")
        (tmp_path / "val.json").write_text(json.dumps({"class_names": BIRDS, "class_roots": [f"x/{b}" for b in BIRDS]}))
        listed, foldered = cub(str(tmp_path), split="val"), cub(str(tmp_path / "folders"), split="valid")
        assert listed.name == foldered.name == "cub/val"
        assert [image.digest for image in listed.images] == [image.digest for image in foldered.images]
        assert listed.notes == ()

    def test_a_missing_class_is_refused_or_counted(self, tmp_path):
        tree(tmp_path / "val", BIRDS[1:])
        with pytest.raises(UserError, match="split val is not whole: it has 29 classes, not 30; restore it"):
            cub(str(tmp_path), split="val")
        assert cub(str(tmp_path), split="val", complete=False).notes == ("it has 29 classes, not 30",)

    def test_what_a_list_names_and_the_folder_lacks_is_counted(self, tmp_path):
        tree(tmp_path / "images", BIRDS[2:])
        (tmp_path / "val.json").write_text(json.dumps({"class_names": BIRDS, "class_roots": BIRDS}))
        with pytest.raises(UserError, match=r"000\.Bird' has no folder"):
            cub(str(tmp_path), split="val")
        notes = cub(str(tmp_path), split="val", complete=False).notes
        assert notes == ("2 of 30 classes have no folder", "it has 28 classes, not 30")
        lines = [f"{title},{image}.png" for title in ("a", "b") for image in range(3)]
        (tmp_path / "test.csv").write_text("\n".join(["class_name,image_name", *lines]))
        tree(tmp_path / "images" / "mini", "ab", each=2)
        shutil.move(tmp_path / "images" / "mini" / "a", tmp_path / "images" / "a")
        notes = mini_imagenet(str(tmp_path), complete=False).notes
        assert notes[0] == "4 of 6 images are missing"
        with pytest.raises(UserError, match=r"2\.png: cannot read the image"):
            mini_imagenet(str(tmp_path))

    def test_splits_that_share_a_class_are_refused(self, tmp_path):
        tree(tmp_path / "val", BIRDS)
        tree(tmp_path / "train", BIRDS[-1:])
        with pytest.raises(UserError, match=r"class '029\.Bird' is in the splits train and val"):
            cub(str(tmp_path), split="val")
        for split in ("train", "val", "test"):
            (tmp_path / f"{split}.csv").write_text(f"class_name,image_name\n{split},a.png\nn0,b.png\n")
            (tmp_path / f"{split}.json").write_text('{"class_names": ["n0"], "class_roots": ["n0"]}')
        for source in (mini_imagenet, cub):
            with pytest.raises(UserError, match="class 'n0' is in the splits train and val"):
                source(str(tmp_path), split="train")

    def test_an_unknown_split_or_layout_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="cub: no split 'tset'; choose split= from train, val, test"):
            cub(str(tmp_path), split="tset")
        with pytest.raises(UserError, match=r"neither test\.csv, test\.json nor a folder test; write splits=FOLDER"):
            cub(str(tmp_path))
        with pytest.raises(UserError, match="write root=FOLDER, where cub lies"):
            cub(str(tmp_path / "none"))


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    root = tmp_path_factory.mktemp("domainnet")
    titles = [f"c{index:03d}" for index in range(345)]
    tree(root / "sketch", titles)
    tree(root / "real", titles[:-1])
    return root


class TestDomainNet:
    def test_classes_are_shared_out_by_name(self, domains):
        sets = {split: domainnet(str(domains), split=split) for split in ("train", "val", "test")}
        assert [len(found.classes) for found in sets.values()] == [180, 65, 100]
        assert [title for found in sets.values() for title in found.classes] == [f"c{i:03d}" for i in range(345)]
        assert sets["test"].name == "domainnet-sketch/test"

    def test_a_class_that_one_domain_lacks_moves_no_other(self, domains):
        assert domainnet(str(domains), domain="real", split="val").classes[0] == "c180"
        assert domainnet(str(domains), domain="real", complete=False).notes == ("it has 99 classes, not 100",)
        with pytest.raises(UserError, match="not whole"):
            domainnet(str(domains), domain="real")

    def test_folders_of_splits(self, tmp_path):
        tree(tmp_path / "sketch_split" / "val", [f"c{index:03d}" for index in range(65)])
        assert len(domainnet(str(tmp_path), split="val").classes) == 65
        tree(tmp_path / "sketch_split" / "test", ["c007"])
        with pytest.raises(UserError, match="'c007' is in the splits val and test"):
            domainnet(str(tmp_path), split="val")

    def test_other_folders_and_domains_are_refused(self, tmp_path):
        tree(tmp_path / "real", "abc")
        with pytest.raises(UserError, match="its domains have 3 classes, not 345"):
            domainnet(str(tmp_path), domain="real")
        with pytest.raises(UserError, match="there is neither sketch nor sketch_split"):
            domainnet(str(tmp_path))
        with pytest.raises(UserError, match="choose from clipart"):
            domainnet(str(tmp_path), domain="clip")


def test_the_counts_are_the_published_ones():
    assert {name: tuple(published.classes.values()) for name, published in PUBLISHED.items()} == {
        "dissertation": (964, 301, 358),
        "meta-dataset": (883, 81, 659),
        "random": (1100, 100, 423),
    }
    assert {sum(published.classes.values()) for published in PUBLISHED.values()} == {1623}


class TestOmniglot:
    """A small one, with splits to fit."""

    @pytest.fixture
    def root(self, tmp_path, monkeypatch):
        small = {"dissertation": (5, 1, 3), "meta-dataset": (3, 2, 4), "random": (4, 2, 3)}
        for name, counts in small.items():
            published = Published(f"omniglot-{name}", dict(zip(("train", "val", "test"), counts, strict=True)), each=2)
            monkeypatch.setitem(PUBLISHED, name, published)
        background = ["Futurama/c1", "Futurama/c2", "Tagalog/c1", "Tagalog/c2", "Zulu/c1"]
        tree(tmp_path / "images_background", background, each=2)
        tree(tmp_path / "images_evaluation", [f"Tengwar/c{number}" for number in range(4)], each=2)
        return tmp_path

    def of(self, root, convention, **options):
        splits = ("train", "val", "test")
        return [omniglot(str(root), split=split, convention=convention, **options).classes for split in splits]

    def test_the_dissertation_shares_out_the_evaluation_set(self, root):
        train, val, test = self.of(root, "dissertation")
        assert (len(train), val, test) == (5, ("Tengwar/c0",), ("Tengwar/c1", "Tengwar/c2", "Tengwar/c3"))

    def test_meta_dataset_goes_by_alphabet(self, root):
        train, val, test = self.of(root, "meta-dataset")
        assert (train, val) == (("Futurama/c1", "Futurama/c2", "Zulu/c1"), ("Tagalog/c1", "Tagalog/c2"))
        assert {title.partition("/")[0] for title in test} == {"Tengwar"}

    def test_random_splits_are_disjoint_and_seeded(self, root):
        found = self.of(root, "random")
        assert [len(classes) for classes in found] == [4, 2, 3]
        assert len(set().union(*found)) == 9
        assert len({self.of(root, "random", split_seed=seed)[1] for seed in range(4)}) > 1

    def test_turned_characters_are_classes_of_their_own(self, root, image_files):
        character = root / "images_background" / "Futurama" / "c1"
        for number in range(2):
            image_files.write(character / f"{number}.png", number)
        images = omniglot(str(root), split="train", rotations=True)
        assert images.name == "omniglot-dissertation-rotations/train"
        assert len(images.classes) == 20
        assert images.classes[:4] == ("Futurama/c1/000", "Futurama/c1/090", "Futurama/c1/180", "Futurama/c1/270")
        upright = [image_files.array(number).tobytes() for number in range(2)]
        for turns in range(4):
            turned = [np.rot90(np.asarray(image.load()), -turns).tobytes() for image in images.images[turns * 2 :][:2]]
            assert sorted(turned) == sorted(upright)
        assert len({image.digest for image in images.images}) == 40

    def test_what_is_not_whole_is_refused(self, root):
        (root / "images_evaluation" / "Tengwar" / "c3" / "0.png").unlink()
        with pytest.raises(UserError, match="1 classes do not have 2 images: Tengwar/c3 has 1"):
            omniglot(str(root))
        shutil.rmtree(root / "images_evaluation" / "Tengwar" / "c3")
        with pytest.raises(UserError, match="it has 8 characters, not 9"):
            omniglot(str(root), complete=False)
        shutil.rmtree(root / "images_evaluation")
        with pytest.raises(UserError, match="write root=FOLDER, where images_background and"):
            omniglot(str(root))
        with pytest.raises(UserError, match="choose from dissertation, meta-dataset, random"):
            omniglot(str(root), convention="vinyals")
