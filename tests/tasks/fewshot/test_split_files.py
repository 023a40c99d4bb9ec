"""Published split files: excerpts of each format, with images made here where their folders would be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.fewshot.splits import image_csv, image_json

DATA = Path(__file__).parent / "data"
MINI = str(DATA / "mini_imagenet_val.csv")
MINI_ROWS = [line.split(",") for line in Path(MINI).read_text().splitlines()[1:]]


def names(table, *path):
    content = json.loads((DATA / table).read_text())
    for key in path:
        content = content[key]
    return content


def table(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


class TestCsv:
    @pytest.mark.parametrize("nested", [True, False])
    def test_miniimagenet_lies_by_class_or_all_in_one_folder(self, tmp_path, image_files, nested):
        for number, (title, image) in enumerate(MINI_ROWS):
            image_files.write(tmp_path / (f"{title}/{image}" if nested else image), number)
        images = image_csv(MINI, root=str(tmp_path))
        assert images.classes == tuple(sorted({title for title, _ in MINI_ROWS}))
        assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert images.name == "image-csv/mini_imagenet_val"

    def test_both_layouts_are_the_same_set(self, tmp_path, image_files):
        for number, (title, image) in enumerate(MINI_ROWS):
            image_files.write(tmp_path / "one" / title / image, number)
            image_files.write(tmp_path / "two" / image, number)
        one, two = (image_csv(MINI, root=str(tmp_path / name)) for name in ("one", "two"))
        assert [image.digest for image in one.images] == [image.digest for image in two.images]

    def test_the_other_known_header_and_images_beside_the_table(self, tmp_path, image_files):
        image_files.fill(tmp_path, ["."], each=3)
        (tmp_path / "test.csv").write_text("\ufefffilename , label\r\n0.png, b\r\n1.png, a\r\n\r\n2.png, b\r\n")
        images = image_csv(str(tmp_path / "test.csv"))
        assert (images.classes, images.labels.tolist()) == (("a", "b"), [0, 1, 1])

    def test_the_order_of_the_lines_does_not_matter(self, tmp_path, image_files):
        image_files.fill(tmp_path, ["a", "b"], each=3)
        lines = [f"{title},{image}.png" for title in "ab" for image in range(3)]
        sets = []
        for order in (lines, lines[::-1]):
            (tmp_path / "t.csv").write_text("\n".join(["class_name,image_name", *order]))
            sets.append([image.digest for image in image_csv(str(tmp_path / "t.csv")).images])
        assert sets[0] == sets[1]

    def test_where_images_were_looked_for_is_said(self, tmp_path):
        title, image = MINI_ROWS[0]
        with pytest.raises(UserError, match=f"neither {tmp_path}/{title}/{image} nor {tmp_path}/{image}; write root="):
            image_csv(MINI, root=str(tmp_path))

    def test_a_missing_image_is_named(self, tmp_path, image_files):
        for title, image in MINI_ROWS[:-1]:
            image_files.write(tmp_path / title / image)
        with pytest.raises(UserError, match=MINI_ROWS[-1][1]):
            image_csv(MINI, root=str(tmp_path))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "first line is ''; give it class_name,image_name or label,filename"),
            ("a,b\n1,2\n", "first line is 'a,b'"),
            ("class_name,image_name\n", "no lines"),
            ("class_name,image_name\na\n", "line 2 lacks a cell"),
            ("class_name,image_name\na,\n", "line 2 lacks a cell"),
            ("class_name,image_name\na,1.png,c\n", "line 2"),
            ('class_name,image_name\n"a,1.png', "not a csv file"),
            ("class_name,image_name\nä,1.png\n".encode("latin-1"), "not a csv file"),
        ],
    )
    def test_other_tables_are_refused(self, tmp_path, text, message):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError, match=message):
            image_csv(str(path))

    def test_a_missing_table_or_root_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"none\.csv: cannot read it"):
            image_csv(str(tmp_path / "none.csv"))
        with pytest.raises(UserError, match="no such folder; write root=FOLDER"):
            image_csv(MINI, root=str(tmp_path / "none"))


class TestJson:
    @pytest.mark.parametrize("name", ["tiered_imagenet_val.json", "cub_test.json"])
    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_class_roots_of_another_machine_are_found_below_the_root(self, tmp_path, image_files, name, depth):
        roots = [Path(root).parts[-depth:] for root in names(name, "class_roots")]
        image_files.fill(tmp_path, [str(Path(*parts)) for parts in roots])
        images = image_json(str(DATA / name), root=str(tmp_path))
        assert images.classes == tuple(sorted(names(name, "class_names")))
        assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]

    def test_imagenet_800(self, tmp_path, image_files):
        path = str(DATA / "imagenet800_split.json")
        image_files.fill(tmp_path, names(path, "base") + names(path, "novel"))
        novel = image_json(path, root=str(tmp_path), split="novel")
        assert novel.classes == tuple(sorted(names(path, "novel")))
        assert novel.name == "image-json/imagenet800_split/novel"
        assert len(image_json(path, root=str(tmp_path), split="base").classes) == 3
        with pytest.raises(UserError, match="several splits; choose split= from base, novel"):
            image_json(path, root=str(tmp_path))
        with pytest.raises(UserError, match="no split 'test'; choose split= from base, novel"):
            image_json(path, root=str(tmp_path), split="test")

    def test_meta_dataset_splits_with_slashes_in_names(self, tmp_path, image_files):
        titles = names("aircraft_splits.json", "train")
        assert any("/" in title for title in titles)
        image_files.fill(tmp_path, [title.replace("/", "_") for title in titles])
        images = image_json(str(DATA / "aircraft_splits.json"), root=str(tmp_path), split="train")
        assert images.classes == tuple(sorted(titles))

    def test_a_split_without_classes_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="its split 'train' has no classes"):
            image_json(str(DATA / "traffic_sign_splits.json"), root=str(tmp_path), split="train")

    @pytest.mark.parametrize(("split", "numbers"), [("train", "012"), ("VALID", "3"), ("test", "45")])
    def test_a_dataset_spec_numbers_its_classes_by_split(self, tmp_path, image_files, split, numbers):
        titles = names("dtd_dataset_spec.json", "class_names")
        image_files.fill(tmp_path, titles.values())
        images = image_json(str(DATA / "dtd_dataset_spec.json"), root=str(tmp_path), split=split)
        assert images.classes == tuple(sorted(titles[number] for number in numbers))

    @pytest.mark.parametrize("parents", [("", ""), ("images_background", "images_evaluation")])
    def test_omniglot_shares_out_alphabets(self, tmp_path, image_files, parents):
        train = ["Anglo-Saxon_Futhorc", "Arcadian"]
        valid, test = "Blackfoot_(Canadian_Aboriginal_Syllabics)", "Tagalog"
        sizes = {train[0]: 2, train[1]: 3, valid: 2, test: 2}
        for index, (alphabet, size) in enumerate(sizes.items()):
            parent = tmp_path / parents[alphabet == test]
            for number in range(1, size + 1):
                image_files.write(parent / alphabet / f"character{number:02d}" / "1.png", index * 10 + number)
        found = {
            split: image_json(str(DATA / "omniglot_dataset_spec.json"), root=str(tmp_path), split=split).classes
            for split in ("train", "valid", "test")
        }
        assert found["train"] == tuple(f"{name}/character0{n}" for name in train for n in range(1, sizes[name] + 1))
        assert found["valid"] == (f"{valid}/character01", f"{valid}/character02")
        assert found["test"] == ("Tagalog/character01", "Tagalog/character02")

    def test_ilsvrc_2012_takes_the_leaves_of_each_graph(self, tmp_path, image_files):
        leaves = names("ilsvrc_2012_dataset_spec.json", "split_subgraphs", "VALID", 0, "children_ids")
        image_files.fill(tmp_path, leaves)
        images = image_json(str(DATA / "ilsvrc_2012_dataset_spec.json"), root=str(tmp_path), split="valid")
        assert images.classes == tuple(sorted(leaves))

    def test_a_missing_class_is_named_with_where_it_was_looked_for(self, tmp_path):
        first, root = names("cub_test.json", "class_names", 0), tmp_path
        with pytest.raises(UserError, match=f"{first}' has no folder; looked for .*{root}/{first}; write root="):
            image_json(str(DATA / "cub_test.json"), root=str(root))

    def test_an_empty_class_is_named(self, tmp_path):
        for title in names("cub_test.json", "class_names"):
            (tmp_path / title).mkdir()
        with pytest.raises(UserError, match="Rhinoceros_Auklet: it holds no image"):
            image_json(str(DATA / "cub_test.json"), root=str(tmp_path))

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[" * 100_000,
            [],
            {},
            None,
            3,
            {"n01440764": 1300},
            {"train": "abc"},
            {"train": [1, 2]},
            {"train": ["a", ""]},
            {"train": ["a", "b", "a"]},
            {"class_names": ["a", "b"], "class_roots": ["x/a"]},
            {"class_names": "ab", "class_roots": "ab"},
            {"classes_per_split": {"TRAIN": 1, "VALID": 1, "TEST": 1}, "class_names": {"0": "a"}},
            {"classes_per_split": {"TRAIN": 1}, "class_names": {"0": "a"}},
            {"classes_per_split": {"TRAIN": "1", "VALID": 0, "TEST": 0}, "class_names": {"0": "a"}},
            {"classes_per_split": {"TRAIN": 1, "VALID": 0, "TEST": 0}, "class_names": ["a"]},
            {"classes_per_split": [1]},
            {"superclasses_per_split": {"TRAIN": 1, "VALID": 0, "TEST": 0}},
            {"split_subgraphs": {"TRAIN": [{"wn_id": "n1"}]}},
            {"split_subgraphs": []},
        ],
    )
    def test_other_content_is_refused_and_the_known_formats_are_shown(self, tmp_path, content):
        with pytest.raises(UserError, match=r"class_roots.*dataset_spec.*split_subgraphs"):
            image_json(table(tmp_path, content), split="train")

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"none\.json: cannot read it"):
            image_json(str(tmp_path / "none.json"))
