"""The transformation baseline: the same model, shown images of fewer pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ...harness.image_methods import ImageMethod

if TYPE_CHECKING:
    from PIL.Image import Image


class SmallerImages(ImageMethod):
    """Scale each image down so that its longer side has at most ``side`` pixels; smaller images stay as they are.

    A tower of one image size scales it up again, so that detail is lost and nothing is saved: what a token selector
    must beat. A model that reads images at their own size has fewer visual tokens to read.
    """

    side: int = Field(112, ge=1)
    """The most pixels of an image's longer side."""

    def shown(self, image: Image) -> Image:
        """Return the image scaled down, by Lanczos' filter."""
        from PIL import Image

        scale = self.side / max(image.size)
        if scale >= 1:
            return image
        width, height = (max(1, round(scale * length)) for length in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)
