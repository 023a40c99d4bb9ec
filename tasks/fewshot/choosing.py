"""Which classes and images of a set take part. What is left out stands in the notes of the set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from ...harness.errors import UserError
from ...harness.hashing import sha256_hex
from .episodes import large_classes

if TYPE_CHECKING:
    import numpy.typing as npt

    from .images import ImageSet
    from .protocol import Protocol

ClassOrder: TypeAlias = Literal["random", "name"]


def limit_classes(images: ImageSet, count: int, *, order: ClassOrder = "random", seed: int = 0) -> ImageSet:
    """Keep some of the classes, as the study of class diversity does (dissertation, Tables A.1 to A.3).

    Of one seed, fewer classes are among more: the 8 are 8 of the 16.

    Args:
        images: The set.
        count: How many to keep.
        order: ``random`` classes, by the seed and their names alone, or the first ones by ``name``.
        seed: Of the random order.

    Raises:
        UserError: It has fewer classes, or ``order`` is neither.
    """
    if order not in get_args(ClassOrder):
        raise UserError(f"no such order of classes: {order!r}", todo=f"choose from {', '.join(get_args(ClassOrder))}")
    if type(count) is not int or not 0 < count <= len(images.classes):
        raise UserError(
            f"classes={count!r} is not a whole number from 1 to {len(images.classes)}, which it has",
            where=images.name,
            todo="lower classes",
        )
    ranked = list(range(len(images.classes)))
    if order == "random":
        ranked.sort(key=lambda c: sha256_hex(str(seed).encode(), images.classes[c].encode()))
    kept = sorted(ranked[:count])
    rows = np.flatnonzero(np.isin(images.labels, kept))
    return replace(
        _only(images, rows),
        name=f"{images.name}/{count}-classes",
        classes=tuple(images.classes[c] for c in kept),
        labels=np.searchsorted(kept, images.labels[rows]),
    )


def leave_out_unreadable(images: ImageSet) -> ImageSet:
    """Decode every image, and leave out those that cannot be; a note tells how many."""
    bad: dict[int, str] = {}
    for row, image in enumerate(images.images):
        try:
            image.load()
        except UserError as error:
            bad[row] = f"{images.classes[images.labels[row]]}/{Path(error.where).name}"
    if not bad:
        return images
    first = next(iter(bad.values()))
    note = f"{len(bad)} of {len(images.images)} images cannot be read and are left out, such as {first}"
    good = np.array([row for row in range(len(images.images)) if row not in bad], dtype=np.int64)
    return replace(_only(images, good), notes=(*images.notes, note))


def distinct(images: ImageSet) -> ImageSet:
    """Keep each content once, and none that several classes have: it has no right answer; a note tells how many."""
    first: dict[str, int] = {}
    ambiguous: dict[str, int] = {}
    for row, image in enumerate(images.images):
        before = first.setdefault(image.digest, row)
        if images.labels[before] != images.labels[row]:
            ambiguous.setdefault(image.digest, row)
    kept = np.array([row for digest, row in first.items() if digest not in ambiguous], dtype=np.int64)
    if not ambiguous:
        return _only(images, kept)
    digest, row = next(iter(ambiguous.items()))
    one, other = (images.classes[images.labels[at]] for at in (first[digest], row))
    note = f"{len(ambiguous)} images are in more than one class and are left out, such as one of {one} and {other}"
    return replace(_only(images, kept), notes=(*images.notes, note))


def with_possible_ways(images: ImageSet, protocol: Protocol) -> tuple[ImageSet, Protocol]:
    """Lower the ways to the number of classes that have enough images; a note tells it."""
    images = distinct(images)
    large = len(large_classes(images.labels, protocol))
    if not 2 <= large < protocol.ways:
        return images, protocol
    note = f"episodes have {large} ways instead of {protocol.ways}: no more classes have enough images"
    return replace(images, notes=(*images.notes, note)), replace(protocol, ways=large)


def _only(images: ImageSet, rows: npt.NDArray[np.int64]) -> ImageSet:
    return replace(images, labels=images.labels[rows], images=[images.images[row] for row in rows])
