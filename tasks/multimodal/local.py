"""Where a benchmark's questions come from: a data set of the hub or on disk, or the official files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from .predictions import read_rows, unfolded
from .tables import Table, hub_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .predictions import Row

_DATA_SET_FILES = (".parquet", ".arrow")


def opened(annotations: str, dataset: str, split: str, config: str = "", revision: str = "") -> Table | Path:
    """Return the table of a data set, or the place of the official files.

    Args:
        annotations: A data set on disk or the official file or folder; empty for the hub.
        dataset: Its id on the hub.
        split: Of the data set; one that has a single split needs no such name.
        config: Of the data set on the hub.
        revision: Of the data set on the hub.

    Raises:
        UserError: There is nothing at that place, or the data set cannot be had.
    """
    if not annotations:
        return hub_table(dataset, split, config, revision)
    place = Path(annotations).expanduser()
    if not place.exists():
        raise UserError("no such file or folder", where=annotations, todo="check annotations=")
    if config and (place / config).is_dir():  # a copy of all that the hub has
        place /= config
    saved = any((place / name).is_file() for name in ("dataset_dict.json", "state.json"))
    if place.suffix in _DATA_SET_FILES or saved or (place.is_dir() and next(place.rglob("*.parquet"), None)):
        return hub_table(str(place), "" if (place / "state.json").is_file() else split)
    return place


def labelled(predictions: str, *needed: str) -> list[tuple[str, Row]]:
    """Return the rows of a file of predictions, if all of them have labels, with their places; else none.

    Args:
        predictions: File or folder; empty for none.
        needed: Columns that labels take; a row of a log of lmms-eval has those of its document.
    """
    rows = list(map(unfolded, read_rows(predictions))) if predictions else []
    return rows if all(row.get(name) is not None for _, row in rows for name in needed) else []


def official_rows(path: Path, *needed: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of an official file, each with its place.

    Args:
        path: The file.
        needed: What every row must have.

    Raises:
        UserError: The file cannot be read, or a row lacks something.
    """
    for place, row in read_rows(path):
        for name in needed:
            if row.get(name) is None:
                raise UserError(f"the row has no {name!r}", where=place, todo="check that this is the official file")
        yield place, row


def found(folder: Path, *names: str) -> Path:
    """Return the first of these files or folders that is there.

    Raises:
        UserError: None is.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise UserError(f"it has no {' or '.join(names)}", where=str(folder), todo="check annotations=")


def beside(annotations: Path, images: str, *names: str) -> Path:
    """Return the folder of the images: the one that is named, or the first of ``names`` beside the official files.

    An image that turns out not to be there fails its own sample.
    """
    if images:
        return Path(images).expanduser()
    home = annotations if annotations.is_dir() else annotations.parent
    return next((home / name for name in names if (home / name).is_dir()), home / names[0])
