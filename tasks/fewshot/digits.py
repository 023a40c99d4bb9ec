"""The 1,797 handwritten digits of scikit-learn: ten classes of 174 to 183 images of 8 x 8 pixels."""

from __future__ import annotations

import numpy as np

from ...harness.errors import UserError
from .images import ImageSet, held


def digits(split: str = "test") -> ImageSet:
    """Return the digits as white on black images of mode RGB. No shipped model was trained on them."""
    from PIL import Image

    if split != "test":
        raise UserError(f"there is no split {split!r}", where="digits", todo="use split=test")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("scikit-learn is needed", where="digits", todo="pip install 'adaptbench[images]'") from error
    data = load_digits()
    order = np.argsort(data.target, kind="stable")
    pixels = (data.images[order] * (255 / 16)).astype(np.uint8)
    images = [Image.fromarray(p).convert("RGB") for p in pixels]
    inputs = [held(image) for image in images]
    return ImageSet("digits/test", tuple(map(str, range(10))), data.target[order].astype(np.int64), inputs)
