"""Zero-shot tasks: which texts are asked, who is nearest, and what a run of one stores and compares."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench import ModelCard, hookimpl, run
from adaptbench.harness.conformance import check
from adaptbench.harness.contracts import Aligned, Input
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse_call
from adaptbench.tasks.fewshot.class_names import prompt_names
from adaptbench.tasks.fewshot.images import ImageSet
from adaptbench.tasks.fewshot.prompt_templates import CLIP, PHOTO, prompt_templates
from adaptbench.tasks.fewshot.protocol import Protocol
from adaptbench.tasks.fewshot.task import FewShot
from adaptbench.tasks.fewshot.zero_shot import ZeroShot
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("red", "green", "blue", "yellow", "cyan")


def image_set(classes=5, each=4):
    inputs = [Input(f"{n:04d}", lambda n=n: n) for n in range(classes * each)]
    return ImageSet("set", NAMES[:classes], np.repeat(np.arange(classes), each), inputs)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def accuracy(task, answers):
    outputs = task.outputs(task.samples, answers)
    scored = zip(task.samples, outputs, strict=True)
    return np.mean([task.score(sample, task.parse(sample, output))["accuracy"] for sample, output in scored])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_an_image_is_of_the_class_with_the_nearest_mean_of_directions(seed, templates):
    """Over all classes and in episodes, whichever samples are asked together."""
    images, texts = noise(20, 6, seed=seed), noise(5, templates, 6, seed=seed + 1)
    directions = (texts / np.linalg.norm(texts, axis=2, keepdims=True)).mean(axis=1)
    cosines = images @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    task = ZeroShot(image_set(), NAMES, ("{}",) * templates)
    wanted = [NAMES[best] for best in cosines.argmax(axis=1)]
    assert task.outputs(task.samples, Aligned(images, texts)) == wanted
    assert task.outputs(task.samples[3:4], Aligned(images, texts)) == wanted[3:4]
    few = ZeroShot(image_set(), NAMES, ("{}",) * templates, Protocol(3, 0, 2, 6), seed=seed)
    for row, output in enumerate(few.outputs(few.samples, Aligned(images, texts))):
        query = few.manifest.query[row]
        among = cosines[query.ravel()][:, few.labels[query[:, 0]]]
        assert output == among.argmax(axis=1).tolist()


def test_what_is_named_right_is_recognised_and_equal_texts_are_a_guess():
    images = np.repeat(np.eye(5, dtype=np.float32), 4, axis=0)
    right, equal = np.eye(5, dtype=np.float32)[:, np.newaxis], np.ones((5, 1, 5), dtype=np.float32)
    for task in (
        ZeroShot(image_set(), NAMES, PHOTO),
        ZeroShot(image_set(), NAMES, PHOTO, Protocol(5, 0, 2, 10)),
    ):
        assert accuracy(task, Aligned(images, right)) == 1
        assert accuracy(task, Aligned(images, equal)) == pytest.approx(1 / 5)


def test_the_episodes_of_a_few_shot_task_can_be_replayed(tmp_path):
    shown = FewShot(image_set(), Protocol(3, 1, 2, 4))
    shown.manifest.write(tmp_path / "m.json")
    told = ZeroShot(image_set(), NAMES, PHOTO, manifest=shown.manifest)
    assert [sample.target for sample in told.samples] == [sample.target for sample in shown.samples]
    assert set(told.samples[0].inputs) < set(shown.samples[0].inputs)


def test_hostile_outputs_are_not_scored():
    for task in (ZeroShot(image_set(), NAMES, PHOTO), ZeroShot(image_set(), NAMES, PHOTO, Protocol(3, 0, 2, 4))):
        sample = task.samples[0]
        for output in (None, 1, [9], [-1] * 6, [1.0] * 6, {}, [True] * 6):
            assert task.score(sample, task.parse(sample, output)) is None


def test_numbers_that_are_not_finite_are_refused_by_the_text_that_gave_them():
    texts = noise(5, 8, 6)
    texts[2, 1, 3] = np.nan
    task = ZeroShot(image_set(), NAMES, CLIP)
    with pytest.raises(UserError, match=r"the embedding of the text 'itap of a blue.' holds NaN"):
        task.outputs(task.samples, Aligned(noise(20, 6), texts))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("greek/GREEK SMALL LETTER BETA", "greek small letter beta"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("Indian_elephant", "Indian elephant"),
        ("7", "7"),
        ("747-400", "747-400"),
        ("airplane/", "airplane/"),
    ],
)
def test_a_class_is_called_by_the_last_part_of_its_name(title, name):
    assert prompt_names([title], where="x") == (name,)


@given(st.lists(st.text(min_size=1), unique=True, max_size=6))
def test_every_class_has_a_name_of_its_own_or_is_refused(classes):
    try:
        names = prompt_names(classes, where="x")
    except UserError:
        return
    assert len(set(names)) == len(classes)
    assert all(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("n01440764 tench\nn01440764 shark\n", "line 2 names 'n01440764' again"),
        ("n01440764\n", "line 1 has no name"),
        ("", "it has no name for class 'n01440764' and 1 more; add a line"),
        (b"\xff\xfe\xfa", "it is not text in UTF-8"),
        (None, "cannot read it"),
    ],
)
def test_a_file_of_names_that_does_not_name_the_classes_is_refused(tmp_path, content, message):
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        prompt_names(["n01440764", "a b"], names=str(file), where="x")


def test_a_file_says_what_classes_are_called(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("n01440764 great  white shark\n\na b\ttench\nn02 more\n", encoding="utf-8-sig")
    assert prompt_names(["a b", "n01440764"], names=str(file), where="x") == ("tench", "great white shark")
    with pytest.raises(UserError, match=r"class 'n01440764' says nothing in a prompt; write names=FILE"):
        prompt_names(["n01440764"], where="x")
    with pytest.raises(UserError, match="classes 'a/x' and 'b/x' are both 'x'"):
        prompt_names(["a/x", "b/x"], where="x")


def test_templates_are_named_or_written():
    assert prompt_templates("clip", where="x") == CLIP
    assert len(CLIP) == 8
    assert prompt_templates("photo", where="x") == ("a photo of a {}",)
    assert prompt_templates("a {} | the {}.|", where="x") == ("a {}", "the {}.")
    for text in ("", "a photo", "{} {}", "a {} | the"):
        with pytest.raises(UserError, match="does not say where the name goes; choose clip, photo, or write"):
            prompt_templates(text, where="x")


class Colours:
    """A dual encoder whose vectors are colours."""

    texts: list[str] = []  # noqa: RUF012 - a record of all calls

    def embed(self, images):
        return np.array([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) / 255 for image in images])

    def embed_texts(self, texts):
        self.texts.extend(texts)
        known = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
        return np.array([known.get(text.rstrip(".").split()[-1], (1, 1, 1)) for text in texts], dtype=np.float32)


class Scoring(Colours):
    """One with prompts of its own."""

    name = "scoring"

    def for_classes(self, names):
        told = super().embed_texts(names)

        class Scores:
            def embed(_, images):
                return self.embed(images) @ told.T

        return Scores()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of red, green and blue images."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir()
        for number in range(3):
            pixels = np.full((4, 4, 3), 9 * number, dtype=np.uint8)
            pixels[..., place] = 200
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_a_run_encodes_each_text_once_and_models_with_own_prompts_score_classes(photos, tmp_path):
    Colours.texts.clear()
    spec = f'zero-shot-image-folder:{photos}(templates="a photo of a {{}} | the {{}}")'
    episodes = spec.replace("(", "(ways=2,queries=2,episodes=7,")
    done = run([Colours(), Scoring()], [spec, episodes], out=tmp_path / "run")
    found = {(one.cell.model, one.task_card.sample_noun): one for one in done.results}
    assert len(found) == 4
    for result in found.values():
        assert result.metrics["accuracy"].value == 1
    assert sorted(text for text in Colours.texts if " " in text) == sorted(
        f"{template} {name}" for template in ("a photo of a", "the") for name in ("red", "green", "blue")
    )
    assert found["Colours", "image"].samples_digest == found["scoring", "image"].samples_digest
    again = run([Colours()], [spec.replace("the", "one")], out=tmp_path / "run")
    assert again.results[0].samples_digest != found["Colours", "image"].samples_digest


def test_specs_build_what_they_say(photos, tmp_path):
    registry = load_plugins([]).registry

    def build(text):
        call = parse_call(text)
        entry = registry.find("task", call.name)
        return entry.factory()(**entry.bind(call, seed=0))

    folder = f"zero-shot-image-folder:{photos}"
    whole, some = build(folder), build(f"{folder}(ways=2,episodes=5)")
    assert (len(whole.samples), whole.templates, whole.class_names) == (9, CLIP, ("blue", "green", "red"))
    assert some.protocol == Protocol(2, 0, 1, 5)
    names = {entry.name for entry in registry.entries("task")}
    sources = {name for name in names if f"zero-shot-{name}" in names}
    assert {"glyphs", "digits", "image-folder", "image-csv", "image-json", "hf-images"} <= sources
    with pytest.raises(UserError, match="queries= is of episodes; say ways= too"):
        build(f"{folder}(queries=2)")
    with pytest.raises(UserError, match="episodes without shots have no centroids"):
        build(f"image-folder:{photos}(ways=2,shots=0,queries=1)")
    with pytest.raises(UserError, match="only 3 classes"):
        build(f"{folder}(ways=4)").samples  # noqa: B018


class Narrow(Colours):
    def embed_texts(self, texts):
        return np.ones((len(texts), 2), dtype=np.float32)


class Plugin:
    @hookimpl
    def register(self, registry):
        card = ModelCard(capabilities=("embed", "dual"))
        for kind in (Scoring, Narrow):
            registry.model(kind.__name__.lower(), kind, card=card)


def test_what_a_plugin_calls_dual_is_checked():
    plugins = load_plugins([Plugin()])
    owner = plugins.registry.find("model", "narrow").owner
    broken = [finding for finding in check(plugins, owner) if not finding.ok]
    assert [finding.detail for finding in broken] == ["texts gave shape [3, 2], not [3, 3]"]
