"""Image folders: one folder per class.

Names that begin with a dot and those that archives and file managers leave behind are not looked at, nor is any file
that is not an image by the ending of its name. Links are followed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ..decoding import SUFFIXES, file_input
from .images import ImageSet, collect

if TYPE_CHECKING:
    from collections.abc import Iterator

_LITTER = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found"})
_SPLITS = frozenset(
    "train training val valid validation dev test testing base novel images_background images_evaluation".split()
)


def image_folder(path: str, *, split: str = "") -> ImageSet:
    """Read ``PATH/<class>/<image>``, or with ``split`` ``PATH/<split>/<class>/<image>``.

    Folders may nest: a class is a folder that holds images, and its name is its path below ``PATH/<split>``. Omniglot's
    ``images_evaluation/Tengwar/character01/0970_01.png`` is of the class ``Tengwar/character01``. Images that lie in
    ``PATH`` itself are of no class and are not read.

    Args:
        path: The folder.
        split: The folder below it to read.

    Raises:
        UserError: There are no classes, one is empty, or the folders leave open what the classes are.
    """
    root = folder(Path(path).expanduser(), "name the folder that holds one folder per class")
    if split:
        below = ", ".join(Path(name).name for name in listing(str(root))[1])
        root = folder(root / split, f"choose a split from {below}" if below else "leave split out")
    folders = [Path(name).name for name in listing(str(root))[1]]
    if not folders:
        raise UserError("it holds no folders, so no classes", where=str(root), todo="make one folder per class")
    if not split and _SPLITS.issuperset(name.lower() for name in folders):
        raise UserError(
            f"its folders are splits, not classes: {', '.join(folders)}", where=str(root), todo="add split=NAME"
        )
    classes = ((name, map(file_input, files)) for name, files in class_folders(str(root)))
    return collect(f"image-folder/{split}".rstrip("/"), classes, where=str(root))


def class_files(path: str) -> list[str]:
    """Return the image files of one class.

    Raises:
        UserError: There are none, or there are folders beside them.
    """
    return _of_one_class(path, *listing(path))


def _of_one_class(path: str, files: list[str], folders: list[str]) -> list[str]:
    if files and folders:
        raise UserError(
            f"it holds images and also folders such as {Path(folders[0]).name!r}: which is the class?",
            where=path,
            todo="move one of the two elsewhere",
        )
    if not files:
        raise UserError("it holds no image", where=path, todo="restore its images, or remove the folder")
    return files


def folder(path: Path, todo: str) -> Path:
    """Return a path if it is a folder.

    Raises:
        UserError: It is not a folder.
    """
    if not path.is_dir():
        raise UserError("there is no such folder", where=str(path), todo=todo)
    return path


def listing(path: str) -> tuple[list[str], list[str]]:
    """Return the paths of the image files and of the folders in a folder, each by name.

    Raises:
        UserError: The folder cannot be read, or an image is a link to nothing.
    """
    files, folders = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _LITTER:
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif Path(entry.name).suffix.lower() in SUFFIXES:
                    if not entry.is_file():
                        raise UserError("it leads to no file", where=entry.path, todo="fix the link or remove it")
                    files.append(entry.path)
    except OSError as error:
        raise UserError(
            f"cannot read the folder: {error.strerror}", where=path, todo="check its permissions"
        ) from error
    return sorted(files), sorted(folders)


def class_folders(path: str, name: str = "", above: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str]]]:
    """Walk through the folders below ``path`` and yield each class with its files.

    Args:
        path: The folder.
        name: Its class name; empty at the start.
        above: The folders that it lies in.

    Raises:
        UserError: A class is empty, or a link leads back to a folder that it lies in.
    """
    real = os.path.realpath(path)
    if real in above:
        raise UserError("the link leads back to a folder that it lies in", where=path, todo="remove the link")
    files, folders = listing(path)
    if name and (files or not folders):
        yield name, _of_one_class(path, files, folders)
        return
    for below in folders:
        title = Path(below).name
        yield from class_folders(below, f"{name}/{title}" if name else title, above | {real})
