"""Birds of CUB-200-2011 (Wah et al., 2011) in the few-shot splits of easyfsl: 140/30/30 classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .published import Published, from_lists_or_folders

if TYPE_CHECKING:
    from .images import ImageSet

PUBLISHED = Published("cub", {"train": 140, "val": 30, "test": 30})


def cub(root: str, *, split: str = "test", splits: str = "", complete: bool = True) -> ImageSet:
    """Read images by ``SPLITS/{split}.json``, else ``ROOT/{split}/<class>``.

    Args:
        root: ``CUB_200_2011``, or its ``images``.
        split: ``train``, ``val`` or ``test``.
        splits: Folder of the json files; without it, the root.
        complete: Whether anything that is missing is an error.

    Raises:
        UserError: It is neither, or not whole.
    """
    return from_lists_or_folders(PUBLISHED, root, splits, split, complete=complete)
