"""What is done to an image before a LLaVA's image processor sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image


def squared(image: Image, mean: Sequence[float]) -> Image:
    """Put an image into the middle of a square of the mean colour, truncated (LLaVA, ``mm_utils.expand2square``)."""
    from PIL import Image as Pillow

    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Pillow.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square
