"""What a model and a task must be.

Everything here is structural: a class that has the right methods satisfies a contract without importing AdaptBench.
Subclassing a protocol explicitly is allowed too, and gives the defaults that it states.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from .lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from .cards import TaskCard
    from .prefill_cost import PrefillCost

    FloatArray: TypeAlias = npt.NDArray[np.float32]

Json: TypeAlias = Any
"""A value that JSON can hold: ``None``, bool, int, finite float, str, and lists and string-keyed dicts of these."""


@runtime_checkable
class _Copied(Protocol):
    """An image, or pixels."""

    def copy(self) -> Any: ...


@functools.cache
def _is_copied(kind: type) -> bool:
    """Ask once per type: it takes longer than to copy a small image."""
    return issubclass(kind, _Copied)


@dataclass(frozen=True)
class Input:
    """One thing that a model is asked, read and decoded only when it is needed.

    Attributes:
        digest: Hash of the content; equal content has an equal digest, and features are cached by it. May be given as
            a function that returns it.
        load: Returns what the capability takes: a PIL image in mode RGB for ``embed`` and ``dual``, a `Prompt` for
            ``generate``, a pair (context or None, continuation) for ``language``, a `MaskedPrompt` for ``masked``.
    """

    digest: Lazy[str] = Lazy()  # noqa: RUF009 - a descriptor
    load: Callable[[], Any]  # type: ignore[misc]  # the field before it has a descriptor, not a default

    def own(self) -> Any:
        """Load it for a model, whose own it is: images are copies, so what a model does to them stays with it."""
        loaded = self.load()
        if isinstance(loaded, Prompt):
            return replace(loaded, images=tuple(image.copy() for image in loaded.images)) if loaded.images else loaded
        return loaded.copy() if _is_copied(type(loaded)) else loaded  # type: ignore[arg-type]  # types can be hashed


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a `Generator` is asked: a message, and the images that it speaks of.

    How a message becomes a conversation, and where the images go, is up to the model.

    Attributes:
        text: The user's message, with no placeholder for the images.
        images: In mode RGB.
        digests: Content digest of each image. Images of equal digests have equal pixels, so that a model may use again
            what it computed for one of them. Empty where they are not known.
        max_new_tokens: Tokens after which an answer ends.
        stop: Texts at which an answer ends; they are not part of it.
    """

    text: str
    images: tuple[Image, ...] = ()
    digests: tuple[str, ...] = ()
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()


class Piece(NamedTuple):
    """A part of a `MaskedPrompt`.

    Attributes:
        text: Tokenised by itself, without special tokens.
        limit: Tokens of it that are read, the first ones; all if ``None``.
    """

    text: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class MaskedPrompt:
    """What a `MaskedModel` is asked: which of a few words stands at the mask.

    The model's first special token, the tokens of the pieces with the mask between them, and one separator are joined
    as they are.

    Attributes:
        before: What comes before the mask.
        after: What comes after it.
        words: Label words. With a blank before it, each is one token to the model.
        max_tokens: Of the whole; what is beyond is cut off at the end.
    """

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    words: tuple[str, ...]
    max_tokens: int = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what it cost.

    Attributes:
        text: What the model said.
        cost: Of the prefill; ``None`` if the model does not tell.
    """

    text: str
    cost: PrefillCost | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable a continuation is, with what it cost to find out.

    Attributes:
        logprob: Natural logarithm of the probability of all of its tokens after the context.
        greedy: Whether each of them is the most probable one.
        cost: As that of an `Answer`, of all its passes together.
    """

    logprob: float
    greedy: bool
    cost: PrefillCost | None = None


@dataclass(frozen=True, slots=True)
class WordLogits:
    """What a model says of each label word, with what it cost to find out.

    Attributes:
        logits: One per word, in their order.
        cost: As that of an `Answer`.
    """

    logits: tuple[float, ...]
    cost: PrefillCost | None = None


@dataclass(frozen=True)
class Sample:
    """One scored unit of a task: a question, or an episode.

    Attributes:
        id: Unique within the task, stable over time.
        inputs: Positions in ``task.inputs`` of what a model must have answered before this sample can be scored.
        target: The right answer.
        group: Name shared by samples that are not independent (questions on one image); intervals are clustered by it.
            May be given as a function that returns it.
        subsets: Axis -> the sample's subset, such as ``{"split": "random"}``; scores are given for each.
    """

    id: str
    inputs: Sequence[int]
    target: Json = None
    group: Lazy[str | None] = Lazy(None)  # noqa: RUF009 - a descriptor
    subsets: Mapping[str, str] = field(default_factory=dict)


class Episode(NamedTuple):
    """What a sample of many images asks: of which of a few classes each query image is.

    Attributes:
        classes: Their names, [ways], by the number that answers give.
        support: Positions in ``task.inputs`` of the images that are given of each class, [ways][shots].
        query: Positions of the images that are asked about, [ways][queries], by the class that they are of.
    """

    classes: tuple[str, ...]
    support: Sequence[Sequence[int]]
    query: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of n samples, for metrics that are not a mean over samples.

    Attributes:
        values: Metric -> float64 [n].
        subsets: Axis -> object array [n] of names; empty text where a sample is not on the axis.
        weights: How often each sample counts, float64 [n]: 1 for the value itself, other whole numbers when its
            interval is drawn. Metrics must use them.
        ids: Of the samples, [n], for metrics that need more than the scores; empty if not given.
        parsed: What the rule read out of each output, [n]; empty if not given.
        kept: One dictionary for all calls about the same samples, empty at first: here metrics may keep what does not
            depend on ``weights``, since an interval asks a thousand times.
    """

    values: Mapping[str, npt.NDArray[np.float64]]
    subsets: Mapping[str, npt.NDArray[np.object_]]
    weights: npt.NDArray[np.floating[Any]]
    ids: Sequence[str] = ()
    parsed: Sequence[Json | None] = ()
    kept: dict[str, Any] = field(default_factory=dict)

    def mean(self, metric: str, where: npt.NDArray[np.bool_] | None = None) -> float:
        """Weighted mean of a metric, of all samples or of those where ``where`` is true; NaN of no samples."""
        weights = self.weights if where is None else self.weights * where
        total = float(weights.sum())
        return float(weights @ self.values[metric]) / total if total else math.nan


@dataclass(frozen=True, slots=True)
class Predictions:
    """Raw outputs made elsewhere, matched with the samples of a task.

    Attributes:
        outputs: Sample id -> raw output.
        unmatched: Names of predictions that belong to no sample of the task.
        notes: What a reader must know, such as that the last of two predictions for one question was taken.
        inputs: Sample id -> hash of the inputs that its output answers, where it is stated.
        read: What was found, what was left out and why, in one line.
    """

    outputs: Mapping[str, Json]
    unmatched: Sequence[str] = ()
    notes: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    read: str = ""


@runtime_checkable
class Embedder(Protocol):
    """Capability ``embed``."""

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return one vector per image: float array of shape [len(images), d], d the same in every call."""
        ...


@runtime_checkable
class DualEncoder(Embedder, Protocol):
    """Capability ``dual``: an `Embedder` that embeds texts in the same space."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return one vector per text: float array of shape [len(texts), d], with the d of `embed`."""
        ...


class Aligned(NamedTuple):
    """Answers to a task of the capability ``dual``, whose `abilities.NamesClasses` says what the texts are.

    Attributes:
        images: ``images[i]`` embeds ``inputs[i]``: float32 [len(inputs), d]. Only rows that samples name are filled.
        texts: ``texts[c, t]`` embeds template t with the name of class c: float32 [classes, templates, d].
    """

    images: FloatArray
    texts: FloatArray


@runtime_checkable
class Generator(Protocol):
    """Capability ``generate``."""

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """Return one text per prompt, in order."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """Capability ``language``."""

    def loglikelihood(self, pairs: Sequence[tuple[str | None, str]]) -> Sequence[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether greedy decoding would say it.

        Args:
            pairs: (context, continuation). A context that is empty is the start of a text. Where it is ``None``, the
                continuation may be longer than the model can read at once, and is read in windows, each token once.
        """
        ...


@runtime_checkable
class MaskedModel(Protocol):
    """Capability ``masked``."""

    def fill_mask(self, prompts: Sequence[MaskedPrompt]) -> Sequence[Sequence[float]]:
        """Return for each prompt the logits of its label words at the mask.

        Raises:
            UserError: A label word is not one token to the model.
        """
        ...


class Task(Protocol):
    """Samples, what a model is asked for them, and how its answers are scored.

    A sample's way through a cell: the model answers ``inputs``; `outputs` makes of the answers the sample's raw
    output, which is stored; `parse` and `score`, together the scoring rule, turn that into scores.

    ``inputs`` and ``samples`` may be properties, or attributes that ``__init__`` sets.
    """

    card: TaskCard

    def __init__(self) -> None:
        """Take no arguments; without this, typing gives a subclass an ``__init__`` that seems to take any."""

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """All that a model may be asked; for ``embed`` and ``dual`` each content once: vectors are kept by it."""
        ...

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """The samples, in an order that never changes."""
        ...

    def outputs(self, samples: Sequence[Sample], answers: Any) -> Sequence[Json]:
        """Return the raw output of each sample.

        Args:
            samples: Some of ``self.samples``.
            answers: ``answers[i]`` is the model's answer to ``inputs[i]``: for ``embed`` a float32 array
                [len(inputs), d], for ``generate`` a list of texts, for ``language`` a list of [log-probability,
                greedy], for ``masked`` a list of lists of logits. Only the rows that ``samples`` name are filled. For
                ``dual`` they are `Aligned`.
        """
        return [answers[sample.inputs[0]] for sample in samples]

    def parse(self, sample: Sample, output: Json) -> Json | None:  # noqa: ARG002 - some rules look at the options
        """Read the answer out of a raw output; ``None`` if it contains no answer."""
        return output

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return a value for each metric of the card, or ``None`` for "cannot be scored", which is not "wrong".

        By default 1 if what was parsed equals the target, else 0, for the card's first metric.
        """
        return {self.card.metrics[0].name: float(parsed == sample.target)}

    def aggregate(self, scores: Scores) -> Mapping[str, float]:  # noqa: ARG002 - most tasks have none
        """Return the card's derived metrics, such as an F1, from the scores of samples; NaN where there is none.

        It is asked for all samples, for every subset, and for samples drawn again when intervals are made.
        """
        return {}


@dataclass(frozen=True, slots=True)
class Record:
    """One sample's outcome in one cell: a line of ``records.jsonl``.

    Attributes:
        sample: The sample's id.
        input: Hash over the digests of the sample's inputs.
        output: Raw output, as the model gave it.
        parsed: What the scoring rule read out of it.
        scores: Metric -> value; ``None`` when the sample could not be scored.
        costs: Of each of the sample's answers that tells its cost, in the order of its inputs. For ``embed`` and
            ``dual`` a single one, with the FLOPs of all inputs.
        group: Name shared by samples that are not independent.
        fault: Why the model was not asked, such as an image that cannot be read.
    """

    sample: str
    input: str
    output: Json
    parsed: Json = None
    scores: Mapping[str, float] | None = None
    costs: tuple[PrefillCost, ...] = ()
    group: str | None = None
    fault: str = ""
