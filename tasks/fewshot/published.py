"""Published benchmarks: the classes and images that each split has, and the layouts that they come in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from .folders import folder, image_folder, listing
from .splits import chosen_split, csv_classes, image_csv, image_json, json_splits, refuse_overlap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .images import ImageSet


@dataclass(frozen=True, slots=True)
class Published:
    """What a benchmark must hold.

    Attributes:
        name: Of the benchmark; its image sets are called by it, whatever layout they were read from.
        classes: Split -> its number of classes.
        each: Images of every class; 0 where they differ.
    """

    name: str
    classes: Mapping[str, int]
    each: int = 0

    def split(self, asked: str) -> str:
        """Return the name of a split, ``val`` for ``valid``.

        Raises:
            UserError: There is no such split, or it has no classes.
        """
        known: dict[str, Collection[int]] = {split: range(count) for split, count in self.classes.items()}
        return chosen_split(known, "val" if asked.lower() == "valid" else asked, self.name)

    def share(self, titles: Sequence[str], split: str) -> Sequence[str]:
        """Return the classes of a split, where the splits are runs of a list of all classes."""
        names = list(self.classes)
        begin = sum(self.classes[name] for name in names[: names.index(split)])
        return titles[begin : begin + self.classes[split]]

    def checked(self, images: ImageSet, split: str, *, complete: bool, where: str) -> ImageSet:
        """Return the set under the benchmark's name, if it is whole; else a note tells what is not.

        Raises:
            UserError: It is not whole, and ``complete`` says that it must be.
        """
        counts = np.bincount(images.labels, minlength=len(images.classes))
        wrong = np.flatnonzero(counts != self.each) if self.each else np.array([], dtype=np.int64)
        faults = []
        if len(images.classes) != self.classes[split]:
            faults.append(f"it has {len(images.classes)} classes, not {self.classes[split]}")
        if len(wrong):
            first = f"{images.classes[wrong[0]]} has {counts[wrong[0]]}"
            faults.append(f"{len(wrong)} classes do not have {self.each} images: {first}")
        if faults and complete:
            todo = "restore it, or write complete=false to use what is there"
            raise UserError(f"split {split} is not whole: {'; '.join(faults)}", where=where, todo=todo)
        return replace(images, name=f"{self.name}/{split}", notes=(*images.notes, *faults))


def from_lists_or_folders(published: Published, root: str, splits: str, split: str, *, complete: bool) -> ImageSet:
    """Read ``SPLITS/{split}.csv`` or ``.json`` with images below ``ROOT``, else ``ROOT/{split}/<class>/<image>``.

    Args:
        published: What must be there.
        root: Folder of the images.
        splits: Folder of the lists; without it, the root.
        split: Which one.
        complete: Whether anything that is missing is an error.

    Raises:
        UserError: There is neither, two splits share a class, or the split is not whole.
    """
    split = published.split(split)
    base = folder(Path(root).expanduser(), f"write root=FOLDER, where {published.name} lies")
    lists = folder(Path(splits).expanduser(), "write splits=FOLDER, where the lists lie") if splits else base
    images_in = str(base / "images" if (base / "images").is_dir() else base)
    if (lists / f"{split}.csv").is_file():
        refuse_overlap(_lists(published, lists, ".csv"), str(lists))
        images = image_csv(str(lists / f"{split}.csv"), root=images_in, complete=complete)
    elif (lists / f"{split}.json").is_file():
        refuse_overlap(_lists(published, lists, ".json"), str(lists))
        images = image_json(str(lists / f"{split}.json"), root=images_in, complete=complete)
    elif (base / split).is_dir() and not splits:
        refuse_overlap(folder_names(base, published.classes), str(base))
        images = image_folder(str(base), split=split)
    else:
        raise UserError(
            f"neither {split}.csv, {split}.json nor a folder {split}",
            where=str(lists),
            todo="write splits=FOLDER, where the lists lie",
        )
    return published.checked(images, split, complete=complete, where=str(base))


def folder_names(base: Path, splits: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the names of the folders in ``BASE/{split}``, for the splits that are there."""
    there = {split: base / split for split in splits if (base / split).is_dir()}
    return {split: [Path(path).name for path in listing(str(found))[1]] for split, found in there.items()}


def _lists(published: Published, lists: Path, ending: str) -> Mapping[str, Collection[str]]:
    """Split -> the classes that its list names."""
    files = {split: lists / f"{split}{ending}" for split in published.classes if (lists / f"{split}{ending}").is_file()}
    if ending == ".csv":
        return {split: csv_classes(file) for split, file in files.items()}
    return {split: list(chain.from_iterable(json_splits(file).values())) for split, file in files.items()}
