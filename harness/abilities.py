"""What a model, a task or a factory may do besides its contract: optional, and asked by ``isinstance``.

As with contracts, a class has an ability by having its methods and attributes; it need not import AdaptBench.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .cards import ModelCard, TaskCard
    from .contracts import (
        Answer,
        Embedder,
        Episode,
        Input,
        Json,
        Likelihood,
        MaskedPrompt,
        Predictions,
        Prompt,
        Sample,
        Scores,
        Task,
        WordLogits,
    )
    from .errors import BadSample
    from .measure.counting import Blueprint
    from .transformer import Architecture


# Of models


@runtime_checkable
class HasModule(Protocol):
    """A model that one ``torch.nn.Module`` does the work of; it tells the parameters and the device."""

    module: Any


@runtime_checkable
class HasNetwork(Protocol):
    """A model whose weights other methods may change: one ``torch.nn.Module`` holds them all."""

    network: Any
    """That module. Of a model that embeds images, ``module`` wraps it, and gradients go through both."""

    def with_network(self, network: Any) -> Self:
        """Return the same model around another network of the same kind; this one stays as it is."""
        ...


@runtime_checkable
class Traceable(HasModule, Protocol):
    """A torch model whose forward pass can be counted and timed.

    A model that lacks this is still scored and timed whole; its FLOPs are shown as not counted.
    """

    def prepare(self, inputs: Sequence[Any]) -> Mapping[str, Any]:
        """Turn loaded inputs into the keyword arguments of ``module`` (tensors, first axis = input)."""
        ...


@runtime_checkable
class Prefilling(Protocol):
    """A `Generator` whose prefill is counted and timed. Without it, answers have no cost."""

    convention: Mapping[str, Any]
    """How ``flops`` are counted: ``phase``, ``counter``, ``attention`` and, if any are, ``waived`` of a `FlopCount`."""

    def answer(self, prompts: Sequence[Prompt]) -> Sequence[Answer]:
        """Return what `Generator.generate` returns, with the cost of each answer."""
        ...

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what does the whole prefill of these prompts once, sharing nothing with any other call."""
        ...


Mark: TypeAlias = "Callable[[str], None]"
"""Is called with a stage of `results.STAGES` when some of its work is issued: all since the last call was of it."""


@runtime_checkable
class Staged(Protocol):
    """A `Prefilling` model that says which stage its prefill is in, so that each is timed besides."""

    def stages(self, prompts: Sequence[Prompt]) -> Callable[[Mark], object]:
        """Return what does what `Prefilling.prefill` returns does, reads one more token of each answer, and marks all.

        It need not wait for the device before it marks. Only the last mark is of the stage ``token``.
        """
        ...


@runtime_checkable
class SaysWhyUncounted(Protocol):
    """A model that counts what its answers cost, which may come without ``flops``."""

    uncounted: str
    """The reason; empty if there is none."""


@runtime_checkable
class CountedLanguageModel(Protocol):
    """A `LanguageModel` that tells what its answers cost."""

    convention: Mapping[str, Any]
    """As that of `Prefilling`."""

    def likelihoods(self, pairs: Sequence[tuple[str | None, str]]) -> Sequence[Likelihood]:
        """Return what `LanguageModel.loglikelihood` returns, with the cost of each."""
        ...


@runtime_checkable
class AnswersApart(Protocol):
    """A model that answers each input apart, such as one that a server runs.

    What it has answered is kept when it fails at the next input, so that nothing is asked twice. It is not timed.
    """

    convention: Mapping[str, Any]
    """As that of `Prefilling`."""

    def ask_each(
        self, asked: Sequence[Prompt] | Sequence[tuple[str | None, str]]
    ) -> Iterator[tuple[int, Answer | Likelihood | BadSample]]:
        """Yield the place of each input with its answer, as they come.

        That is an `Answer` to a prompt, and a `Likelihood` of a pair; a `BadSample` says why this input has none. What
        was asked before an exception is answered before it.
        """
        ...


@runtime_checkable
class CountedMaskedModel(Protocol):
    """A `MaskedModel` whose pass over a prompt is counted and timed."""

    convention: Mapping[str, Any]
    """As that of `Prefilling`."""

    def filled(self, prompts: Sequence[MaskedPrompt]) -> Sequence[WordLogits]:
        """Return what `MaskedModel.fill_mask` returns, with the cost of each."""
        ...

    def prefill(self, prompts: Sequence[MaskedPrompt]) -> Callable[[], object]:
        """Return what runs these prompts once."""
        ...


@runtime_checkable
class HasArchitecture(Protocol):
    """A model whose prefills can be predicted for accelerators."""

    architecture: Architecture


@runtime_checkable
class Sweepable(Protocol):
    """A model that can be in memory at several budgets at once. Without it, a sweep goes budget by budget.

    What is asked of all budgets is asked of them in turn, so that what does not depend on the budget can be done once.
    """

    def for_sweep(self) -> Any:
        """Return the same model, to put the methods on that take a budget: what they make of it remembers more."""
        ...

    def shares_weights(self, other: Any) -> bool:
        """Whether another model was made from this one, and the next one made alike will take no more weights."""
        ...


@runtime_checkable
class Reusable(Protocol):
    """A model that stays in memory for the next spec of the same base. Without it, each spec loads its base again.

    So weights are read once, and what the model remembers of inputs serves all methods.
    """

    def as_loaded(self) -> Any:
        """Return the same model, as it was loaded, to put methods on; ``None`` if something has changed it since."""
        ...

    def shares_weights(self, other: Any) -> bool:
        """Whether another model was made from this one and has the same weights."""
        ...


@runtime_checkable
class Replayed(Protocol):
    """A model whose answers were given elsewhere: it is not asked, its outputs are looked up."""

    def replay(self, task: Task, samples: Sequence[Sample]) -> Mapping[str, Json]:
        """Return sample id -> raw output, for those of these samples of the task that it has an output for."""
        ...


@runtime_checkable
class HasNotes(Protocol):
    """A model or a task that says what readers of its results must know, such as settings or images that it ignores."""

    notes: Sequence[str]
    """They come into ``result.json`` and onto the board."""


@runtime_checkable
class PromptsClasses(Protocol):
    """A `contracts.DualEncoder` with prompts of its own, such as CoCoOp's: it is given names of classes, not texts."""

    def for_classes(self, names: Sequence[str]) -> Embedder:
        """Return what embeds an image as its scores for classes, the larger the likelier: [images, classes]."""
        ...


# Of tasks


@runtime_checkable
class NamesClasses(Protocol):
    """A task of the capability ``dual``: besides inputs, it asks for each of its templates with each name, once."""

    class_names: Sequence[str]
    templates: Sequence[str]
    """Each has one ``{}``, where the name goes."""


@runtime_checkable
class Aggregating(Protocol):
    """A task whose card has derived metrics. Subclasses of `Task` have this."""

    def aggregate(self, scores: Scores) -> Mapping[str, float]:
        """See `Task.aggregate`."""
        ...


@runtime_checkable
class Rescorable(Protocol):
    """A task that can score by another rule of its card without reading its data again."""

    def under(self, rule: str) -> Task:
        """Return the same samples under another rule."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A task that says more of scores than metrics do, such as how far several runs of a judge lie apart."""

    def remarks(self, parsed: Sequence[Json]) -> Sequence[str]:
        """Return it, one line each, of what was parsed of each scored sample."""
        ...


@runtime_checkable
class SaysWhatItRead(Protocol):
    """A task whose samples come out of files."""

    read: str
    """What was found, what was left out and why, in one line; see `predictions.what_was_read`."""


@runtime_checkable
class PredictionReader(Protocol):
    """A task that reads predictions in formats of its own, besides AdaptBench's."""

    def predictions(self, path: Path) -> Predictions:
        """Read a file or a folder.

        Raises:
            UserError: It cannot be read; the message names file, line and reason.
        """
        ...


@runtime_checkable
class SubmissionWriter(Protocol):
    """A task that writes the official file of a benchmark that a server scores."""

    def write_submission(self, outputs: Mapping[str, Json], path: Path) -> None:
        """Write the file.

        Args:
            outputs: Sample id -> raw output.
            path: Where to write it.

        Raises:
            UserError: No server scores this benchmark, or outputs are missing.
        """
        ...


@runtime_checkable
class Episodes(Protocol):
    """What a task drew, such as a `tasks.fewshot.episodes.Manifest`."""

    @property
    def digest(self) -> str:
        """Hash of the content: the name of the file."""
        ...

    def write(self, path: Path) -> None:
        """Write the file."""
        ...


@runtime_checkable
class HasEpisodes(Protocol):
    """A task whose draws are kept in the run directory, to be replayed."""

    manifest: Episodes


@runtime_checkable
class AsksEpisodes(Protocol):
    """A task whose samples are episodes, which can be shown to people."""

    def episode(self, sample: Sample) -> Episode | None:
        """Return what a sample asks; ``None`` if it is not an episode."""
        ...


@runtime_checkable
class FewShotTask(Protocol):
    """A task whose episodes can be selected, and finetuned on."""

    @property
    def inputs(self) -> Sequence[Input]:
        """The images, each content once."""
        ...

    @property
    def input_classes(self) -> Sequence[str]:
        """Class of each input."""
        ...

    @property
    def manifest(self) -> Any:
        """The episodes, as positions in ``inputs``: ``support`` [episodes, ways, shots] and ``query`` [.., queries]."""
        ...


# Of models, tasks and their factories


@runtime_checkable
class HasName(Protocol):
    """A model or a task that says what it is called when it is handed to the API; else its class does."""

    name: str


@runtime_checkable
class HasCard(Protocol):
    """A model or a task with a card of its own. Every task needs one when it is handed to the API."""

    card: ModelCard | TaskCard


@runtime_checkable
class HasFingerprint(Protocol):
    """A model or a task that says which version of it this is, instead of being hashed (see `harness.identity`)."""

    fingerprint: str


@runtime_checkable
class FingerprintingFactory(Protocol):
    """A registered factory that says which version of a model or a task it will make, without making it."""

    def fingerprint(self, **arguments: Any) -> str:
        """Return what tells it from others, such as the hash of the weights, given the factory's arguments."""
        ...


@runtime_checkable
class Described(Protocol):
    """A registered factory that knows the architecture of the model it makes, so that it can be priced."""

    def blueprint(self, **arguments: Any) -> Blueprint:
        """Return the architecture, given the factory's arguments; no weights are read."""
        ...


@runtime_checkable
class ShipsCheckpoints(Protocol):
    """A registered factory of a model with which checkpoints of methods ship."""

    checkpoints: Mapping[str, Mapping[str, str]]
    """Method -> name, ``auto`` for the usual one -> folder."""
