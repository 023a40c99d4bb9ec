"""tieredImageNet (Ren et al., 2018): 351/97/160 classes of 20/6/8 groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from .old_pickles import load_pickle
from .pixels import load_npz, pixel_images, rows_by_label
from .published import Published, from_lists_or_folders

if TYPE_CHECKING:
    from .images import ImageSet

PUBLISHED = Published("tiered-imagenet", {"train": 351, "val": 97, "test": 160})


def tiered_imagenet(root: str, *, split: str = "test", splits: str = "", complete: bool = True) -> ImageSet:
    """Read ``{split}_images.npz`` with ``{split}_labels.pkl``, else images by ``SPLITS/{split}.json``, else by folder.

    The array ``images`` is uint8 [n, 84, 84, 3] with channels in the order blue, green, red; ``labels`` are numbers.

    Args:
        root: The folder.
        split: ``train``, ``val`` or ``test``.
        splits: Folder of the json files; without it, the root.
        complete: Whether anything that is missing is an error.

    Raises:
        UserError: It is none of these, or not whole.
    """
    split = PUBLISHED.split(split)
    base = Path(root).expanduser()
    arrays, labels = base / f"{split}_images.npz", str(base / f"{split}_labels.pkl")
    if not arrays.is_file():
        return from_lists_or_folders(PUBLISHED, root, splits, split, complete=complete)
    content = load_pickle(labels)
    if not isinstance(content, dict) or "labels" not in content:
        raise UserError("it has no labels", where=labels, todo="restore it")
    pixels = load_npz(str(arrays), "images")
    rows = rows_by_label(content["labels"], len(pixels), where=labels)
    images = pixel_images(PUBLISHED.name, pixels, rows, bgr=True, where=str(arrays))
    return PUBLISHED.checked(images, split, complete=complete, where=str(arrays))
