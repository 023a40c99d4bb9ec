"""miniImageNet (Vinyals et al., 2016; classes of Ravi and Larochelle, 2017): 64/16/20 classes of 600 images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from .old_pickles import load_pickle
from .pixels import pixel_images, rows_by_label
from .published import Published, from_lists_or_folders

if TYPE_CHECKING:
    from .images import ImageSet

PUBLISHED = Published("mini-imagenet", {"train": 64, "val": 16, "test": 20}, each=600)
_CACHES = ("miniImageNet_category_split_{}.pickle", "mini-imagenet-cache-{}.pkl")


def mini_imagenet(root: str, *, split: str = "test", splits: str = "", complete: bool = True) -> ImageSet:
    """Read a cache of pixels if ``ROOT`` has one, else images by ``SPLITS/{split}.csv``, else ``ROOT/{split}/<class>``.

    The caches are ``miniImageNet_category_split_*.pickle`` (``data``, ``labels``) and ``mini-imagenet-cache-*.pkl``
    (``image_data``, ``class_dict``), uint8 [n, 84, 84, 3], RGB.

    Args:
        root: The folder.
        split: ``train``, ``val`` or ``test``.
        splits: Folder of the csv files; without it, the root.
        complete: Whether anything that is missing is an error.

    Raises:
        UserError: It is none of these, or not whole.
    """
    split = PUBLISHED.split(split)
    cache = _cache(Path(root).expanduser(), split)
    if cache is None:
        return from_lists_or_folders(PUBLISHED, root, splits, split, complete=complete)
    content = load_pickle(cache)
    keys = set(content) if isinstance(content, dict) else set()
    if {"data", "labels"} <= keys:
        pixels, rows = content["data"], rows_by_label(content["labels"], len(content["data"]), where=cache)
    elif {"image_data", "class_dict"} <= keys:
        pixels, rows = content["image_data"], _positions(content["class_dict"], cache)
    else:
        raise UserError("it has neither data and labels nor image_data and class_dict", where=cache, todo="restore it")
    images = pixel_images(PUBLISHED.name, pixels, rows, where=cache)
    return PUBLISHED.checked(images, split, complete=complete, where=cache)


def _cache(root: Path, split: str) -> str | None:
    names = [cache.format(part) for cache in _CACHES for part in (split, f"{split}_phase_{split}")]
    return next((str(root / name) for name in names if (root / name).is_file()), None)


def _positions(rows: Any, where: str) -> dict[str, list[int]]:
    if not isinstance(rows, dict) or not all(
        isinstance(title, str) and isinstance(some, list) and set(map(type, some)) <= {int}
        for title, some in rows.items()
    ):
        raise UserError("its class_dict does not list positions by class", where=where, todo="restore it")
    return rows
