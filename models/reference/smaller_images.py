"""The transformation baseline: the same model, shown images of fewer pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, model_validator

from ...harness.errors import UserError
from ...harness.image_methods import ImageMethod
from ...harness.methods import check_one_given

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...adapters.family import Family
    from ...harness.measure.work import Work

_LEAST = 8
"""The fewest pixels of a shorter side: with fewer, rounding changes the shape of an image, and so its tokens."""


class SmallerImages(ImageMethod):
    """Scale each image down so that its longer side has at most ``side`` pixels; smaller images stay as they are.

    A tower of one image size scales it up again, so that detail is lost and nothing is saved: what a token selector
    must beat. A model that reads images at their own size has fewer visual tokens to read. How many follows from its
    rounding and its least and most pixels, so that one factor for all images matches no number of tokens: with
    ``tokens`` each is scaled to as many pixels as this number allows.
    """

    side: int = Field(112, ge=1)
    """The most pixels of an image's longer side."""
    tokens: int | None = Field(None, ge=1)
    """The most visual tokens that the language model reads of an image, instead of side; for models that read images
    at their own size."""
    _family: Family | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _fits(self) -> SmallerImages:
        check_one_given(self, "side", "tokens")
        return self

    def for_model(self, model: Any) -> SmallerImages:
        """Return the method, knowing how many visual tokens the model makes of an image."""
        if self.tokens is None:
            return self
        if not hasattr(model, "family"):
            raise UserError("the model does not tell how many visual tokens an image has", todo="give side")
        bound = self.model_copy()
        bound._family = model.family
        return bound

    def shown(self, image: Image) -> Image:
        """Return the image scaled down, by Lanczos' filter."""
        from PIL import Image

        side = self.side if self._family is None else self._longest(image.size, self._family)
        return image if side >= max(image.size) else image.resize(_sides(image.size, side), Image.Resampling.LANCZOS)

    def leaves(self, work: Work) -> Work:
        """Return the work with at most ``tokens`` visual tokens of each image; else as it is."""
        if self.tokens is None or not work.images:
            return work
        if work.traced is None:
            what = f"a {work.model.model_type} reads every image in {work.image_tokens} visual tokens"
            raise UserError(what, where="method smaller-images", todo="give side instead of tokens")
        left = work.images * min(self.tokens, work.image_tokens)
        return work.with_visual_tokens(left).assuming("the tower is priced on whole images, not on smaller ones")

    def _longest(self, size: tuple[int, int], family: Family) -> int:
        """The greatest longer side, in pixels, of which at most ``tokens`` are read, by bisection.

        Raises:
            UserError: The model makes more of it, however small it is.
        """
        from PIL import Image

        def fits(side: int) -> bool:
            return read(side) <= (self.tokens or 0)

        def read(side: int) -> int:
            return family.size(Image.new("1", _sides(size, side))).tokens

        low, high = min(max(size), -(-_LEAST * max(size) // min(size))), max(size) + 1
        if not fits(low):
            what = f"an image of {size[0]} x {size[1]} has {read(low)} visual tokens, however small it is shown"
            raise UserError(what, where="method smaller-images", todo=f"give tokens from {read(low)}")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


def _sides(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of an image whose longer side has that many pixels."""
    width, height = (max(1, round(side / max(size) * length)) for length in size)
    return width, height
