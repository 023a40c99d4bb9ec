"""A model, a method and a task."""

import adaptbench
import numpy as np
from PIL import Image


class MeanColour:
    """Embeds an image as the mean colours of a grid of tiles."""

    def __init__(self, side=2, tiles=None):
        self.side = side
        self.tiles = side * side if tiles is None else tiles

    def embed(self, images):
        """Return one vector per image: [len(images), 3 * tiles]."""
        small = [np.asarray(image.resize((self.side, self.side), Image.Resampling.BOX)) for image in images]
        return np.stack([pixels.reshape(-1)[: 3 * self.tiles] for pixels in small]).astype(np.float32)


class FewerTiles(adaptbench.Method):
    """Look at the first tiles only."""

    budget: adaptbench.Budget = 1.0

    def apply(self, model):
        """Return a model that looks at a share of the tiles."""
        return MeanColour(model.side, max(1, int(self.budget * model.tiles)))


class Brightness(adaptbench.Task):
    """Is a plain grey image light or dark?"""

    card = adaptbench.TaskCard(summary="Is the image light?", capability="embed", chance=0.5, sample_noun="image")

    def __init__(self, count=50, seed=0):
        greys = np.random.Generator(np.random.PCG64(seed)).permutation(256)[:count].tolist()
        self.inputs = [adaptbench.Input(f"grey-{g}", lambda g=g: Image.new("RGB", (8, 8), (g, g, g))) for g in greys]
        self.samples = [adaptbench.Sample(f"grey-{g}", [i], target=g > 127) for i, g in enumerate(greys)]

    def outputs(self, samples, answers):
        """Say whether the mean of the vector is light."""
        return [bool(answers[sample.inputs[0]].mean() > 127) for sample in samples]
