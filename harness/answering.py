"""How each capability is asked: the only place that calls a model for its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .batching import Batches
    from .contracts import FloatArray, Input, Sample, Task
    from .store import FeatureStore


class Answering(Protocol):
    """Answers a task's inputs with one model."""

    chunk: int
    """Samples to score and to record at a time."""

    def answers(self, samples: Sequence[Sample]) -> Any:
        """Return ``answers`` as `Task.outputs` takes them, filled for these samples."""
        ...


class Embedding:
    """Capability ``embed``: each block of inputs is encoded once, whatever task or resumed run asks for it.

    Blocks are fixed runs of ``task.inputs``. They do not depend on which samples are asked for or on what was stored
    before, so the same matrices are multiplied however often a run was interrupted.

    Args:
        model: Returns the model; called only when something has to be encoded.
        progress: Told (inputs answered, inputs in all).
    """

    chunk = 250

    def __init__(
        self,
        model: Callable[[], Any],
        task: Task,
        batches: Batches,
        store: FeatureStore,
        progress: Callable[[int, int], None],
    ) -> None:
        self._model, self._batches, self._store, self._progress = model, batches, store, progress
        self._inputs = task.inputs
        self._size = batches.size
        self._filled = np.zeros(-(-len(self._inputs) // self._size), dtype=bool)
        self._vectors: FloatArray | None = None

    def answers(self, samples: Sequence[Sample]) -> FloatArray:
        """Return float32 [len(inputs), d]; rows of blocks that no sample so far needed are zero."""
        needed = np.unique(np.concatenate([np.asarray(s.inputs, dtype=np.int64) for s in samples]) // self._size)
        for block in needed[~self._filled[needed]]:
            rows = slice(block * self._size, (block + 1) * self._size)
            vectors = self._block(self._inputs[rows])
            if self._vectors is None:
                self._vectors = np.zeros((len(self._inputs), vectors.shape[1]), dtype=np.float32)
            if vectors.shape[1] != self._vectors.shape[1]:
                raise UserError(
                    f"embed() returned vectors of {vectors.shape[1]} numbers after vectors of {self._vectors.shape[1]}",
                    todo="one model has one width",
                )
            self._vectors[rows] = vectors
            self._filled[block] = True
            self._progress(min(int(self._filled.sum()) * self._size, len(self._inputs)), len(self._inputs))
        if self._vectors is None:
            raise UserError("these samples ask nothing of a model", todo="give each sample its inputs")
        return self._vectors

    def _block(self, inputs: Sequence[Input]) -> FloatArray:
        digests = [item.digest for item in inputs]
        vectors = self._store.get(digests)
        if vectors is None:
            model = self._model()
            images = [item.load() for item in inputs]
            vectors = np.concatenate(self._batches(lambda batch: _embed(model, batch), images))
            self._store.put(digests, vectors)
        return vectors


def _embed(model: Any, images: Sequence[Any]) -> FloatArray:
    vectors = np.asarray(model.embed(images), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(images):
        raise UserError(
            f"embed() of {type(model).__name__} returned shape {list(vectors.shape)} for {len(images)} images",
            todo=f"return [{len(images)}, d]",
        )
    return vectors


class Generation:
    """Capability ``generate``: texts are kept in the records, so a resumed run asks only what is not recorded."""

    def __init__(self, model: Callable[[], Any], task: Task, batches: Batches) -> None:
        self._model, self._batches = model, batches
        self._inputs = task.inputs
        self._texts: list[str | None] = [None] * len(self._inputs)
        self.chunk = batches.size

    def answers(self, samples: Sequence[Sample]) -> list[str | None]:
        """Return one text an input, ``None`` where no sample so far needed it."""
        asked = {int(i): None for sample in samples for i in sample.inputs if self._texts[i] is None}
        positions = list(asked)
        model = self._model()
        texts = self._batches(lambda batch: _generate(model, batch), [self._inputs[i].load() for i in positions])
        for position, text in zip(positions, (text for batch in texts for text in batch), strict=True):
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
