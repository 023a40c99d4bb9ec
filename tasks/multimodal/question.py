"""One question of a multimodal benchmark, whatever file it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .images import LazyImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ...harness.contracts import Json


class Question(msgspec.Struct, frozen=True):
    """One question.

    Attributes:
        id: Unique in the benchmark; what prediction files call it.
        text: As the data have it.
        image: May be given as the path of a file; ``None`` for a question without one.
        target: What the scoring rule needs: the answer, ten human answers, a letter.
        options: Texts of the choices, in order: A, B, ...
        hint: Text before a multiple-choice question.
        ocr: Words that a reader found in the image.
        subsets: Axis -> the question's subset.
        group: Name shared by questions that are not independent, such as the image's name in the data; without it,
            those on equal images are.
        sample: Name of the sample that it is a part of, where several questions are scored together; else its own.
        fields: What else the data say of it and its prediction or submission files need.
    """

    id: str
    text: str
    image: LazyImage | Path | str | None
    target: Json = None
    options: tuple[str, ...] = ()
    hint: str = ""
    ocr: tuple[str, ...] = ()
    subsets: Mapping[str, str] = {}
    group: str = ""
    sample: str = ""
    fields: Mapping[str, Json] = {}

    def __post_init__(self) -> None:
        if self.image is not None and not isinstance(self.image, LazyImage):
            msgspec.structs.force_setattr(self, "image", LazyImage.file(self.image))

    def replace(self, **changes: Any) -> Question:
        """Return this question with other values in the fields that are named."""
        return msgspec.structs.replace(self, **changes)

    @property
    def images(self) -> tuple[LazyImage, ...]:
        """The image as what reads it, or nothing."""
        return (self.image,) if isinstance(self.image, LazyImage) else ()
