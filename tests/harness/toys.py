"""A plugin of small models and tasks without torch, with every kind of outcome: used by the tests of the engine."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
from adaptbench import Input, Metric, ModelCard, Prompt, Sample, Task, TaskCard, hookimpl
from adaptbench.harness.hashing import canonical_json, image_digest, sha256_hex
from adaptbench.harness.store.files import write_atomic
from PIL import Image

CALLS: list[tuple[str, int]] = []
"""(method, size of the batch) of every call of a toy model in this process."""


class Draw:
    """What a task draws, to be kept in the run directory: stands for an episode manifest."""

    def __init__(self, rows):
        self.rows = rows

    @property
    def digest(self):
        return sha256_hex(canonical_json(self.rows))

    def write(self, path):
        write_atomic(Path(path), canonical_json(self.rows))


class Images(Task):
    """Embed three images: which of the last two is nearer to the first?

    Outputs hold the exact cosine, so that a single differing bit of a vector shows.
    """

    def __init__(self, images: int = 80, samples: int = 60, seed: int = 0, wait: float = 0.0):
        rng = np.random.Generator(np.random.PCG64(seed))
        self._pixels = rng.integers(0, 256, size=(images, 6, 6, 3), dtype=np.uint8)
        self._rows = rng.integers(0, images, size=(samples, 3))
        self._wait = wait
        self.card = images_card()

    @functools.cached_property
    def manifest(self):
        return Draw(self._rows.tolist())

    @functools.cached_property
    def inputs(self):
        images = [Image.fromarray(pixels) for pixels in self._pixels]
        return [Input(image_digest(image), functools.partial(self._load, image)) for image in images]

    def _load(self, image):
        if self._wait:
            time.sleep(self._wait)
        return image

    @functools.cached_property
    def samples(self):
        return [Sample(f"s{i}", row, i % 2, f"g{i // 4}") for i, row in enumerate(self._rows.tolist())]

    def outputs(self, samples, answers):
        rows = np.array([sample.inputs for sample in samples])
        near = [np.einsum("nd,nd->n", answers[rows[:, 0]], answers[rows[:, i]]) for i in (1, 2)]
        return [{"nearer": int(b > a), "dots": [float(a), float(b)]} for a, b in zip(*near, strict=True)]

    def parse(self, sample, output):
        return output.get("nearer") if isinstance(output, dict) else None

    def score(self, sample, parsed):
        return {"accuracy": float(parsed == sample.target)}


class Words(Task):
    """Add two numbers. Some sums have no right answer (unscored), and some answers cannot be parsed (unparsed)."""

    def __init__(self, samples: int = 40, seed: int = 0, wait: float = 0.0):
        self._samples, self._seed, self._wait = samples, seed, wait
        self.card = words_card()

    @functools.cached_property
    def inputs(self):
        texts = [f"{self._seed + i} + {i % 7}" for i in range(self._samples)]
        return [Input(sha256_hex(text.encode()), functools.partial(self._load, text)) for text in texts]

    def _load(self, text):
        if self._wait:
            time.sleep(self._wait)
        return Prompt(text)

    @functools.cached_property
    def samples(self):
        targets = [None if i % 11 == 0 else self._seed + i + i % 7 for i in range(self._samples)]
        return [Sample(f"q{i}", (i, (i + 30) % self._samples), target) for i, target in enumerate(targets)]

    def outputs(self, samples, answers):
        return [[answers[i] for i in sample.inputs] for sample in samples]

    def parse(self, sample, output):
        first = output[0] if isinstance(output, list) and output else ""
        return int(first) if isinstance(first, str) and first.isdecimal() else None

    def score(self, sample, parsed):
        if sample.target is None:
            return None
        return {"accuracy": float(parsed == sample.target), "said": float(parsed is not None)}


class Vectors:
    """Embeds by a random matrix; ``scale`` stands for its weights."""

    def __init__(self, scale: float = 1.0, dims: int = 5):
        rng = np.random.Generator(np.random.PCG64(7))
        self._matrix = (scale * rng.standard_normal((108, dims))).astype(np.float32)

    def embed(self, images):
        CALLS.append(("embed", len(images)))
        pixels = np.stack([np.asarray(image, dtype=np.float32).ravel() for image in images])
        return pixels @ self._matrix


class Adder:
    """Adds; every ninth sum it gets wrong, and every thirteenth it has nothing to say about."""

    def __init__(self, wrong: int = 9):
        self._wrong = wrong

    def generate(self, prompts):
        CALLS.append(("generate", len(prompts)))
        return [self._answer(*map(int, prompt.text.split(" + "))) for prompt in prompts]

    def _answer(self, a, b):
        if (a + b) % 13 == 0:
            return "no idea \ud83d"  # half of a surrogate pair, as a tokenizer may give
        return str(a + b + (a % self._wrong == 0))


def images_card():
    return TaskCard(summary="Images", capability="embed", sample_noun="pair")


def words_card():
    metrics = (Metric(name="accuracy"), Metric(name="said"))
    return TaskCard(summary="Words", capability="generate", metrics=metrics, sample_noun="sum")


@hookimpl
def register(registry):
    registry.model("toy-vectors", Vectors, card=ModelCard(capabilities=("embed",), offers=frozenset("abcdefgh")))
    registry.model("toy-adder", Adder, card=ModelCard(capabilities=("generate",)))
    registry.task("toy-images", Images, card=images_card())
    registry.task("toy-words", Words, card=words_card())
