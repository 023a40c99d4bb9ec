"""The conformance kit finds what breaks a contract, and passes what keeps it."""

from __future__ import annotations

import numpy as np
import pytest
from adaptbench import Budget, Input, Method, MethodCard, Metric, ModelCard, Sample, Task, TaskCard, UserError, hookimpl
from adaptbench.harness.conformance import check
from adaptbench.harness.plugins import Plugins, load_plugins
from PIL import Image

EMBED = ModelCard(capabilities=("embed",), offers=frozenset({"parts"}))
GENERATE = ModelCard(capabilities=("generate",))
READ = ModelCard(capabilities=("generate",), lacks=frozenset({"images"}))


def findings(*registrations):
    """Check a plugin of registrations: (kind, name, factory, card)."""

    class Plugin:
        @hookimpl
        def register(self, registry):
            for kind, name, factory, card in registrations:
                getattr(registry, kind)(name, factory, card=card)

    plugins = Plugins()
    assert plugins.add("mine", "here", Plugin).error == ""
    return check(plugins, "mine")


def failed(*registrations):
    return [f"{f.name}: {f.detail}" for f in findings(*registrations) if not f.ok]


def colours(images):
    return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])


class Good:
    def embed(self, images):
        return colours(images)


class OneVector(Good):
    def embed(self, images):
        return colours(images)[0]


class NotFinite(Good):
    def embed(self, images):
        return colours(images) * np.nan


class Centred(Good):
    def embed(self, images):
        return colours(images) - colours(images).mean(axis=0)


class Wide(Good):
    def embed(self, images):
        return np.ones((len(images), len(images)))


class Restless(Good):
    def __init__(self):
        self.calls = 0

    def embed(self, images):
        self.calls += 1
        return colours(images) + self.calls


class Unseeded(Good):
    built = 0

    def __init__(self):
        Unseeded.built += 1
        self.shift = Unseeded.built

    def embed(self, images):
        return colours(images) + self.shift


class Crashing(Good):
    def embed(self, images):
        raise KeyError("weights")


class Mute:
    pass


class Talker:
    def generate(self, prompts):
        return [f"{prompt.text} {len(prompt.images)}" for prompt in prompts]


class TooFew(Talker):
    def generate(self, prompts):
        return ["one"]


class Numbers(Talker):
    def generate(self, prompts):
        return [1 for _ in prompts]


class Blind(Talker):
    def generate(self, prompts):
        if any(prompt.images for prompt in prompts):
            raise UserError("it reads texts alone")
        return super().generate(prompts)


class Moody(Talker):
    def __init__(self):
        self.calls = 0

    def generate(self, prompts):
        self.calls += 1
        return [str(self.calls) for _ in prompts]


@pytest.mark.parametrize(("factory", "card"), [(Good, EMBED), (Talker, GENERATE), (Blind, READ), (Talker, READ)])
def test_a_good_model_passes(factory, card):
    assert failed(("model", "m", factory, card)) == []
    assert len(findings(("model", "m", factory, card))) > 1


@pytest.mark.parametrize(
    ("factory", "card", "finding"),
    [
        (OneVector, EMBED, "3 images gave an array of shape [3], not [3, d]"),
        (NotFinite, EMBED, "a vector holds NaN or infinity"),
        (Centred, EMBED, "an image's vector depends on the rest of its batch"),
        (Wide, EMBED, "vectors have 1 numbers alone and 3 in a batch"),
        (Restless, EMBED, "the same call twice gave different vectors"),
        (Unseeded, EMBED, "two builds with the same seed gave different vectors"),
        (Crashing, EMBED, "KeyError: 'weights'"),
        (Mute, EMBED, "it has no method embed"),
        (Mute, GENERATE, "it has no method generate"),
        (TooFew, GENERATE, "3 prompts gave ['one']"),
        (Numbers, GENERATE, "3 prompts gave [1, 1, 1]"),
        (Blind, GENERATE, 'without images alone; say lacks={"images"} on its card (it reads texts alone)'),
        (Moody, GENERATE, "the same call twice gave different texts"),
    ],
)
def test_what_is_wrong_with_a_model_is_found(factory, card, finding):
    assert any(finding in text for text in failed(("model", "m", factory, card)))


def test_a_model_of_two_capabilities_is_checked_for_both():
    card = ModelCard(capabilities=("embed", "generate"))
    assert any("it has no method generate" in text for text in failed(("model", "m", Good, card)))


def test_a_model_that_replays_is_not_asked_but_must_have_something_to_look_up():
    class Stored:
        def replay(self, task, samples):
            return {}

    card = ModelCard(capabilities=("generate",), replays=True)
    assert failed(("model", "stored", Stored, card)) == []
    assert len(failed(("model", "mute", Mute, card))) == 1


def raises():
    raise ValueError("no weights")


def exits():
    raise SystemExit(1)


@pytest.mark.parametrize(("factory", "story"), [(raises, "ValueError: no weights"), (exits, "SystemExit: 1")])
def test_a_factory_that_fails_is_a_finding_with_its_place(factory, story):
    (text,) = failed(("model", "m", factory, EMBED))
    assert text.startswith("model m: can be built: ")
    assert story in text
    assert "test_conformance.py" in text


def test_a_factory_that_cannot_be_imported_is_a_finding():
    (text,) = failed(("model", "m", "no_such_module:f", EMBED))
    assert "model m: can be found: " in text
    assert "no_such_module" in text


def test_what_cannot_be_built_from_its_name_is_said_to_be_unchecked():
    found = findings(("model", "m", lambda path: Good(), EMBED))
    assert [(f.name, f.ok) for f in found][1:] == [("model m: not checked", True)]


class Looks(Task):
    card = TaskCard(capability="embed")

    def __init__(self):
        self.inputs = [Input(f"grey-{g}", lambda g=g: Image.new("RGB", (8, 8), (g, g, g))) for g in range(5)]
        self.samples = [Sample(f"s{g}", [g], target=g > 2) for g in range(5)]

    def outputs(self, samples, answers):
        return [bool(answers[sample.inputs[0]].mean() > 0) for sample in samples]


class Asks(Looks):
    card = TaskCard(capability="generate")

    def outputs(self, samples, answers):
        return [answers[sample.inputs[0]] for sample in samples]


class Empty(Looks):
    def __init__(self):
        super().__init__()
        self.samples = []


class SameIds(Looks):
    def __init__(self):
        super().__init__()
        self.samples = [Sample("s", [0]), Sample("s", [1])]


class SameInputs(Looks):
    def __init__(self):
        super().__init__()
        self.inputs = [*self.inputs, self.inputs[0]]


class AsksForMore(Looks):
    def __init__(self):
        super().__init__()
        self.samples = [Sample("s", [0, 5])]


class AsksForLess(Looks):
    def __init__(self):
        super().__init__()
        self.samples = [Sample("s", [-1, 2])]


class CannotLoad(Looks):
    def __init__(self):
        super().__init__()
        self.inputs = [Input("a", raises)]
        self.samples = [Sample("s", [0])]


class Drifts(Looks):
    built = 0

    def __init__(self):
        super().__init__()
        Drifts.built += 1
        self.samples = [Sample(f"s{Drifts.built}", [0])]


class FailsOnHostile(Looks):
    def parse(self, sample, output):
        return output.strip() if not isinstance(output, bool) else output


class ScoreFails(Looks):
    def score(self, sample, parsed):
        return {"accuracy": 1.0 / (parsed is not None)}


class MetricMissing(Looks):
    card = TaskCard(capability="embed", metrics=(Metric(name="accuracy"), Metric(name="f1")))


class MetricMissingWhenAnswered(Looks):
    def parse(self, sample, output):
        return output if isinstance(output, bool) else None

    def score(self, sample, parsed):
        return None if parsed is None else {"acuracy": 1.0}


class NotANumber(Looks):
    def score(self, sample, parsed):
        return {"accuracy": float("nan")}


class NotJson(Looks):
    def outputs(self, samples, answers):
        return [answers[sample.inputs[0]] for sample in samples]


class ParsedNotJson(Looks):
    def parse(self, sample, output):
        return {1, 2}


class TooFewOutputs(Looks):
    def outputs(self, samples, answers):
        return [True]


class RestlessScore(Looks):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def score(self, sample, parsed):
        self.calls += 1
        return {"accuracy": float(self.calls)}


@pytest.mark.parametrize("factory", [Looks, Asks])
def test_a_good_task_passes(factory):
    assert failed(("task", "t", factory, factory.card)) == []


@pytest.mark.parametrize(
    ("factory", "finding"),
    [
        (Empty, "it has no samples"),
        (SameIds, "two samples have the same id"),
        (SameInputs, "two inputs have the same digest"),
        (AsksForMore, "sample s asks for input 5 of 5"),
        (AsksForLess, "sample s asks for input -1 of 5"),
        (CannotLoad, "ValueError: no weights"),
        (Drifts, "the samples differ between two builds with the same seed"),
        (FailsOnHostile, "AttributeError"),
        (ScoreFails, "ZeroDivisionError"),
        (MetricMissing, "score() gave no 'f1'"),
        (MetricMissingWhenAnswered, "score() gave no 'accuracy'"),
        (NotANumber, "score() gave nan as 'accuracy'"),
        (NotJson, "which JSON cannot hold"),
        (ParsedNotJson, "which JSON cannot hold"),
        (TooFewOutputs, "outputs() gave 1 outputs for 3 samples"),
        (RestlessScore, "the same answers were scored differently the second time"),
    ],
)
def test_what_is_wrong_with_a_task_is_found(factory, finding):
    assert any(finding in text for text in failed(("task", "t", factory, factory.card)))


class Halved(Good):
    def __init__(self, model):
        self.model = model

    def embed(self, images):
        return self.model.embed(images) / 2


class Halve(Method):
    def apply(self, model):
        return Halved(model)


class HalveAtABudget(Halve):
    budget: Budget = 1.0


class Spoil(Method):
    def apply(self, model):
        model.embed = lambda images: np.zeros((len(images), 3), dtype=np.float32)
        return Halved(model)


class Lose(Method):
    def apply(self, model):
        return Mute()


class Fail(Method):
    def apply(self, model):
        raise ValueError("no weights")


NEEDS = MethodCard(needs=frozenset({"parts"}))


def test_a_good_method_passes_on_the_plugins_own_model():
    found = findings(
        ("model", "m", Good, EMBED), ("method", "h", HalveAtABudget, MethodCard(needs=NEEDS.needs, takes_budget=True))
    )
    assert [f for f in found if not f.ok] == []
    assert "method h on m: The model that it is given stays as it was" in [f.name for f in found]


@pytest.mark.parametrize(
    ("method", "card", "finding"),
    [
        (Spoil, NEEDS, "the given model answers otherwise than before"),
        (Lose, NEEDS, "it has no method embed"),
        (Fail, NEEDS, "ValueError: no weights"),
        (Halve, MethodCard(takes_budget=True), "it has no field 'budget'"),
        (HalveAtABudget, NEEDS, "it has a field 'budget'"),
        (Halved, NEEDS, "it is not a subclass of adaptbench.Method"),
    ],
)
def test_what_is_wrong_with_a_method_is_found(method, card, finding):
    assert any(finding in text for text in failed(("model", "m", Good, EMBED), ("method", "h", method, card)))


def test_a_method_of_a_broken_model_is_not_blamed():
    found = findings(("model", "m", Crashing, EMBED), ("method", "h", Halve, NEEDS))
    assert [f.detail for f in found if f.name == "method h: not checked"] == [
        "no model that can be built from its name alone offers parts"
    ]


def test_a_plugin_that_registers_nothing_is_found():
    class Watcher:
        @hookimpl
        def run_started(self, event): ...

    plugins = Plugins()
    plugins.add("mine", "here", Watcher)
    assert [(f.ok, f.detail) for f in check(plugins, "mine")] == [(False, "it has none")]


def test_a_broken_plugin_is_a_finding():
    plugins = Plugins()
    plugins.add("mine", "here", raises)
    assert [(f.ok, f.detail) for f in check(plugins, "mine")] == [(False, "ValueError: no weights")]


def test_an_unknown_plugin_offers_the_nearest():
    with pytest.raises(UserError, match=r"there is no plugin 'modles' .did you mean 'models'"):
        check(load_plugins(), "modles")


@pytest.mark.parametrize("name", ["models", "adapters"])
def test_the_built_in_plugins_keep_their_contracts(name):
    assert [f for f in check(load_plugins(), name) if not f.ok] == []


def test_figures_and_reports_are_where_the_plugin_says():
    class Plugin:
        @hookimpl
        def register(self, registry):
            registry.figure("good", lambda request: "", panels=lambda board: [])
            registry.figure("lost", "nowhere_at_all:figure")
            registry.figure("half", lambda request: "", panels="nowhere_at_all:panels")
            registry.report("told", lambda request: "", formats=[".txt"])

    plugins = Plugins()
    assert plugins.add("mine", "here", Plugin).error == ""
    found = {f.name.partition(":")[0]: f.ok for f in check(plugins, "mine")}
    found.pop("plugin mine")
    assert found == {"figure good": True, "figure half": False, "figure lost": False, "report told": True}
