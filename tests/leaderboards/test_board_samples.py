"""The samples that the page's browser shows: what was asked, what came out, what was right."""

import io
import re
import types

import adaptbench
import numpy as np
import pytest
from adaptbench.harness.contracts import Input, Prompt, Sample
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.store import RunDirectory
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.samples import Samples, index
from adaptbench.leaderboards.site import site
from PIL import Image

CARD = adaptbench.TaskCard(capability="generate", sample_noun="question")
ANSWERS = ["yes", "no", "maybe", "yes"]


class Questions(adaptbench.Task):
    """Four questions about images of one colour."""

    card = CARD

    def __init__(self, text="Is it dark?", size=8):
        colour = lambda i: Image.new("RGB", (size, size), (40 * (i % 3),) * 3)  # noqa: E731
        self.inputs = [
            Input(f"{text} {i}", lambda i=i: Prompt(f"{text} {i}", (colour(i),))) for i in range(len(ANSWERS))
        ]
        self.samples = [Sample(f"q{i}", [i], "yes") for i in range(len(ANSWERS))]

    def parse(self, sample, output):
        return output if output in ("yes", "no") else None


class Says:
    def __init__(self, answers):
        self._answers, self.fingerprint = answers, "".join(answers)

    def generate(self, prompts):
        return [self._answers[int(prompt.text.rsplit(" ", 1)[1])] for prompt in prompts]


def plugins_of(task=Questions):
    def register(registry):
        card = adaptbench.ModelCard(capabilities=("generate",))
        registry.model("one", lambda: Says(ANSWERS), card=card)
        registry.model("two", lambda: Says(["yes"] * 4), card=card)
        registry.task("dark", task, card=CARD)

    plugins, plugin = Plugins(), types.ModuleType("mine")
    plugin.register = adaptbench.hookimpl(register)
    assert plugins.add("mine", "a test", lambda: plugin).error == ""
    return plugins


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    from adaptbench.harness.planning import Request, plan
    from adaptbench.harness.runner import RunSpec, execute

    plugins, out = plugins_of(), tmp_path_factory.mktemp("samples") / "run"
    execute(plugins, RunSpec(plan(plugins.registry, Request(("one", "two"), ("dark",))), out))
    return out


def samples_of(path, plugins=None):
    plugins = plugins or plugins_of()
    (section,) = make_board([RunDirectory.existing(path)], plugins).sections
    return Samples(section, plugins.registry)


def items(samples):
    return [answered.item for answered in samples]


def test_a_sample_has_its_question_image_truth_and_every_answer(path):
    found = samples_of(path)
    assert found.models == ["two", "one"]
    item = items(found)[2]
    assert (item["id"], item["question"], item["truth"]) == ("q2", "Is it dark? 2", "yes")
    assert item["images"][0].startswith("data:image/png;base64,")
    assert item["answers"] == [["yes", None, "accuracy 100 %"], ["maybe", "null", "accuracy 0 %"]]
    assert found.note == ""


def test_fates_tell_wrong_from_unparsed_and_where_models_disagree(path):
    fates, differ = zip(*((answered.fates, answered.differs) for answered in samples_of(path)), strict=True)
    assert index(["two", "one"], fates, differ) == {
        "models": ["two", "one"],
        "fates": ["rrrr", "rwur"],
        "disagree": "-dd-",
    }


def test_a_task_that_changed_shows_no_question(path):
    found = items(samples_of(path, plugins_of(lambda: Questions("Is it light?"))))
    assert {item["question"] for item in found} == {"(not what was asked in the run)"}
    assert not any(item["images"] for item in found)


def test_a_task_that_cannot_be_built_says_why_and_shows_the_answers(path):
    found = samples_of(path, Plugins())
    assert "unknown task 'dark'" in found.note
    assert [item["question"] for item in items(found)] == [""] * 4
    assert items(found)[0]["answers"][0][0] == "yes"


def test_the_room_bounds_what_is_read_and_a_few_are_read_in_any_case(path):
    found = samples_of(path)
    assert len(found.first(room=1)) == 3
    assert len(found.first(room=10_000)) == found.total == 4


def test_what_is_long_or_hostile_is_cut_and_escaped(new_run, make, plugins):
    outputs = ["x" * 10_000_000, "a\0b\u202ec", "\ud83d", *["fine"] * 17]
    run = new_run().cell("a", make.scores(0.5, n=20), outputs=outputs)
    (section,) = make_board([run.directory], plugins).sections
    texts = [item["answers"][0][0] for item in items(Samples(section, plugins.registry))]
    assert texts[0].endswith("… (10,000,000 characters)")
    assert len(texts[0]) < 3000
    assert texts[1:3] == ["a\\u0000b\\u202ec", "\\ud83d"]


def test_cells_of_other_samples_are_not_beside_each_other(new_run, make, plugins):
    run = new_run().cell("a", make.scores(0.5)).cell("b", make.scores(0.5), samples_digest="1b" * 32)
    (section,) = make_board([run.directory], plugins).sections
    assert Samples(section, plugins.registry).models == ["a"]


def test_unscored_samples_say_why(new_run, make, plugins):
    run = new_run().cell("a", [None, *np.ones(19).tolist()])
    (section,) = make_board([run.directory], plugins).sections
    found = list(Samples(section, plugins.registry))
    assert [answered.fates for answered in found] == ["n", *"r" * 19]
    assert found[0].item["answers"][0][2] == "not scored"


@pytest.mark.parametrize(("size", "kind"), [(8, "PNG"), (900, "JPEG")])
def test_a_site_has_each_image_once_and_no_larger_than_it_is_shown(path, size, kind):
    plugins = plugins_of(lambda: Questions(size=size))
    board = make_board([RunDirectory.existing(path)], plugins)
    files = dict(site(board, plugins.registry))
    images = {name: Image.open(io.BytesIO(content)) for name, content in files.items() if name.startswith("images/")}
    assert len(images) == 3
    assert {(image.format, image.width) for image in images.values()} == {(kind, min(size, 640))}
    (part,) = (text for name, text in files.items() if name == "samples/dark/0.js")
    assert set(re.findall(r"images/\w+\.\w+", part)) == set(images)
