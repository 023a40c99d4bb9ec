"""A plugin with a model and a task: is an image light or dark?"""

import functools

import adaptbench
import numpy as np
from PIL import Image

SIDE, SAMPLES = 96, 120


class MeanBrightness:
    """Embeds an image as the mean brightness of its quarters."""

    def embed(self, images):
        """Return float32 [n, 4], in [0, 1]."""
        greys = np.stack([np.asarray(image.convert("L"), dtype=np.float32) for image in images]) / 255
        half = greys.shape[1] // 2
        quarters = [greys[:, y : y + half, x : x + half].mean(axis=(1, 2)) for y in (0, half) for x in (0, half)]
        return np.stack(quarters, axis=1)


class LightOrDark(adaptbench.Task):
    """Noisy images; the target is what their brightness was drawn from."""

    card = adaptbench.TaskCard(summary="Is the image light or dark?", capability="embed", chance=0.5)

    def __init__(self):
        generator = np.random.Generator(np.random.PCG64(0))
        self._means = generator.normal(128, 8, size=SAMPLES)
        self._noise = generator.normal(0, 40, size=(SAMPLES, SIDE, SIDE))

    @functools.cached_property
    def inputs(self):
        """One image per sample."""
        return [adaptbench.Input(f"light-or-dark-{i}", functools.partial(self._image, i)) for i in range(SAMPLES)]

    @functools.cached_property
    def samples(self):
        """One sample per image."""
        return [adaptbench.Sample(f"image-{i:03}", [i], target=bool(self._means[i] > 128)) for i in range(SAMPLES)]

    def outputs(self, samples, answers):
        """Say "light" where the mean is above the middle."""
        return ["light" if answers[sample.inputs[0]].mean() > 128 / 255 else "dark" for sample in samples]

    def parse(self, sample, output):
        """Read the answer; anything else is unparsed."""
        return {"light": True, "dark": False}.get(output) if isinstance(output, str) else None

    def score(self, sample, parsed):
        """Return 1 if it is right."""
        return {"accuracy": float(parsed == sample.target)}

    def _image(self, i):
        pixels = np.clip(self._means[i] + self._noise[i], 0, 255).astype(np.uint8)
        return Image.fromarray(pixels).convert("RGB")


@adaptbench.hookimpl
def register(registry):
    """Register both."""
    card = adaptbench.ModelCard(summary="Mean brightness of quarters", capabilities=("embed",), licence="Apache-2.0")
    registry.model("mean-brightness", MeanBrightness, card=card)
    registry.task("light-or-dark", LightOrDark, card=LightOrDark.card)
