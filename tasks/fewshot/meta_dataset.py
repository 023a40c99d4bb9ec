"""Meta-Dataset (Triantafillou et al., 2020): ten sources, as its records or as folders with its lists of classes."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ..decoding import encoded_input
from .folders import folder
from .images import collect
from .published import Published
from .splits import chosen_split, image_json, json_splits
from .tfrecord import example, record_at, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...harness.contracts import Input
    from .images import ImageSet

SOURCES: Mapping[str, Published] = {
    name: Published(f"meta-dataset-{name}", dict(zip(("train", "val", "test"), counts, strict=True)))
    for name, counts in {
        "ilsvrc_2012": (712, 158, 130),
        "omniglot": (883, 81, 659),
        "aircraft": (70, 15, 15),
        "cu_birds": (140, 30, 30),
        "dtd": (33, 7, 7),
        "quickdraw": (241, 52, 52),
        "fungi": (994, 200, 200),
        "vgg_flower": (71, 15, 16),
        "traffic_sign": (0, 0, 43),
        "mscoco": (0, 40, 40),
    }.items()
}
_SPEC = "dataset_spec.json"
_THEIRS = {"train": "train", "val": "valid", "test": "test"}


@dataclass(frozen=True, slots=True)
class _Class:
    """A class of a folder of records: its file, its number and how many images it must have."""

    title: str
    path: Path
    label: int
    size: int


def meta_dataset(
    root: str,
    *,
    source: str,
    split: str = "test",
    splits: str = "",
    per_class: int = 0,
    complete: bool = True,
) -> ImageSet:
    """Read ``ROOT/SOURCE/*.tfrecords`` by the ``dataset_spec.json`` beside them, else ``ROOT/SOURCE/<class>/<image>``.

    Folders are shared out by ``SPLITS/{source}_splits.json`` or ``SPLITS/{source}_dataset_spec.json``.

    Args:
        root: The folder of the sources.
        source: One of the ten, such as ``cu_birds``.
        split: ``train``, ``val`` (or ``valid``) or ``test``.
        splits: Folder of the lists of classes; without it, the root.
        per_class: How many records of a class to read, the first ones; 0 reads all. QuickDraw has 50 million.
        complete: Whether anything that is missing is an error.

    Raises:
        UserError: There is no such source, it is not whole, or a file is damaged.
    """
    if source not in SOURCES:
        raise UserError(f"no source {source!r}", where="meta-dataset", todo=f"choose from {', '.join(SOURCES)}")
    if per_class < 0:
        raise UserError(f"per_class={per_class} is less than 0", where="meta-dataset", todo="write 0 for all")
    published = SOURCES[source]
    split = published.split(split)
    base = folder(Path(root).expanduser() / source, "write root=FOLDER, where the sources lie")
    if (base / _SPEC).is_file():
        images = _recorded(base, split, per_class, complete=complete)
    else:
        lists = folder(Path(splits).expanduser() if splits else base.parent, "write splits=FOLDER, where the lists lie")
        tables = [lists / f"{source}_splits.json", lists / f"{source}_{_SPEC}"]
        table = next((table for table in tables if table.is_file()), None)
        if table is None:
            what = f"neither {base / _SPEC} nor {tables[0].name} nor {tables[1].name}"
            raise UserError(what, where=str(lists), todo="write splits=FOLDER, where the lists lie")
        images = image_json(str(table), root=str(base), split=_THEIRS[split], complete=complete)
    return published.checked(images, split, complete=complete, where=str(base))


def _recorded(base: Path, split: str, per_class: int, *, complete: bool) -> ImageSet:
    classes: dict[str, list[Input]] = {}
    faults: list[str] = []
    for each in _classes(base / _SPEC, _THEIRS[split]):
        if not each.path.is_file():
            faults.append(f"{each.path.name} is missing")
            continue
        images = list(islice(_images(each), per_class or None))
        wanted = min(per_class or each.size, each.size)
        if len(images) != wanted:
            faults.append(f"{each.path.name} has {len(images)} records, not {wanted}")
        classes[each.title] = images
    if faults and complete:
        todo = "restore it, or write complete=false to use what is there"
        raise UserError(f"{len(faults)} files are not whole: {faults[0]}", where=str(base), todo=todo)
    notes = (f"{len(faults)} files of records are not whole: {faults[0]}",) if faults else ()
    return replace(collect("meta-dataset", classes.items(), where=str(base)), notes=notes)


def _classes(spec: Path, split: str) -> list[_Class]:
    """Return the classes of a split.

    Raises:
        UserError: The file is not a ``dataset_spec.json`` of one file per class.
    """
    splits = json_splits(spec)
    name = chosen_split(splits, split, str(spec))
    try:
        content = json.loads(spec.read_bytes())
        numbers = {title: int(number) for number, title in content["class_names"].items()}
        sizes = content["images_per_class"]
        sizes = sizes.get(name, sizes)  # that of ILSVRC 2012 has them by split and by name
        found = []
        for title in splits[name]:
            number = numbers[title] if title in numbers else numbers[title.replace("/", "-", 1)]  # Omniglot's
            size = sizes[title] if title in sizes else sizes[str(number)]
            path = spec.parent / Path(content["file_pattern"].format(number)).name
            found.append(_Class(title, path, number, int(size)))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"not a dataset_spec of records: {error}", where=str(spec), todo="restore it") from error
    return found


def _images(each: _Class) -> Iterator[Input]:
    path = str(each.path)
    for place, data in records(path):
        where = f"{path}, byte {place}"
        image, label = _read(data, where)
        if label != each.label:
            raise UserError(f"it is of class {label}, not {each.label}", where=where, todo="restore the file")
        yield encoded_input(functools.partial(_image_at, path, place), where, data=image)


def _image_at(path: str, place: int) -> bytes:
    return _read(record_at(path, place), f"{path}, byte {place}")[0]


def _read(data: bytes, where: str) -> tuple[bytes, int]:
    """Return the encoded image and the class of a record."""
    try:
        features = example(data)
        (image,), (label,) = features["image"], features["label"]
        if not isinstance(image, bytes) or not isinstance(label, int):
            raise TypeError("an image is bytes, a label a number")
    except (ValueError, TypeError, LookupError) as error:
        what = f"not a record of one image and one label: {error}"
        raise UserError(what, where=where, todo="restore the file") from error
    return image, label
