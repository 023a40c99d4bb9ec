"""A labelled set of images: what every source gives, and what episodes are drawn from."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.contracts import Input
from ...harness.errors import UserError
from ...harness.hashing import image_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of one split of one data set.

    Attributes:
        name: Data set and split, such as ``glyphs/test``. It is part of the seed of the episodes, so it says nothing
            that differs from machine to machine, such as a folder.
        classes: Class names, distinct; the position is the label.
        labels: int64 array of shape [n]: the class of each image, non-decreasing.
        images: n inputs whose ``load()`` gives a PIL image in mode RGB. Order is part of the data: it never depends on
            the platform or on the order in which a file system lists a folder.
        notes: What readers of results must know, such as how many images were left out.
    """

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    images: Sequence[Input]
    notes: tuple[str, ...] = ()


def held(image: Image) -> Input:
    """Make an input of an image that stays in memory; a model is given a copy of it (`Input.own`)."""
    return Input(image_digest(image), lambda: image)


def collect(name: str, classes: Iterable[tuple[str, Iterable[Input]]], *, where: str) -> ImageSet:
    """Make a set of a user's images, in an order that depends on class names and image contents alone.

    Classes stand by name (its Unicode code points, composed: file systems differ in that), the images of a class by
    digest. So the same images are the same set in whatever container they come and whatever their files are called.

    Args:
        name: As `ImageSet` has it.
        classes: Each class with its images. They are hashed one after the other.
        where: What messages call the source.

    Raises:
        UserError: Two classes have the same name.
    """
    found: dict[str, list[Input]] = {}
    for raw, images in classes:
        title = unicodedata.normalize("NFC", raw)
        if title in found:
            raise UserError(f"two classes are called {title!r}", where=where, todo="rename one of them")
        found[title] = sorted(images, key=lambda image: image.digest)
    titles = tuple(sorted(found))
    counts = [len(found[title]) for title in titles]
    labels = np.repeat(np.arange(len(titles), dtype=np.int64), counts)
    return ImageSet(name, titles, labels, [image for title in titles for image in found[title]])
