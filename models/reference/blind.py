"""The question-only baseline: the same model, shown a grey image of the same size instead of each image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.image_methods import ImageMethod

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY = (128, 128, 128)


class Blind(ImageMethod):
    """Show the model grey images."""

    def shown(self, image: Image) -> Image:
        """Return a grey image of the same size."""
        from PIL import Image

        return Image.new("RGB", image.size, _GREY)

    def digest(self, image: Image, digest: str) -> str:  # noqa: ARG002 - all images of a size look alike
        """Return one digest for all images of a size."""
        return f"grey {image.width}x{image.height}"
