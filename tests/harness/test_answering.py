import numpy as np
import pytest
from adaptbench import Input, MaskedPrompt, Piece, Prompt, Sample, UserError
from adaptbench.harness.answering import Embedding, Encoder, Generation, MaskFilling, Outcome, Replay, blocks_of
from adaptbench.harness.batching import Batches
from adaptbench.harness.contracts import Answer
from adaptbench.harness.errors import BadSample
from adaptbench.harness.prefill_cost import PrefillCost, Units
from adaptbench.harness.store import FeatureStore
from PIL import Image


def inputs(count):
    return [Input(f"{n:04x}", lambda n=n: n) for n in range(count)]


class Asking:
    """A task whose output for a sample is all that it is given."""

    def __init__(self, inputs):
        self.inputs = inputs

    def outputs(self, samples, answers):
        return [list(answers) for _ in samples]


def vectors_of(asked, samples):
    """The vectors that the task is given."""
    asked.ask(samples)
    return np.array(asked.outcomes(samples)[0].output)


def texts_of(asked, samples):
    asked.ask(samples)
    return asked.outcomes(samples)[0].output


def sample(*rows):
    return Sample("-".join(map(str, rows)), rows)


class Model:
    """A number's vector is (number, size of the batch that it was asked in)."""

    def __init__(self, limit=1000):
        self.batches, self.limit = [], limit

    def embed(self, images):
        if len(images) > self.limit:
            raise MemoryError
        self.batches.append(list(images))
        return [[image, len(images)] for image in images]

    def generate(self, prompts):
        self.batches.append(list(prompts))
        return [f"{prompt} of {len(prompts)}" for prompt in prompts]


def embedding(model, folder, samples, count=10, size=4, progress=lambda done, total: None):
    batches, blocks = Batches(size, "m"), blocks_of(np.arange(count), samples, size)
    encoder = Encoder(lambda: model, batches, FeatureStore(folder, "e" * 64))
    return Embedding(encoder, Asking(inputs(count)), blocks, progress)


def test_blocks_are_runs_of_the_inputs_and_only_needed_ones_are_encoded(tmp_path):
    model, samples = Model(), [sample(0, 2), sample(9)]
    told = []
    asked = embedding(model, tmp_path, samples, progress=lambda *place: told.append(place))
    vectors = vectors_of(asked, samples[1:])
    assert model.batches == [[0, 1, 2, 3], [8, 9]]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[[0, 3, 8, 9]], [[0, 4], [3, 4], [8, 2], [9, 2]])
    np.testing.assert_array_equal(vectors[4:8], 0)
    assert told == [(4, 6), (6, 6)]


def test_no_block_is_encoded_twice_whoever_asks(tmp_path):
    model, samples = Model(), [sample(*range(10))]
    first = vectors_of(embedding(model, tmp_path, samples), samples)
    asked = embedding(model, tmp_path, samples)
    np.testing.assert_array_equal(vectors_of(asked, samples), first)
    np.testing.assert_array_equal(vectors_of(asked, samples), first)
    assert len(model.batches) == 3


def test_the_answers_do_not_depend_on_which_samples_were_asked_for_before(tmp_path):
    samples = [sample(n) for n in range(10)]
    asked = embedding(Model(), tmp_path / "whole", samples)
    whole = [vectors_of(asked, [one]) for one in samples]
    for start in range(10):
        resumed = embedding(Model(), tmp_path / str(start), samples)
        np.testing.assert_array_equal(vectors_of(resumed, samples[start : start + 1]), whole[start])


def test_the_model_is_not_built_where_all_is_stored(tmp_path):
    samples = [sample(0, 5)]
    embedding(Model(), tmp_path, samples).ask(samples)

    def build():
        raise AssertionError("not needed")

    store, blocks = FeatureStore(tmp_path, "e" * 64), blocks_of(np.arange(10), samples, 4)
    Embedding(Encoder(build, Batches(4, "m"), store), Asking(inputs(10)), blocks, print).ask(samples)


def test_a_block_that_memory_cut_into_pieces_is_stored_whole(tmp_path):
    samples = [sample(*range(10))]
    model = Model(limit=3)
    vectors = vectors_of(embedding(model, tmp_path, samples), samples)
    assert [len(batch) for batch in model.batches] == [2, 2, 2, 2, 2]
    np.testing.assert_array_equal(vectors[:, 0], range(10))
    np.testing.assert_array_equal(vectors_of(embedding(Model(), tmp_path, samples), samples), vectors)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: np.zeros((len(images) + 1, 2)), r"returned shape \[5, 2\] for 4 images; return \[4, d\]"),
        (lambda images: np.zeros(len(images)), r"returned shape \[4\] for 4 images"),
        (lambda images: np.zeros((len(images), len(images))), "vectors of 2 numbers after vectors of 4"),
    ],
)
def test_vectors_of_another_shape_are_refused(tmp_path, answer, message):
    model = Model()
    model.embed = answer
    with pytest.raises(UserError, match=message):
        embedding(model, tmp_path, [sample(*range(10))]).ask([sample(0)])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 3)) + 1j, "returned numbers of type complex128; return real numbers"),
        (np.array([["1", "2"]] * 2), "returned numbers of type <U1"),
        (np.array([[None, 1.0]] * 2), "returned numbers of type object"),
        (np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 4.0), "returned masked numbers; return a plain array"),
        (np.ones((2, 0)), r"returned shape \[2, 0\] for 2 images; return \[2, d\], with d of 1 or more"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), "returned NaN or infinity"),
        (np.array([[1.0, 1e39], [1.0, 2.0]]), "returned numbers beyond float32; scale them down"),
        (np.array([[1e-39, 0.0], [1.0, 2.0]]), "too small for float32, such as 1e-39 at most for 1 of 2 images; scale"),
        (np.array([[1e-39, 0.0], [1.0, 2.0]], dtype=np.float32), "too small for float32"),
        (np.array([[1e-60, 0.0], [1.0, 2.0]]), "too small for float32, such as 1e-60"),
    ],
)
def test_vectors_that_float32_would_bend_are_refused(tmp_path, vectors, message):
    model = Model()
    model.embed = lambda images: vectors
    with pytest.raises(UserError, match=message):
        vectors_of(embedding(model, tmp_path, [sample(0, 1)], count=2, size=2), [sample(0, 1)])


@pytest.mark.parametrize(
    "vectors",
    [
        np.array([[1, 2], [0, 0]]),
        np.array([[True, False], [True, True]]),
        np.ma.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1.0, 1e-45], [2e-38, 0.0]]),
        np.ones((2, 2), dtype=np.float16),
    ],
)
def test_vectors_that_float32_holds_are_taken(tmp_path, vectors):
    model = Model()
    model.embed = lambda images: vectors
    taken = vectors_of(embedding(model, tmp_path, [sample(0, 1)], count=2, size=2), [sample(0, 1)])
    np.testing.assert_allclose(taken, np.asarray(vectors, dtype=np.float64), rtol=1e-6, atol=1e-44)


def test_vectors_of_another_width_are_refused_within_a_block_too(tmp_path):
    model = Model(limit=2)
    model.embed, calls = lambda images: np.zeros((len(images), 3 + len(calls.append(0) or calls))), []
    batches = Batches(4, "m")
    batches._too_large = 3
    store = FeatureStore(tmp_path, "e" * 64)
    with pytest.raises(UserError, match=r"vectors of 5 numbers after vectors of 4"):
        Embedding(Encoder(lambda: model, batches, store), Asking(inputs(4)), [np.arange(4)], print).ask([sample(0)])
    assert store.get([item.digest for item in inputs(4)]) is None


def test_samples_that_ask_nothing_of_a_model_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"these samples have no inputs"):
        embedding(Model(), tmp_path, [sample()]).ask([sample()])


def test_an_input_that_cannot_be_loaded_is_named(tmp_path):
    def gone():
        raise FileNotFoundError("no such image")

    broken = [Input("abcd" * 16, gone)]
    store = FeatureStore(tmp_path, "e" * 64)
    message = r"^input abcdabcdabcdabcd: the task's load\(\) failed with FileNotFoundError: no such image"
    with pytest.raises(UserError, match=message):
        Embedding(Encoder(Model, Batches(4, "m"), store), Asking(broken), [np.arange(1)], print).ask([sample(0)])
    with pytest.raises(UserError, match=message):
        Generation(Model, Asking(broken), Batches(4, "m")).ask([sample(0)])


def test_a_chunk_asks_each_of_its_prompts_once_in_order():
    model = Model()
    asked = Generation(lambda: model, Asking(inputs(6)), Batches(3, "m"))
    assert asked.chunk == 3
    assert texts_of(asked, [sample(4, 1), sample(1, 0)]) == ["0 of 3", "1 of 3", None, None, "4 of 3", None]
    assert model.batches == [[4, 1, 0]]


def test_a_chunk_is_asked_as_it_is_in_a_resumed_run():
    chunks = [[sample(0, 1), sample(2)], [sample(1), sample(3)], [sample(0, 1, 2, 3)]]
    model = Model()
    asked = Generation(lambda: model, Asking(inputs(4)), Batches(2, "m"))
    whole = [texts_of(asked, chunk) for chunk in chunks]
    for start, chunk in enumerate(chunks):
        assert texts_of(Generation(Model, Asking(inputs(4)), Batches(2, "m")), chunk) == whole[start]


@pytest.mark.parametrize("answer", [["a"], ["a", "b", "c"], ["a", 1], ["a", None]])
def test_texts_must_be_one_a_prompt(answer):
    model = Model()
    model.generate = lambda _prompts: answer
    with pytest.raises(UserError, match=rf"generate\(\) of Model returned {len(answer)} answers for 2 prompts"):
        Generation(lambda: model, Asking(inputs(2)), Batches(2, "m")).ask([sample(0, 1)])


def test_a_sample_with_a_bad_input_is_not_asked_and_says_why():
    def torn():
        raise BadSample("it is cut off", where="cat.png")

    model, all_inputs = Model(), inputs(3)
    all_inputs[1] = Input("0001", torn)
    asked = Generation(lambda: model, Asking(all_inputs), Batches(3, "m"))
    samples = [sample(0), sample(1, 2), sample(2)]
    asked.ask(samples)
    one, bad, two = asked.outcomes(samples)
    assert model.batches == [[0, 2]]
    assert one.output == two.output == ["0 of 2", None, "2 of 2"]
    assert bad.output is None
    assert "cat.png: it is cut off" in bad.fault


def test_what_a_model_cannot_read_costs_that_sample_alone():
    class Picky(Model):
        def generate(self, prompts):
            if 2 in prompts:
                raise BadSample("it is too narrow", where="the image")
            return super().generate(prompts)

    model = Picky()
    asked = Generation(lambda: model, Asking(inputs(4)), Batches(4, "m"))
    samples = [sample(0), sample(1, 2), sample(3)]
    asked.ask(samples)
    one, bad, three = asked.outcomes(samples)
    assert one.output == three.output == ["0 of 2", "1 of 2", None, "3 of 1"]
    assert bad == Outcome(None, fault="the image: it is too narrow")


class Counted(Model):
    convention = None
    costs = (PrefillCost(5, flops=10), PrefillCost(5, 3, units=Units(6, 10)), None)

    def answer(self, prompts):
        return [Answer(str(prompt), self.costs[prompt]) for prompt in prompts]

    def prefill(self, prompts):
        return lambda: None


def test_a_sample_has_the_costs_of_its_answers_in_the_order_of_its_inputs():
    asked = Generation(Counted, Asking(inputs(3)), Batches(3, "m"))
    samples = [sample(1, 2, 0), sample(2)]
    asked.ask(samples)
    assert [outcome.costs for outcome in asked.outcomes(samples)] == [(Counted.costs[1], Counted.costs[0]), ()]


def test_a_cost_that_is_something_else_is_refused():
    class Vague(Counted):
        costs = ({"flops": 7},)

    with pytest.raises(UserError, match=r"Vague gave an answer's cost as a dict; give a PrefillCost, or None"):
        Generation(Vague, Asking(inputs(1)), Batches(3, "m")).ask([sample(0)])


def test_stored_outputs_are_looked_up():
    class Stored:
        def replay(self, task, samples):
            return {"0": "yes"}

    asked = Replay(Stored, Asking(inputs(2)), [sample(0), sample(1)])
    asked.ask([sample(0), sample(1)])
    assert asked.outcomes([sample(0), sample(1)]) == [Outcome("yes"), Outcome(None, fault="no prediction")]


def test_logits_are_asked_for_each_label_word():
    class Masked:
        def __init__(self, logits):
            self.logits = logits

        def fill_mask(self, prompts):
            return [self.logits[: len(prompt.words)] for prompt in prompts]

    prompts = [MaskedPrompt((Piece("it"),), (), words) for words in (("yes", "no"), ("a", "b", "c"))]
    task, samples = Asking([Input(f"{n}", lambda n=n: prompts[n]) for n in range(2)]), [sample(0), sample(1)]
    asked = MaskFilling(lambda: Masked([0.5, 1.0, 2.0]), task, Batches(2, "m"))
    asked.ask(samples)
    assert [outcome.output for outcome in asked.outcomes(samples)] == [[[0.5, 1.0], [0.5, 1.0, 2.0]]] * 2
    with pytest.raises(UserError, match="a logit for each word of 2 prompts"):
        MaskFilling(lambda: Masked([0.5]), task, Batches(2, "m")).ask(samples)


def test_what_a_model_does_to_an_image_stays_with_it(tmp_path):
    """The task hands out one image for all questions, as one that keeps decoded images does."""
    image = Image.new("RGB", (64, 32))
    pixels = np.zeros((4, 4), dtype=np.uint8)

    class Spoiler:
        def generate(self, prompts):
            sizes = [str(prompt.images[0].size) for prompt in prompts]
            for prompt in prompts:
                prompt.images[0].thumbnail((8, 8))
            return sizes

        def embed(self, images):
            sums = [[float(image.sum())] for image in images]
            for image in images:
                image.fill(1)
            return sums

    task = Asking([Input(str(n), lambda: Prompt("?", (image,))) for n in range(3)])
    asked = Generation(Spoiler, task, Batches(2, "m"))
    assert texts_of(asked, [sample(0, 1, 2)]) == ["(64, 32)"] * 3
    task = Asking([Input(f"{n:04x}", lambda: pixels) for n in range(3)])
    store = FeatureStore(tmp_path, "m")
    asked = Embedding(
        Encoder(Spoiler, Batches(2, "m"), store), task, blocks_of(np.arange(3), [sample(0, 1, 2)], 2), print
    )
    assert vectors_of(asked, [sample(0, 1, 2)]).tolist() == [[0.0]] * 3


def test_an_image_that_its_task_keeps_is_copied_for_the_model():
    kept = Image.new("RGB", (2, 2))
    Input("a", lambda: kept).own().putpixel((0, 0), (1, 2, 3))
    assert kept.getpixel((0, 0)) == (0, 0, 0)
