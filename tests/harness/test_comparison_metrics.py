"""All metrics of a task are compared, and samples that flipped say what they asked."""

import types

import adaptbench
import numpy as np
import pytest
from adaptbench.harness.asked import what_is_asked
from adaptbench.harness.comparison import SampleReader, Side, compare
from adaptbench.harness.contracts import Episode, Input, MaskedPrompt, Piece, Prompt
from adaptbench.harness.errors import BadSample
from adaptbench.harness.planning import Request, plan
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.runner import RunSpec, execute
from PIL import Image

METRICS = (
    adaptbench.Metric(name="accuracy"),
    adaptbench.Metric(name="F1", kind="derived"),
    adaptbench.Metric(name="said yes", better="neither"),
    adaptbench.Metric(name="nothing", kind="derived"),
)
CARD = adaptbench.TaskCard(capability="generate", sample_noun="question", metrics=METRICS)
EPISODES = adaptbench.TaskCard(capability="generate", sample_noun="episode")
N = 60


class YesOrNo(adaptbench.Task):
    """Is a number even? Two questions share a group."""

    card = CARD

    def __init__(self, groups=True):
        self.inputs = [Input(str(i), lambda i=i: Prompt(f"Is {i} even?")) for i in range(N)]
        named = (lambda i: f"g{i // 2}") if groups else (lambda i: None)
        self.samples = [
            adaptbench.Sample(f"q{i}", [i], i % 2 == 0, named(i), {"answer": "yes" if i % 2 == 0 else "no"})
            for i in range(N)
        ]

    def parse(self, sample, output):
        return {"yes": True, "no": False}.get(output)

    def score(self, sample, parsed):
        return {"accuracy": float(parsed == sample.target), "said yes": float(parsed is True)}

    def aggregate(self, scores):
        yes = (scores.subsets["answer"] == "yes").astype(float)
        said = scores.values["said yes"]
        hits, wrong = scores.weights @ (yes * said), scores.weights @ np.abs(yes - said)
        return {"F1": 2 * hits / (2 * hits + wrong) if hits else 0.0, "nothing": np.nan}


class Twelve(adaptbench.Task):
    """Episodes of twelve answers, one of three classes each."""

    card = EPISODES

    def __init__(self, name="owl"):
        self._classes = ("cat", "dog", name)
        self.inputs = [Input(str(i), lambda i=i: Prompt(str(i))) for i in range(12)]
        self.samples = [adaptbench.Sample("e0", range(12), [0, 1, 2] * 4)]

    def episode(self, sample):
        return Episode(self._classes, [[0], [1], [2]], [[3, 6, 9], [4, 7, 10], [5, 8, 11]])

    def outputs(self, samples, answers):
        return [list(map(int, answers)) for _ in samples]

    def score(self, sample, parsed):
        return {"accuracy": sum(map(int.__eq__, parsed, sample.target)) / 12}


class Says:
    def __init__(self, name):
        self._answer, self.fingerprint = MODELS[name], name

    def generate(self, prompts):
        return [self._answer(prompt.text) for prompt in prompts]


def even(text):
    return "yes" if int(text.split()[1]) % 2 == 0 else "no"


MODELS = {
    "right": even,
    "yes": lambda text: "yes",
    "mostly": lambda text: "no" if int(text.split()[1]) < 8 else even(text),
    "third": lambda text: str(int(text) % 3),
    "cats": lambda text: "0" if int(text) < 6 else str(int(text) % 3),
}


def plugins_of(task=YesOrNo):
    def register(registry):
        for name in MODELS:
            card = adaptbench.ModelCard(capabilities=("generate",))
            registry.model(name, lambda name=name: Says(name), card=card)
        registry.task("even", task, card=CARD)
        registry.task("twelve", Twelve, card=EPISODES)

    plugins, plugin = Plugins(), types.ModuleType("mine")
    plugin.register = adaptbench.hookimpl(register)
    assert plugins.add("mine", "a test", lambda: plugin).error == ""
    return plugins


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plugins, out = plugins_of(), tmp_path_factory.mktemp("metrics") / "run"
    for models, task in ((("right", "yes", "mostly"), "even"), (("third", "cats"), "twelve")):
        execute(plugins, RunSpec(plan(plugins.registry, Request(models, (task,))), out))
    return out


def compared(run, baseline, candidate, plugins=None, most=3):
    reader = SampleReader((plugins or plugins_of()).registry, most)
    (task,) = compare(Side.at(f"{run}#{baseline}"), Side.at(f"{run}#{candidate}"), reader).tasks
    return task, reader


def test_the_first_metric_comes_first_and_then_all_others(run):
    task, _ = compared(run, "right", "mostly")
    assert (task.metric.name, [other.metric.name for other in task.others]) == (
        "accuracy", ["F1", "said yes", "nothing"],
    )  # fmt: skip
    f1, yes, nothing = task.others
    assert (f1.baseline_score.value, f1.candidate_score.value) == (1.0, pytest.approx(2 * 26 / (2 * 26 + 4)))
    assert f1.difference.value == pytest.approx(f1.candidate_score.value - 1)
    assert f1.difference.low < f1.difference.value < f1.difference.high
    assert f1.difference.method == "95 % paired bootstrap interval over 60 questions in 30 groups"
    assert (yes.difference.value, yes.n, yes.gain) == (pytest.approx(-4 / 60), 60, 0)
    assert (nothing.refused, nothing.verdict) == ("the task has no number for it on both sides", "not comparable")


def test_the_others_are_adjusted_for_their_own_number(run):
    task, _ = compared(run, "right", "yes")
    assert task.p_adjusted == task.p
    f1, yes, _ = task.others
    assert sorted([f1.p_adjusted, yes.p_adjusted])[0] == 2 * min(f1.p, yes.p)
    assert (task.verdict, f1.verdict, yes.verdict) == ("worse", "worse", "different")


def test_without_the_task_what_it_derives_is_shown_and_not_compared(run):
    task, _ = compared(run, "right", "mostly", Plugins())
    f1, yes, _ = task.others
    assert f1.difference is f1.p is None
    assert f1.refused.startswith("the task is needed for it, but unknown task 'even'")
    assert (f1.baseline_score.value, f1.candidate_score.value > 0) == (1.0, True)
    assert yes.difference.value < 0
    assert task.flips.unasked


def test_a_task_with_other_groups_now_is_not_the_one_of_the_run(run):
    other = plugins_of(lambda: YesOrNo(groups=False))
    task, _ = compared(run, "right", "mostly", other)
    assert "the samples of task even are not those of the run" in task.others[0].refused


def test_without_a_reader_only_the_first_metric_is_compared(run):
    (task,) = compare(Side.at(f"{run}#right"), Side.at(f"{run}#mostly")).tasks
    assert task.others == ()
    assert task.difference.value < 0


def test_the_table_has_a_row_for_each_metric(run):
    reader = SampleReader(plugins_of().registry, 0)
    table = compare(Side.at(f"{run}#right"), Side.at(f"{run}#mostly"), reader).to_pandas()
    assert list(table["metric"]) == ["accuracy", "F1", "said yes", "nothing"]
    assert table["lost"].notna().tolist() == [True, False, False, False]


def test_an_episode_is_told_by_its_classes_and_counts(run):
    task, _ = compared(run, "third", "cats")
    (flipped,) = task.flips.samples
    assert flipped.question == "3-way 1-shot: cat, dog, owl\n3 support images, 9 query images, 3 of each class"
    assert (flipped.baseline, flipped.candidate, flipped.truth) == ("12 of 12 right", "8 of 12 right", "")
    assert flipped.why == "4 answers lost, 0 gained; lost most: dog taken for cat (2), owl taken for cat (2)"


class Shown(adaptbench.Task):
    """Inputs of every kind."""

    card = EPISODES

    def __init__(self, *loads):
        self.inputs = [Input(str(i), load) for i, load in enumerate(loads)]


def grey(value):
    return Image.new("RGB", (2, 2), (value,) * 3)


def unreadable():
    raise BadSample("torn")


class TestAsked:
    def test_texts_are_shown_once_and_images_up_to_a_number(self):
        prompt = Prompt(" Dark? ", (grey(1), grey(2), grey(3)))
        shown = what_is_asked(
            Shown(lambda: prompt, unreadable, lambda: prompt), adaptbench.Sample("s", [0, 1, 2]), most=4
        )
        assert shown.text == "Dark?"
        assert [image.getpixel((0, 0))[0] for _, image in shown.images] == [1, 2, 3, 1]

    def test_a_mask_and_a_continuation_are_told_as_texts(self):
        masked = MaskedPrompt((Piece("It was"),), (Piece("."),), (" good",))
        shown = what_is_asked(Shown(lambda: masked, lambda: (None, "so")), adaptbench.Sample("s", [0, 1]))
        assert shown.text == "It was[mask].\nso"

    def test_of_an_episode_images_of_each_class_in_turn_are_read_and_no_more(self):
        class Drawn(Shown):
            def episode(self, sample):
                return Episode(("a", "b"), [[0, 1], [2, 3]], [[4], [5]])

        task = Drawn(*(lambda i=i: grey(i) for i in range(3)), unreadable, unreadable, unreadable)
        shown = what_is_asked(task, adaptbench.Sample("s", range(6)), most=3)
        assert [(name, image.getpixel((0, 0))[0]) for name, image in shown.images] == [("a", 0), ("b", 2), ("a", 1)]

    def test_without_support_images_queries_are_shown(self):
        class Named(Shown):
            def episode(self, sample):
                return Episode(("a", "b"), [[], []], [[0], [1]])

        shown = what_is_asked(Named(lambda: grey(0), lambda: grey(1)), adaptbench.Sample("s", [0, 1]))
        assert shown.text.startswith("2-way 0-shot: a, b\n0 support images, 2 query images")
        assert [name for name, _ in shown.images] == ["a", "b"]
