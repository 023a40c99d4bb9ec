"""A labelled set of images: what every source gives, and what episodes are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ...harness.contracts import Input


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of one split of one data set.

    Attributes:
        name: Data set and split, such as ``glyphs/test``.
        classes: Class names, distinct; the position is the label.
        labels: int64 array of shape [n]: the class of each image, non-decreasing.
        images: n inputs whose ``load()`` gives a PIL image in mode RGB. Order is part of the data: it never depends on
            the platform or on the order in which a file system lists a folder.
    """

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    images: Sequence[Input]
