"""Episodes as a file: read back as written, refused when changed or when the images are others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from adaptbench.harness.api import run
from adaptbench.harness.contracts import Input
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import sha256_hex
from adaptbench.harness.store import Journal
from adaptbench.tasks.fewshot.episodes import Manifest, data_digest, draw
from adaptbench.tasks.fewshot.images import ImageSet
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.sources import few_shot
from hypothesis import given
from hypothesis import strategies as st

LABELS = np.repeat(np.arange(4), 6)
DIGESTS = [sha256_hex(bytes([number])) for number in range(24)]


def images(flavour="a"):
    """Six images of each of four classes."""
    digests = [f"{flavour}{digest}" for digest in DIGESTS]
    return ImageSet("set", tuple("abcd"), LABELS, [Input(digest, lambda: None) for digest in digests])


factory = few_shot(images)


@pytest.fixture
def stored(tmp_path):
    """The file of the episodes of a task, as a run writes it."""
    task = factory(ways=3, queries=2, episodes=10, seed=5)
    path = tmp_path / "run" / "episodes" / f"{task.manifest.digest[:32]}.json"
    task.manifest.write(path)
    return path


@given(st.integers(0, 99), st.integers(2, 4), st.integers(1, 3), st.integers(1, 3))
def test_reading_back_gives_what_was_written(tmp_path_factory, seed, ways, shots, queries):
    path = tmp_path_factory.mktemp("manifest") / "m.json"
    written = draw(LABELS, Protocol(ways, shots, queries, 4), seed=seed, split="s", data="d")
    written.write(path)
    read = Manifest.read(path)
    assert read.digest == written.digest
    assert (read.support == written.support).all()
    assert (read.query == written.query).all()
    assert read.protocol == Protocol(ways, shots, queries, 4)


def test_a_task_replays_the_episodes_of_a_run_exactly(stored):
    drawn, replayed = factory(ways=3, queries=2, episodes=10, seed=5), factory(manifest=str(stored), seed=77)
    assert replayed.manifest.digest == drawn.manifest.digest == Manifest.read(stored).digest
    assert replayed.protocol == drawn.protocol
    for one, two in zip(drawn.samples, replayed.samples, strict=True):
        assert (one.id, list(one.inputs), one.target) == (two.id, list(two.inputs), two.target)


def test_writing_a_replayed_manifest_gives_the_same_bytes(stored, tmp_path):
    factory(manifest=str(stored)).manifest.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == stored.read_bytes()


def test_the_manifest_in_a_run_directory_replays_that_run(tmp_path):
    run("pixels", "digits-5way-1shot(episodes=20,queries=3)", out=tmp_path / "one", seeds=[4])
    (path,) = (tmp_path / "one" / "episodes").iterdir()
    run("pixels", f"digits(manifest={path})", out=tmp_path / "two")
    assert [file.read_bytes() for file in (tmp_path / "two" / "episodes").iterdir()] == [path.read_bytes()]
    one, two = (list(Journal(next((tmp_path / name).glob("cells/*"))).records()) for name in ("one", "two"))
    assert one == two != []
    with pytest.raises(UserError, match="of other images"):
        run("pixels", f"glyphs(split=val,manifest={path})", out=tmp_path / "three")


def test_other_images_are_refused(stored):
    task = factory(flavour="b", manifest=str(stored))
    with pytest.raises(UserError, match="of other images"):
        task.samples  # noqa: B018


def test_what_is_asked_beside_a_manifest_must_be_true_of_it(stored):
    assert factory(manifest=str(stored), ways=3, shots=1).protocol.episodes == 10
    with pytest.raises(UserError, match="ways=3, not 15"):
        factory(manifest=str(stored), ways=15)


@given(st.data())
def test_any_changed_number_is_detected(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("manifest") / "m.json"
    draw(LABELS, Protocol(3, 1, 2, 5), seed=0, split="s", data="d").write(path)
    content = json.loads(path.read_text())
    part = data.draw(st.sampled_from(["support", "query"]))
    numbers = content[part][data.draw(st.integers(0, 4))][data.draw(st.integers(0, 2))]
    numbers[0] += data.draw(st.sampled_from([-1, 1, 24, 2**62, 0.5]))
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"changed|not an episode manifest"):
        Manifest.read(path)


@pytest.mark.parametrize("field", ["seed", "split", "data", "generator"])
def test_a_changed_header_is_detected(stored, field):
    content = json.loads(stored.read_text())
    content[field] = "other"
    stored.write_text(json.dumps(content))
    with pytest.raises(UserError, match="changed"):
        Manifest.read(stored)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[[", "{'a'}", '{"digest": 1}', "[" * 100_000, '{"digest":"","support":[[1],2]}']
)
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"m\.json"):
        Manifest.read(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: cannot read it"):
        Manifest.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("support", "message"),
    [
        ([[[0], [6], [99]]], "do not exist"),
        ([[[-1], [6], [12]]], "do not exist"),
        ([[[0], [0], [12]]], "twice"),
        ([[[1], [6], [12]]], "twice"),
        ([[[0], [6], [18]]], "mixed"),
    ],
)
def test_positions_that_make_no_episode_are_refused(tmp_path, support, message):
    """A manifest of another's making may have the right digest and no sense."""
    query = np.array([[[1], [7], [13]]])
    data = data_digest([image.digest for image in images().images], LABELS)
    Manifest(np.array(support), query, data, "set", 0).write(tmp_path / "m.json")
    task = factory(manifest=str(tmp_path / "m.json"))
    with pytest.raises(UserError, match=message):
        task.samples  # noqa: B018
