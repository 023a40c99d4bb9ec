"""How each capability is asked: the only place that calls a model for its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import UserError
from .faults import blamed_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .batching import Batches
    from .contracts import FloatArray, Input, Sample
    from .store import FeatureStore


class Answering(Protocol):
    """Answers a task's inputs with one model."""

    chunk: int
    """Samples to score and to record at a time."""

    def answers(self, samples: Sequence[Sample]) -> Any:
        """Return ``answers`` as `Task.outputs` takes them, filled at least for these samples.

        They do not depend on which samples were asked for before: a resumed run starts in the middle.
        """
        ...


class Embedding:
    """Capability ``embed``: each block of inputs is encoded once, whatever task or resumed run asks for it.

    Blocks are fixed runs of the task's inputs. They do not depend on what was stored before, so the same matrices are
    multiplied however often a run was interrupted. All blocks that the cell needs are there before its first answer.

    Args:
        model: Returns the model; called only when something has to be encoded.
        inputs: All of the task's inputs.
        samples: All of the cell's samples.
        progress: Told (inputs answered, inputs to answer).
    """

    chunk = 500

    def __init__(
        self,
        model: Callable[[], Any],
        inputs: Sequence[Input],
        samples: Sequence[Sample],
        batches: Batches,
        store: FeatureStore,
        progress: Callable[[int, int], None],
    ) -> None:
        self._model, self._batches, self._store, self._progress = model, batches, store, progress
        self._inputs, self._samples = inputs, samples
        self._vectors: FloatArray | None = None

    def answers(self, samples: Sequence[Sample]) -> FloatArray:  # noqa: ARG002 - they are among the cell's
        """Return float32 [len(inputs), d]; rows of blocks that no sample of the cell needs are zero."""
        vectors = self._vectors if self._vectors is not None else self._encode()
        self._vectors = vectors
        return vectors

    def _encode(self) -> FloatArray:
        size = self._batches.size
        needed = np.unique(np.concatenate([np.asarray(s.inputs, dtype=np.int64) for s in self._samples]) // size)
        if not len(needed):
            raise UserError("these samples ask nothing of a model", todo="give each sample its inputs")
        rows = [range(len(self._inputs))[block * size : (block + 1) * size] for block in needed.tolist()]
        done, total = 0, sum(map(len, rows))
        vectors = np.zeros((0, 0), dtype=np.float32)
        for block in rows:
            encoded = self._block(self._inputs[block.start : block.stop])
            if done == 0:
                vectors = np.zeros((len(self._inputs), encoded.shape[1]), dtype=np.float32)
            _same_width(encoded, vectors)
            vectors[block.start : block.stop] = encoded
            done += len(block)
            self._progress(done, total)
        return vectors

    def _block(self, inputs: Sequence[Input]) -> FloatArray:
        digests = [item.digest for item in inputs]
        vectors = self._store.get(digests)
        if vectors is None:
            model = self._model()
            first, *others = self._batches(lambda batch: _embed(model, batch), _loaded(inputs))
            for other in others:
                _same_width(other, first)
            vectors = np.concatenate([first, *others])
            self._store.put(digests, vectors)
        return vectors


def _loaded(inputs: Sequence[Input]) -> list[Any]:
    loaded = []
    for item in inputs:
        with blamed_on("the task's load()", f"input {item.digest[:16]}"):
            loaded.append(item.load())
    return loaded


def _embed(model: Any, images: Sequence[Any]) -> FloatArray:
    vectors = np.asarray(model.embed(images), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(images):
        raise UserError(
            f"embed() of {type(model).__name__} returned shape {list(vectors.shape)} for {len(images)} images",
            todo=f"return [{len(images)}, d]",
        )
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
    asked for it too.
    """

    def __init__(self, model: Callable[[], Any], inputs: Sequence[Input], batches: Batches) -> None:
        self._model, self._inputs, self._batches = model, inputs, batches
        self._texts: list[str | None] = [None] * len(inputs)
        self._filled: list[int] = []
        self.chunk = batches.size

    def answers(self, samples: Sequence[Sample]) -> list[str | None]:
        """Return one text an input, ``None`` where none of these samples needs it."""
        for position in self._filled:
            self._texts[position] = None
        self._filled = list(dict.fromkeys(int(i) for sample in samples for i in sample.inputs))
        model = self._model()
        prompts = _loaded([self._inputs[position] for position in self._filled])
        texts = [text for batch in self._batches(lambda batch: _generate(model, batch), prompts) for text in batch]
        for position, text in zip(self._filled, texts, strict=True):
            self._texts[position] = text
        return self._texts


def _generate(model: Any, prompts: Sequence[Any]) -> list[str]:
    texts = list(model.generate(prompts))
    if len(texts) != len(prompts) or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"generate() of {type(model).__name__} returned {len(texts)} answers for {len(prompts)} prompts",
            todo="return one text a prompt",
        )
    return texts
