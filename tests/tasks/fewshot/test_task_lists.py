"""Task lists: what was selected is read back exactly, and released lists by their form; what is malformed is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.selecting import Asked, select_tasks
from adaptbench.harness.selection import Options
from adaptbench.harness.specs import parse_call
from adaptbench.harness.task_list import TaskList
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.task_lists import task_list


@pytest.fixture(scope="module")
def registry():
    return load_plugins([]).registry


def source(folder, episodes=6, seed=0):
    return f"image-folder:{folder}(ways=3,shots=1,queries=2,episodes={episodes},seed={seed})"


def build(registry, spec):
    call = parse_call(spec)
    entry = registry.find("task", call.name)
    return entry.factory()(**entry.bind(call))


@pytest.fixture(scope="module")
def selected(tmp_path_factory, registry):
    """Two sources and a target as folders, and what was selected of the sources."""
    from PIL import Image

    root = tmp_path_factory.mktemp("selected")
    rng = np.random.default_rng(0)
    for name, shade in (("light", 180), ("dark", 60), ("target", 170)):
        for number in range(15):
            pixels = np.clip(rng.normal(shade, 40, (6, 6, 3)), 0, 255).astype(np.uint8)
            path = root / name / f"class{number % 5}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    specs = (source(root / "dark"), source(root / "light"))
    asked = Asked((source(root / "target"),), specs, "pixels(size=4)", options=Options(mode="first-k", count=5))
    found = select_tasks(registry, asked, root / "out", lambda done, total: None)
    found.write(root / "out")
    return root, found


def shown(task, episode, part):
    return [[task.inputs[one].digest for one in row] for row in getattr(task.manifest, part)[episode].tolist()]


class TestASelection:
    def test_its_tasks_are_the_chosen_episodes_of_the_sources(self, selected, registry):
        root, found = selected
        task = task_list(str(root / "out" / "tasks.json"))
        assert len(task.samples) == 5
        sources = [build(registry, spec) for spec in found.asked.candidates]
        for place, position in enumerate(found.result.chosen.tolist()):
            candidate = found.pool[position]
            for part in ("support", "query"):
                assert shown(task, place, part) == shown(sources[candidate.source], candidate.episodes[0], part)

    def test_a_class_is_named_after_its_source(self, selected):
        root, _ = selected
        task = task_list(str(root / "out" / "tasks.json"))
        assert {title.partition("/")[0] for title in task.input_classes} <= {"0-image-folder", "1-image-folder"}

    def test_only_one_source_may_be_asked_for(self, selected):
        root, _ = selected
        listed = TaskList.of(json.loads((root / "out" / "tasks.json").read_bytes()), "")
        spec = listed.sources[0].spec
        of_it = sum(task.source == 0 for task in listed.tasks)
        assert len(task_list(str(root / "out" / "tasks.json"), source=spec).samples) == of_it
        with pytest.raises(UserError, match="no task in it is of 'nothing'"):
            task_list(str(root / "out" / "tasks.json"), source="nothing")

    def test_it_can_be_scored_and_selected_from_again(self, selected, registry):
        root, _ = selected
        spec = f"task-list:{root}/out/tasks.json"
        task = build(registry, spec)
        outputs = task.outputs(task.samples, np.random.default_rng(0).random((len(task.inputs), 4), np.float32))
        assert all(0 <= task.score(*pair)["accuracy"] <= 1 for pair in zip(task.samples, outputs, strict=True))
        asked = Asked((source(root / "target"),), (spec,), "pixels(size=4)")
        found = select_tasks(registry, asked, root / "again", lambda done, total: None)
        found.write(root / "again")
        assert len(task_list(str(root / "again" / "tasks.json")).samples) == found.result.stop

    def test_a_source_that_changed_is_refused(self, selected, tmp_path):
        root, _ = selected
        moved = tmp_path / "root"
        shutil.copytree(root, moved)
        text = (root / "out" / "tasks.json").read_text().replace(str(root), str(moved))
        (tmp_path / "tasks.json").write_text(text)
        assert len(task_list(str(tmp_path / "tasks.json")).samples) == 5
        for name in ("light", "dark"):
            (moved / name / "class1").rename(moved / name / "class9")
        with pytest.raises(UserError, match="changed: an image of 'class1' is not there any more"):
            task_list(str(tmp_path / "tasks.json"))
        for name in ("light", "dark"):
            shutil.rmtree(moved / name)
        with pytest.raises(UserError, match="no such folder"):
            task_list(str(tmp_path / "tasks.json"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(format="other"), "format: "),
            (lambda c: c.pop("sources"), "sources: "),
            (lambda c: c["tasks"][1].update(more=1), "tasks.1.more: "),
            (lambda c: c["tasks"][1].update(source=-1), "tasks.1.source: "),
            (lambda c: c["tasks"][1].update(source=7), "it has no source 7"),
            (lambda c: c["tasks"][1]["support"][0].__setitem__(0, 999), "task 1: its source does not list all"),
            (lambda c: c["tasks"][1]["support"].pop(), "task 1: its source does not list all"),
            (
                lambda c: c["tasks"][1]["support"][0].append(c["tasks"][1]["query"][0].pop()),
                "task 1: its source does not list all",
            ),
            (lambda c: c["tasks"][1]["query"][0].pop(), "task 1: it has not the ways, shots and queries of the first"),
            (lambda c: c["tasks"][1]["query"].reverse(), "task 1: a class of it is mixed"),
            (
                lambda c: c["tasks"][1].update(query=[row[:1] * 2 for row in c["tasks"][1]["query"]]),
                "task 1: an image appears twice",
            ),
            (lambda c: c.update(tasks=[]), "it has no tasks"),
            (lambda c: c["sources"][0].update(spec="glyhps"), "unknown task 'glyhps'"),
            (lambda c: c["sources"][0].update(spec="shapes-pope(scenes=2)"), "is not a few-shot task|unknown argument"),
        ],
    )
    def test_what_is_malformed_is_named(self, selected, tmp_path, change, message):
        content = json.loads((selected[0] / "out" / "tasks.json").read_bytes())
        change(content)
        (tmp_path / "tasks.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            task_list(str(tmp_path / "tasks.json"))

    def test_a_list_of_itself_is_refused(self, selected, tmp_path):
        content = json.loads((selected[0] / "out" / "tasks.json").read_bytes())
        content["sources"][0]["spec"] = content["sources"][-1]["spec"] = f"task-list:{tmp_path}/tasks.json"
        (tmp_path / "tasks.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match="it is a source of itself"):
            task_list(str(tmp_path / "tasks.json"))


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A released list of two tasks of three classes, with its images: (file, content)."""
    from PIL import Image

    root = tmp_path_factory.mktemp("released")
    rng = np.random.default_rng(1)
    content = []
    for number, name in enumerate(("omniglot", "aircraft")):
        for label in range(3):
            for image in range(10):
                path = root / name / str(label) / (f"im{image}" + (".png", ".jpg")[image % 2])
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)
        ids = [f"im{image}" if image % 3 else f"im{image}{('.png', '.jpg')[image % 2]}" for image in range(10)]
        pairs = [[label if number else str(label), one] for label in range(3) for one in ids]
        content.append({"source": name, "task_seed": number, "indices": pairs})
    path = root / "tasks.json"
    path.write_text(json.dumps(content))
    return path, content


class TestAReleasedList:
    def test_the_first_of_each_run_is_the_support(self, released):
        path, content = released
        task = task_list(str(path))
        assert task.protocol == Protocol(ways=3, shots=1, queries=9, episodes=2)
        for entry in range(2):
            own = task.manifest.support[entry][:, 0].tolist()
            assert [task.input_classes[one] for one in own] == [f"{content[entry]['source']}/{i}" for i in range(3)]
            assert [task.inputs[one].load().size for one in own] == [(6, 6)] * 3

    def test_images_may_lie_elsewhere(self, released, tmp_path):
        path, content = released
        (tmp_path / "list.json").write_text(json.dumps(content))
        task = task_list(str(tmp_path / "list.json"), root=str(path.parent))
        assert task.manifest.data == task_list(str(path)).manifest.data
        assert len(task_list(str(path), source="aircraft").samples) == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.__setitem__(1, 7), "entry 1: it has no source"),
            (lambda c: c[1].pop("source"), "entry 1: it has no source"),
            (lambda c: c[1].update(task_seed="x"), "entry 1: its task_seed is not a whole number"),
            (lambda c: c[1].update(task_seed=True), "entry 1: its task_seed is not a whole number"),
            (lambda c: c[1]["indices"].pop(), "entry 1: its indices are not runs of 10"),
            (lambda c: c[1].update(indices=[]), "entry 1: its indices are not runs of 10"),
            (lambda c: c[1]["indices"].__setitem__(3, [0]), r"entry 1: \[0\] is not \[class id, image id\]"),
            (lambda c: c[1]["indices"].__setitem__(3, [0.5, "im1"]), r"entry 1: \[0.5, "),
            (lambda c: c[1]["indices"].__setitem__(3, [1, "im3"]), "entry 1: a run of 10 mixes the classes 0 and"),
            (
                lambda c: c[1]["indices"].__setitem__(3, [0, "../0/im3"]),
                "entry 1: '../0/im3' cannot be a part of a path",
            ),
            (lambda c: c[1].update(source="/etc"), "entry 1: '/etc' cannot be a part of a path"),
            (lambda c: c[1]["indices"].__setitem__(3, [0, "im99"]), "entry 1: no image is called 'im99'"),
            (lambda c: c[1]["indices"].__setitem__(3, [0, "im1"]), "entry 1: an image appears twice"),
            (lambda c: c[1].update(indices=c[1]["indices"][:20]), "entry 1: it has not the ways"),
            (lambda c: c[1].update(indices=c[1]["indices"][:10] * 3), "entry 1: the class 'aircraft/0' appears twice"),
            (lambda c: c[1].update(source="none"), "there is no such folder"),
            (lambda c: c.clear(), "it has no tasks"),
        ],
    )
    def test_a_malformed_entry_is_named(self, released, tmp_path, change, message):
        path, content = released
        content = json.loads(json.dumps(content))
        change(content)
        (tmp_path / "list.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=message) as raised:
            task_list(str(tmp_path / "list.json"), root=str(path.parent))
        assert "\n" not in str(raised.value)

    def test_two_files_of_one_name_are_not_guessed_between(self, released, tmp_path):
        shutil.copytree(released[0].parent, tmp_path / "all")
        shutil.copy(tmp_path / "all" / "aircraft" / "0" / "im1.jpg", tmp_path / "all" / "aircraft" / "0" / "im1.png")
        with pytest.raises(UserError, match="entry 1: 2 files are called 'im1'"):
            task_list(str(tmp_path / "all" / "tasks.json"))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not JSON"), ('"x"', "not a list of tasks"), ("[" * 9999, "not JSON")]
)
def test_what_is_no_list_is_refused(tmp_path, text, message):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(UserError, match=message):
        task_list(str(tmp_path / "list.json"))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot read it: No such file"):
        task_list(str(tmp_path / "none.json"))
