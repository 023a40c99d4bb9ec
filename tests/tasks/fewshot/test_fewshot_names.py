"""The names that specs may use, and that naming them costs nothing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse_call
from adaptbench.tasks import fewshot
from adaptbench.tasks.fewshot.protocol import Protocol, few_shot_card

SOURCES = (
    *("glyphs", "digits", "image-folder", "image-csv", "image-json", "hf-images"),
    *("mini-imagenet", "tiered-imagenet", "domainnet", "omniglot", "cub", "meta-dataset"),
)
FIXED = {
    "glyphs-15way-1shot": (15, 1),
    "glyphs-15way-5shot": (15, 5),
    "glyphs-5way-1shot": (5, 1),
    "glyphs-5way-5shot": (5, 5),
    "digits-5way-1shot": (5, 1),
    "digits-5way-5shot": (5, 5),
}


@pytest.fixture(scope="module")
def registry():
    return load_plugins([]).registry


def build(registry, text, **offered):
    call = parse_call(text)
    entry = registry.find("task", call.name)
    return entry.factory()(**entry.bind(call, **offered))


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_takes_the_protocol(registry, name):
    entry = registry.find("task", name)
    taken = inspect.signature(entry.factory()).parameters
    assert {"ways", "shots", "queries", "episodes", "seed", "manifest", "centroid"} <= taken.keys()
    assert (entry.card.capability, entry.card.sample_noun, entry.card.chance) == ("embed", "episode", None)


@pytest.mark.parametrize("name", FIXED)
def test_a_name_that_says_its_protocol_has_it(registry, name):
    ways, shots = FIXED[name]
    task = build(registry, f"{name}(episodes=2)" if name.startswith("digits") else f"{name}(episodes=2,scripts=hebrew)")
    assert task.protocol == Protocol(ways=ways, shots=shots, queries=15, episodes=2)
    assert registry.find("task", name).card.chance == 1 / ways


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("ways=abc", "ways must be a whole number, not abc"),
        ("episodes=1.5", "episodes must be a whole number, not 1.5"),
        ("manifest=3", "manifest must be text, not 3"),
        ("skip_unreadable=1", "skip_unreadable must be true or false, not 1"),
    ],
)
@pytest.mark.parametrize("name", ["glyphs", "zero-shot-glyphs"])
def test_an_option_of_another_type_is_refused_before_anything_is_made(registry, name, options, said):
    call = parse_call(f"{name}({options})")
    with pytest.raises(UserError, match=said):
        registry.find("task", name).bind(call)


def test_the_dissertations_protocol_is_the_default(registry):
    assert build(registry, "glyphs(split=val,per_class=16)").protocol == Protocol(15, 1, 15, 1500)


def test_a_path_is_the_target_of_a_spec(registry, tmp_path, image_files):
    image_files.fill(tmp_path / "train", ["a", "b", "c"], each=4)
    task = build(registry, f"image-folder:{tmp_path}(split=train,ways=3,queries=2,episodes=5)", seed=3)
    assert len(task.samples) == 5
    assert task.images.classes == ("a", "b", "c")
    (tmp_path / "few.json").write_text('{"train": ["a", "b"]}')
    task = build(registry, f"image-json:{tmp_path}/few.json(root={tmp_path}/train,ways=2,queries=3,episodes=1)")
    assert task.images.classes == ("a", "b")


def test_the_seed_of_a_run_is_that_of_the_episodes(registry, tmp_path, image_files):
    image_files.fill(tmp_path, ["a", "b", "c"], each=6)
    text = f"image-folder:{tmp_path}(ways=2,queries=2,episodes=20)"
    drawn = [build(registry, text, seed=seed).manifest.digest for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_name_and_command_of_the_guide_is_right(registry):
    guide = (Path(adaptbench.__file__).parent / "docs" / "fewshot.md").read_text(encoding="utf-8")
    for name in (*SOURCES, *FIXED):
        assert f"`{name}" in guide
    specs = re.findall(r"--task '(.+?)' --out", guide)
    assert len(specs) >= 7
    for call in map(parse_call, specs):
        registry.find("task", call.name).bind(call)


def test_a_misspelt_argument_is_told(registry, tmp_path):
    with pytest.raises(UserError, match="did you mean 'queries'"):
        build(registry, f"image-folder:{tmp_path}(querys=2)")


def test_registering_imports_no_library_that_takes_time():
    code = (
        "import sys\n"
        "from adaptbench.harness.plugins import load_plugins\n"
        "names = [entry.name for entry in load_plugins([]).registry.entries('task')]\n"
        "assert 'hf-images' in names\n"
        "print(*sorted({'numpy', 'PIL', 'scipy', 'sklearn', 'torch', 'pandas', 'datasets'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_package_gives_what_it_names():
    assert {name: getattr(fewshot, name).__name__ for name in fewshot.__all__} == {n: n for n in fewshot.__all__}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fewshot.nonsense  # noqa: B018


def test_a_card_is_checked():
    with pytest.raises(ValueError, match="licens"):
        few_shot_card("x", licens="MIT")
