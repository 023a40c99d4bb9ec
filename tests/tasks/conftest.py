from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


class ImageFiles:
    """Makes small images of noise, each content by its number."""

    def array(self, number=0, side=6):
        return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)

    def write(self, path, number=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.array(number)).save(path)
        return path

    def fill(self, root, classes, each=2):
        """Write ``each`` images into a folder for every class; no two images are alike."""
        for index, title in enumerate(classes):
            for image in range(each):
                self.write(root / title / f"{image}.png", index * each + image)
        return root


@pytest.fixture
def image_files():
    return ImageFiles()
