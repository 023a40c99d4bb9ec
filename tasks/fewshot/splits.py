"""Split files: which classes or images of a data set make a split, as its authors published it.

The files say what belongs together, the user says where the images lie (``root``). What a file names and the folder
lacks is an error, or with ``complete=False`` left out and counted in the notes.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from ...harness.errors import UserError
from ...harness.reading import within
from ..decoding import file_input
from .folders import class_files, folder
from .images import ImageSet, collect

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

Candidates: TypeAlias = "dict[str, list[str]]"
"""Class -> the folders below the root to look for it in, the likeliest first."""

_COLUMNS = (("class_name", "image_name"), ("label", "filename"))
_FORMATS = """one of
{"class_names": [..], "class_roots": [..]} (easyfsl: tieredImageNet, CUB),
{"train": [..], "test": [..]} (any names of splits, each with its classes: Meta-Dataset, ImageNet-800),
{"classes_per_split": {..}, "class_names": {..}} (Meta-Dataset's dataset_spec),
{"superclasses_per_split": {..}, "classes_per_superclass": {..}, "superclass_names": {..}, "class_names": {..}}
(that of Omniglot), {"split_subgraphs": {..}} (that of ILSVRC 2012)"""


def image_csv(path: str, *, root: str = "", complete: bool = True) -> ImageSet:
    """Read a table with a line for each image: the columns ``class_name,image_name`` or ``filename,label``.

    An image lies at ``ROOT/<class>/<image>`` or at ``ROOT/<image>``; the first line decides.

    Args:
        path: The csv file; miniImageNet's is one a split.
        root: Folder of the images; without it, the folder of the csv file.
        complete: Whether a missing image is an error.

    Raises:
        UserError: The table is not of this form, or an image is missing.
    """
    table = Path(path).expanduser()
    base = _root(root, table)
    images = csv_classes(table)
    first = next(iter(images))
    nested, flat = within(base, f"{first}/{images[first][0]}"), within(base, images[first][0])
    if complete and not (nested.is_file() or flat.is_file()):
        raise UserError(
            f"its first image is neither {nested} nor {flat}",
            where=path,
            todo="write root=FOLDER, where the images lie",
        )
    by_class = (base / first).is_dir()
    files = {
        title: [within(base, f"{title}/{name}" if by_class else name) for name in images[title]] for title in images
    }
    listed = sum(map(len, files.values()))
    if not complete:
        files = {title: there for title in files if (there := [file for file in files[title] if file.is_file()])}
    classes = ((title, (file_input(str(file)) for file in there)) for title, there in files.items())
    found = collect(f"image-csv/{table.stem}", classes, where=path)
    return _counted(found, listed - len(found.images), f"of {listed} images are missing")


def image_json(path: str, *, root: str = "", split: str = "", complete: bool = True) -> ImageSet:
    """Read a json file that lists classes; each class is a folder of images below the root.

    The formats are told apart by their keys; the message about an unknown one shows them. Where a file names the
    folders of somebody else's machine, the end of that path is looked for below the root.

    Args:
        path: The json file.
        root: Folder of the class folders; without it, the folder of the json file.
        split: Which split of the file, where it has several.
        complete: Whether a missing folder is an error.

    Raises:
        UserError: The file is of no known format, the split is not one of its splits, or a class has no folder.
    """
    table = Path(path).expanduser()
    base = _root(root, table)
    splits = json_splits(table)
    name = chosen_split(splits, split, path)
    folders = {title: _found(base, candidates) for title, candidates in splits[name].items()}
    missing = [title for title, found in folders.items() if found is None]
    if missing and complete:
        looked = ", ".join(str(base / candidate) for candidate in dict.fromkeys(splits[name][missing[0]]))
        raise UserError(
            f"class {missing[0]!r} has no folder; looked for {looked}",
            where=path,
            todo="write root=FOLDER, where they lie",
        )
    classes = ((title, map(file_input, class_files(found))) for title, found in folders.items() if found)
    images = collect(f"image-json/{table.stem}/{name}".rstrip("/"), classes, where=path)
    return _counted(images, len(missing), f"of {len(folders)} classes have no folder")


def csv_classes(table: Path) -> dict[str, list[str]]:
    """Return the images of each class that a csv file lists.

    Raises:
        UserError: The table is not of a known form.
    """
    images: dict[str, list[str]] = {}
    for title, image in _rows(table):
        images.setdefault(title, []).append(image)
    if not images:
        raise UserError("the table has no lines", where=str(table), todo="restore the file")
    return images


def json_splits(table: Path) -> Mapping[str, Candidates]:
    """Return the splits of a json file; a file of one split calls it by an empty name.

    Raises:
        UserError: The file is of no known format, or two of its splits share a class.
    """
    try:
        splits = _splits(json.loads(table.read_bytes()))
    except OSError as error:
        where = str(table)
        raise UserError(f"cannot read it: {error.strerror}", where=where, todo="name a json file of classes") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f"not a list of classes: {error}", where=str(table), todo=f"give {_FORMATS}") from error
    refuse_overlap(splits, str(table))
    return splits


def refuse_overlap(splits: Mapping[str, Iterable[str]], where: str) -> None:
    """Refuse splits that share a class.

    Raises:
        UserError: Two do.
    """
    of_class: dict[str, str] = {}
    for split, titles in splits.items():
        for title in titles:
            other = of_class.setdefault(title, split)
            if other != split:
                raise UserError(f"class {title!r} is in the splits {other} and {split}", where=where, todo="fix one")


def _counted(images: ImageSet, missing: int, what: str) -> ImageSet:
    return replace(images, notes=(*images.notes, f"{missing} {what}")) if missing else images


def _root(root: str, table: Path) -> Path:
    return folder(Path(root).expanduser() if root else table.parent, "write root=FOLDER, where the images lie")


def _rows(table: Path) -> Iterator[tuple[str, str]]:
    """Yield (class, image) of each line."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, skipinitialspace=True, strict=True)
            header = [column.strip() for column in next(reader, [])]
            columns = next((pair for pair in _COLUMNS if set(pair) <= set(header)), None)
            if columns is None:
                wanted = " or ".join(",".join(pair) for pair in _COLUMNS)
                raise UserError(f"its first line is {','.join(header)!r}", where=str(table), todo=f"give it {wanted}")
            title, image = map(header.index, columns)
            for row in filter(None, reader):
                cells = [cell.strip() for cell in row]
                if len(cells) != len(header) or not (cells[title] and cells[image]):
                    raise UserError(f"line {reader.line_num} lacks a cell", where=str(table), todo="restore the file")
                yield cells[title], cells[image]
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=str(table), todo="name a csv file") from error
    except (csv.Error, ValueError) as error:
        raise UserError(f"not a csv file: {error}", where=str(table), todo="restore the file") from error


def _splits(content: Any) -> Mapping[str, Candidates]:
    """Return the splits of a file with their classes; a file of one split calls it by an empty name.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: The file is of no known format.
    """
    if not isinstance(content, dict) or not content:
        raise ValueError("it is not a JSON object")
    if {"class_names", "class_roots"} <= content.keys():
        titles, roots = _names(content["class_names"]), _names(content["class_roots"])
        return {"": {title: _ends(root) for title, root in zip(titles, roots, strict=True)}}
    if "superclasses_per_split" in content:
        return _by_superclass(content)
    if "classes_per_split" in content:
        titles = _names(_by_index(content["class_names"]))
        return {split: _plain(some) for split, some in _shared_out(titles, _in_order(content["classes_per_split"]))}
    if "split_subgraphs" in content:
        graphs = content["split_subgraphs"].items()
        return {split: _plain([node["wn_id"] for node in nodes if not node["children_ids"]]) for split, nodes in graphs}
    return {split: _plain(titles) for split, titles in content.items()}


def _by_superclass(content: Mapping[str, Any]) -> Mapping[str, Candidates]:
    """Omniglot: alphabets are shared out among the splits in order of their index, and characters among alphabets."""
    alphabets = _by_index(content["superclass_names"])
    sizes = dict(zip(alphabets, _by_index(content["classes_per_superclass"]), strict=True))
    characters = dict(_shared_out(_by_index(content["class_names"]), sizes))
    splits: dict[str, Candidates] = {}
    for split, names in _shared_out(alphabets, _in_order(content["superclasses_per_split"])):
        paths = [f"{name}/{title.removeprefix(f'{name}-')}" for name in names for title in characters[name]]
        splits[split] = {
            path: [f"{parent}{path}" for parent in ("", "images_background/", "images_evaluation/")]
            for path in _names(paths)
        }
    return splits


def _by_index(named: Mapping[str, Any]) -> list[Any]:
    return [named[str(index)] for index in range(len(named))]


def _in_order(sizes: Mapping[str, int]) -> dict[str, int]:
    """Meta-Dataset numbers the classes of the training split first."""
    return {split: sizes[split] for split in ("TRAIN", "VALID", "TEST")}


def _shared_out(items: list[str], sizes: Mapping[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Cut a list into runs of the given sizes."""
    if sum(sizes.values()) != len(items):
        raise ValueError(f"it shares out {sum(sizes.values())} of {len(items)} classes")
    rest = iter(items)
    for name, size in sizes.items():
        yield name, [next(rest) for _ in range(size)]


def _names(values: Any) -> list[str]:
    """Return a list of distinct, non-empty texts."""
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ValueError("it does not list names")
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"it lists {twice[0]!r} twice")
    return values


def _plain(titles: Any) -> Candidates:
    """Classes whose folders bear their names; a slash, as in ``F-16A/B``, may stand as an underscore."""
    return {title: [title, title.replace("/", "_")] for title in _names(titles)}


def _ends(path: str) -> list[str]:
    """Return every end of a path: ``data/CUB/001``, ``CUB/001``, ``001``."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", "..")]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def chosen_split(splits: Mapping[str, Collection[Any]], split: str, where: str) -> str:
    """Return the name of the split that the user asks for; how it is capitalised does not matter.

    Raises:
        UserError: There is none of that name, or it has no classes.
    """
    known = {name.lower(): name for name in splits}
    asked = next(iter(known)) if len(known) == 1 and not split else split.lower()
    if asked not in known:
        there = f"choose split= from {', '.join(splits)}" if "" not in known else "leave split out: it is of one split"
        raise UserError(f"no split {split!r}" if split else "it has several splits", where=where, todo=there)
    if not splits[known[asked]]:
        raise UserError(f"its split {asked!r} has no classes", where=where, todo="choose another split")
    return known[asked]


def _found(base: Path, candidates: list[str]) -> str | None:
    """Return the folder of a class, if there is one."""
    return next((str(path) for name in candidates if (path := within(base, name)).is_dir()), None)
