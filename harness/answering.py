"""How each capability is asked: the only place that calls a model for its answers.

A sample's raw output is made in two steps, so that a failure is blamed on whose it is: `Answering.ask` runs the model's
code, `Answering.outcomes` the task's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .abilities import (
    AnswersApart,
    CountedLanguageModel,
    CountedMaskedModel,
    NamesClasses,
    Prefilling,
    PromptsClasses,
    Traceable,
)
from .contracts import Aligned, Answer, DualEncoder, Likelihood, WordLogits
from .errors import BadSample, UserError
from .faults import blamed_on
from .hashing import canonical_json, sha256_hex
from .prefill_cost import PrefillCost
from .samples import input_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from .batching import Batches
    from .cards import Capability
    from .contracts import FloatArray, Input, Json, MaskedPrompt, Sample, Task
    from .measure.timing import Passes
    from .store import AnswerStore, FeatureStore


class Outcome(NamedTuple):
    """What a sample came to before it is scored.

    Attributes:
        output: Raw output; ``None`` if there is none.
        costs: Of each of its answers that tells its cost.
        fault: Why there is no output.
    """

    output: Json
    costs: tuple[PrefillCost, ...] = ()
    fault: str = ""


class Answering(Protocol):
    """Has one model answer a task's samples."""

    chunk: int
    """Samples to score and to record at a time."""

    def ask(self, samples: Sequence[Sample]) -> None:
        """Have the model answer these samples.

        The answers do not depend on which samples were asked for before: a resumed run starts in the middle.
        """
        ...

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Return what the answers to the samples that were asked last come to."""
        ...


def blocks_of(offered: npt.NDArray[np.int64], samples: Sequence[Sample], size: int) -> list[npt.NDArray[np.int64]]:
    """Cut positions of inputs into runs of one size, and return the runs that hold an input of a sample.

    Args:
        offered: Positions in ``task.inputs`` that may be read.
        samples: All of the cell's samples.
        size: Of a run.

    Raises:
        UserError: The samples have no inputs.
    """
    needed = input_positions(samples)
    if not len(needed):
        raise UserError("these samples have no inputs", todo="give each sample its inputs")
    starts = np.unique(np.flatnonzero(np.isin(offered, needed)) // size) * size
    return [offered[start : start + size] for start in starts.tolist()]


class Encoder:
    """Has a model embed blocks of images and of texts, each once.

    Args:
        model: Returns the model; called only when something has to be encoded.
        store: Where the vectors of a block are kept.
        passes: Told what those take that embed images.
    """

    def __init__(
        self, model: Callable[[], Any], batches: Batches, store: FeatureStore, passes: Passes | None = None
    ) -> None:
        self.model, self.batches, self._store, self._passes = model, batches, store, passes

    def images(self, inputs: Sequence[Input]) -> FloatArray:
        """Return the vectors of a block of images, float32 [len(inputs), d]."""
        return self._stored([item.digest for item in inputs], lambda: _loaded(inputs), self._embed)

    def texts(self, texts: list[str]) -> FloatArray:
        """Return the vectors of a block of texts, float32 [len(texts), d]."""
        return self._stored([sha256_hex(b"text", canonical_json(text)) for text in texts], lambda: texts, _embed_texts)

    def _stored(
        self, digests: Sequence[str], load: Callable[[], list[Any]], embed: Callable[[Any, Sequence[Any]], FloatArray]
    ) -> FloatArray:
        """Return the vectors of a block: those that are stored, or what ``embed`` makes of it."""
        vectors = self._store.get(digests)
        if vectors is None:
            model = self.model()
            first, *others = self.batches(lambda batch: embed(model, batch), load())
            for other in others:
                _same_width(other, first)
            vectors = np.concatenate([first, *others])
            self._store.put(digests, vectors)
        return vectors

    def _embed(self, model: Any, images: Sequence[Any]) -> FloatArray:
        if self._passes is None:
            return _embed(model, images)
        module = model.module if isinstance(model, Traceable) else None
        return self._passes.time(lambda: _embed(model, images), len(images), module)


class Embedding:
    """Capability ``embed``: each block of inputs is encoded once, whatever task or resumed run asks for it.

    Blocks do not depend on what was stored before, so the same matrices are multiplied however often a run was
    interrupted. All of them are there before the cell's first answer.

    Args:
        encoder: Of the cell's model.
        task: Whose inputs are encoded.
        blocks: Positions of the inputs that are encoded together, from `blocks_of`.
        progress: Told (inputs answered, inputs to answer).
    """

    chunk = 500

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        blocks: Sequence[npt.NDArray[np.int64]],
        progress: Callable[[int, int], None],
    ) -> None:
        self._encoder, self._progress = encoder, progress
        self._task, self._inputs, self._blocks = task, task.inputs, blocks
        self._answers: FloatArray | Aligned | None = None

    def ask(self, samples: Sequence[Sample]) -> None:  # noqa: ARG002 - they are among the cell's
        """Encode all blocks that the cell needs, unless that was done."""
        if self._answers is None:
            self._answers = self._answer()

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Hand float32 [len(inputs), d] to the task; rows of blocks that no sample of the cell needs are zero."""
        return [Outcome(output) for output in self._task.outputs(samples, self._answers)]

    def _answer(self) -> FloatArray | Aligned:
        return self._encode()

    def _encode(self) -> FloatArray:
        done, total = 0, sum(map(len, self._blocks))
        vectors = np.zeros((0, 0), dtype=np.float32)
        for block in self._blocks:
            encoded = self._encoder.images([self._inputs[position] for position in block.tolist()])
            if done == 0:
                vectors = np.zeros((len(self._inputs), encoded.shape[1]), dtype=np.float32)
            _same_width(encoded, vectors)
            vectors[block] = encoded
            done += len(block)
            self._progress(done, total)
        return vectors


class Aligning(Embedding):
    """Capability ``dual``: images as for ``embed``, and each template with each name of a class, once.

    Of a model with prompts of its own, an image's vector holds its scores for the classes; a class's is then the unit
    vector of its own score, so that the nearest class is the one with the highest score.
    """

    def _answer(self) -> Aligned:
        if not isinstance(self._task, NamesClasses):
            raise UserError("a task that needs dual has class_names and templates", todo="see docs/plugins.md")
        images = self._encode()
        return Aligned(images, self._encode_texts(self._task.class_names, self._task.templates, images))

    def _encode_texts(self, names: Sequence[str], templates: Sequence[str], images: FloatArray) -> FloatArray:
        if not isinstance(self._encoder.model(), DualEncoder):
            return np.repeat(np.eye(len(names), dtype=np.float32)[:, np.newaxis], len(templates), axis=1)
        texts = [template.replace("{}", name) for name in names for template in templates]
        size = self._encoder.batches.size
        blocks = [texts[start : start + size] for start in range(0, len(texts), size)]
        vectors = np.concatenate([self._encoder.texts(block) for block in blocks])
        _same_width(vectors, images)
        return vectors.reshape(len(names), len(templates), -1)


def _loaded(inputs: Sequence[Input]) -> list[Any]:
    loaded: list[Any] = []
    with blamed_on("the task's load()", lambda: f"input {inputs[len(loaded)].digest[:16]}"):
        for item in inputs:
            loaded.append(item.own())  # noqa: PERF401 - how many there are tells which one failed
    return loaded


def _embed(model: Any, images: Sequence[Any]) -> FloatArray:
    return _vectors(model, "embed", images, "images")


def _embed_texts(model: Any, texts: Sequence[str]) -> FloatArray:
    return _vectors(model, "embed_texts", texts, "texts")


def _vectors(model: Any, method: str, items: Sequence[Any], noun: str) -> FloatArray:
    returned, said = getattr(model, method)(items), f"{method}() of {type(model).__name__} returned"
    if np.ma.is_masked(returned):
        raise UserError(f"{said} masked numbers", todo="return a plain array")
    given = np.asarray(returned)
    if given.ndim != 2 or len(given) != len(items) or not given.shape[1]:
        raise UserError(
            f"{said} shape {list(given.shape)} for {len(items)} {noun}",
            todo=f"return [{len(items)}, d], with d of 1 or more",
        )
    if given.dtype.kind not in _REAL:
        raise UserError(f"{said} numbers of type {given.dtype}", todo="return real numbers, such as float32")
    return _as_float32(given, said, noun)


_REAL = "fiub"
"""Kinds of NumPy's types whose numbers float32 can hold, if it is large enough."""


def _as_float32(given: npt.NDArray[Any], said: str, noun: str) -> FloatArray:
    """Return vectors as they are stored, unless float32 would make others of them.

    Raises:
        UserError: A number is not finite or beyond float32, or the largest of a vector is so small that float32 holds
            few of its digits.
    """
    largest = np.abs(given).max(axis=1)
    with np.errstate(over="ignore", under="ignore"):
        vectors = given.astype(np.float32, copy=False)
        finite = np.isfinite(largest.astype(np.float32, copy=False)).all()
    if not finite:
        lost = bool(np.isfinite(largest).all())
        what = "numbers beyond float32" if lost else "NaN or infinity"
        raise UserError(f"{said} {what}", todo="scale them down" if lost else "return finite numbers")
    small = (largest > 0) & (largest < np.finfo(np.float32).tiny)
    if small.any():
        what = f"vectors that are too small for float32, such as {float(largest[small].min()):.1g} at most"
        raise UserError(f"{said} {what} for {int(small.sum())} of {len(given)} {noun}", todo="scale them up")
    return vectors


def _same_width(vectors: FloatArray, before: FloatArray) -> None:
    if vectors.shape[1] != before.shape[1]:
        raise UserError(
            f"embed() returned vectors of {vectors.shape[1]} numbers after vectors of {before.shape[1]}",
            todo="one model has one width",
        )


class Generation:
    """Capability ``generate``: texts are kept in the records, so a resumed run asks only what is not recorded.

    A chunk has as many samples as a batch has inputs, and asks for all that they need, whether or not an earlier chunk
    asked for it too. A sample one of whose inputs is a `BadSample`, to the task or to the model, has no answer and says
    why.

    Args:
        model: Returns the model.
        task: Whose inputs are asked.
        batches: Of inputs.
        store: Where answers are kept until they are recorded, of a model that answers each input apart.
    """

    def __init__(
        self, model: Callable[[], Any], task: Task, batches: Batches, store: AnswerStore | None = None
    ) -> None:
        self._model, self._task, self._batches, self._store = model, task, batches, store
        self._contents: list[Json] = [None] * len(task.inputs)
        self._answers: dict[int, Outcome] = {}
        self._faults: dict[int, str] = {}
        self.chunk = batches.size

    def ask(self, samples: Sequence[Sample]) -> None:
        """Have the model answer what the samples need."""
        needed = dict.fromkeys(int(i) for sample in samples for i in sample.inputs)
        self._faults, prompts = {}, {}
        for position in needed:
            try:
                prompts[position] = _loaded([self._task.inputs[position]])[0]
            except BadSample as error:
                self._faults[position] = str(error)
        model = self._model()
        if isinstance(model, AnswersApart) and self._store is not None:
            answers = self._each(model, prompts, self._store)
        else:
            batches = self._batches(lambda batch: self._asked(model, batch), list(prompts.values()))
            answers = [answer for batch in batches for answer in batch]
        for position in self._answers:
            self._contents[position] = None
        self._answers = dict(zip(prompts, answers, strict=True))
        for position, answer in self._answers.items():
            self._contents[position] = answer.output
            if answer.fault:
                self._faults[position] = answer.fault

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Hand the answers to the task; ``None`` stands for those that none of these samples needs."""
        faults = [next((self._faults[i] for i in s.inputs if i in self._faults), "") for s in samples]
        whole = [sample for sample, fault in zip(samples, faults, strict=True) if not fault]
        outputs = self._task.outputs(whole, self._contents) if whole else ()
        costs = {s.id: tuple(cost for place in s.inputs for cost in self._answers[place].costs) for s in whole}
        said = {s.id: Outcome(output, costs[s.id]) for s, output in zip(whole, outputs, strict=True)}
        return [said.get(s.id) or Outcome(None, fault=fault) for s, fault in zip(samples, faults, strict=True)]

    def _each(self, model: AnswersApart, prompts: Mapping[int, Any], store: AnswerStore) -> list[Outcome]:
        """Answers of a model that answers each input apart: those that are stored, and the others as they come."""
        digests = {place: self._task.inputs[place].digest for place in prompts}
        left = list({digests[place]: place for place in prompts if store.get(digests[place]) is None}.values())
        for place, answer in model.ask_each([prompts[place] for place in left]):
            found = Outcome(None, fault=str(answer)) if isinstance(answer, BadSample) else _outcome(model, answer)
            store.put(digests[left[place]], [found.output, [cost.to_json() for cost in found.costs], found.fault])
        stored = [kept for place in prompts if (kept := store.get(digests[place])) is not None]
        if len(stored) < len(prompts):
            raise UserError(
                f"ask_each() of {type(model).__name__} left inputs of {len(left)} without an answer",
                todo="yield one answer per input",
            )
        return [Outcome(output, tuple(map(PrefillCost.from_json, costs)), fault) for output, costs, fault in stored]

    def _asked(self, model: Any, batch: Sequence[Any]) -> list[Outcome]:
        """Answers to a batch; inputs that the model cannot read are found by halving; the others still get answers."""
        try:
            return self._answered(model, batch)
        except BadSample as error:
            if len(batch) == 1:
                return [Outcome(None, fault=str(error))]
        middle = len(batch) // 2
        return self._asked(model, batch[:middle]) + self._asked(model, batch[middle:])

    def _answered(self, model: Any, batch: Sequence[Any]) -> list[Outcome]:
        return [_outcome(model, answer) for answer in _answered(model, batch)]


class Likelihoods(Generation):
    """Capability ``language``: as texts are, log-probabilities are kept in the records."""

    def _answered(self, model: Any, batch: Sequence[Any]) -> list[Outcome]:
        return [_outcome(model, found) for found in _likelihoods(model, batch)]


class MaskFilling(Generation):
    """Capability ``masked``: as texts are, logits are kept in the records."""

    def _answered(self, model: Any, batch: Sequence[Any]) -> list[Outcome]:
        return [Outcome(list(found.logits), _told(model, found)) for found in _filled(model, batch)]


def _outcome(model: Any, answer: Answer | Likelihood) -> Outcome:
    output = answer.text if isinstance(answer, Answer) else [answer.logprob, answer.greedy]
    return Outcome(output, _told(model, answer))


def _answered(model: Any, prompts: Sequence[Any]) -> list[Answer]:
    counted = isinstance(model, Prefilling)
    texts = list(model.answer(prompts) if counted else model.generate(prompts))
    answers = [text if isinstance(text, Answer) else Answer(text) for text in texts]
    if len(texts) != len(prompts) or not all(isinstance(answer.text, str) for answer in answers):
        raise UserError(
            f"{'answer' if counted else 'generate'}() of {type(model).__name__} returned {len(texts)} answers for "
            f"{len(prompts)} prompts",
            todo="return one text per prompt",
        )
    return answers


def _likelihoods(model: Any, pairs: Sequence[tuple[str | None, str]]) -> list[Likelihood]:
    if isinstance(model, CountedLanguageModel):
        found = list(model.likelihoods(pairs))
    else:
        found = [Likelihood(float(value), bool(greedy)) for value, greedy in model.loglikelihood(pairs)]
    if len(found) != len(pairs):
        raise UserError(
            f"{type(model).__name__} returned {len(found)} log-likelihoods for {len(pairs)} pairs",
            todo="return one per pair",
        )
    return found


def _filled(model: Any, prompts: Sequence[MaskedPrompt]) -> list[WordLogits]:
    if isinstance(model, CountedMaskedModel):
        found = list(model.filled(prompts))
    else:
        found = [WordLogits(tuple(map(float, logits))) for logits in model.fill_mask(prompts)]
    if [len(one.logits) for one in found] != [len(prompt.words) for prompt in prompts]:
        raise UserError(
            f"fill_mask() of {type(model).__name__} did not return a logit for each word of {len(prompts)} prompts",
            todo="return one per label word",
        )
    return found


def _told(model: Any, answer: Answer | Likelihood | WordLogits) -> tuple[PrefillCost, ...]:
    """The cost of an answer, if the model tells it."""
    if isinstance(answer.cost, PrefillCost):
        return (answer.cost,)
    if answer.cost is not None:
        raise UserError(
            f"{type(model).__name__} gave an answer's cost as a {type(answer.cost).__name__}",
            todo="give a PrefillCost, or None",
        )
    return ()


def asked_for(model: Any, task: Task) -> Any:
    """The model, or what a model with prompts of its own makes of the classes that a task names."""
    if isinstance(model, PromptsClasses) and isinstance(task, NamesClasses):
        return model.for_classes(task.class_names)
    return model


def ask_at_once(model: Any, capability: Capability, loaded: Sequence[Any]) -> object:
    """Have a model answer loaded inputs as one batch; on return the answers are in the processor's memory."""
    ways: dict[Capability, Callable[[Any, Sequence[Any]], object]] = {
        "embed": _embed, "dual": _embed, "generate": _answered, "language": _likelihoods, "masked": _filled,
    }  # fmt: skip
    return ways[capability](model, loaded)


class Replay:
    """A model whose outputs were stored: it is asked for nothing but those."""

    chunk = 500

    def __init__(self, model: Callable[[], Any], task: Task, samples: Sequence[Sample]) -> None:
        self._model, self._task, self._samples = model, task, samples
        self._outputs: Mapping[str, Json] | None = None

    def ask(self, samples: Sequence[Sample]) -> None:  # noqa: ARG002 - all are looked up at once
        """Look the task's outputs up, unless that was done."""
        if self._outputs is None:
            self._outputs = self._model().replay(self._task, self._samples)

    def outcomes(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Return the stored outputs; a sample without one is not scored."""
        stored = self._outputs or {}
        return [Outcome(stored[s.id]) if s.id in stored else Outcome(None, fault="no prediction") for s in samples]
