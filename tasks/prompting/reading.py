"""Rows of a data set of sentences: from the hub, a data set on disk, parquet, or GLUE's and LM-BFF's own files.

Classes are found by their names; by number only where a file has numbers alone.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.reading import read_text
from ..hub import load, one_split
from ..multimodal.predictions import read_rows
from .task import Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .data_sets import DataSet

_TEXTS = (".tsv", ".csv", ".jsonl", ".json")
_UNLABELLED = ("-1", "-", "")


def examples(found: DataSet, data: str, splits: Sequence[str], revision: str = "") -> list[Example]:
    """Read a split. Rows without a class, as SNLI has them, are left out.

    Args:
        found: What the columns and the classes are.
        data: A file, a folder with a file or a data set per split, or the id of a data set on the hub; empty for the
            data set's own.
        splits: Names of the split, the best first.
        revision: Of a data set on the hub.

    Raises:
        UserError: It cannot be read, a column is missing, a class is unknown, or nothing is left.
    """
    where = f"{found.title} {data or found.hub}"
    place = Path(data).expanduser() if data else None
    file = None if place is None else _file(place, splits)
    if file is not None:
        where, (rows, names) = str(file), _of_file(file, found)
    else:
        rows, names = _of_data_set(found, str(place) if place and place.exists() else data, splits, revision, where)
    read = [Example(str(number), sentences, label) for number, sentences, label in _read(found, rows, names, where)]
    if not read:
        raise UserError("it has no rows with a class", where=where, todo="choose another split")
    return read


def _file(place: Path, splits: Sequence[str]) -> Path | None:
    """A file of text, if there is one for the split."""
    if place.is_file():
        return place if place.suffix in _TEXTS else None
    files = [place / f"{split}{suffix}" for split in splits for suffix in _TEXTS]
    return next((file for file in files if file.is_file()), None)


def _of_file(file: Path, found: DataSet) -> tuple[Iterable[Mapping[str, Any]], Sequence[str]]:
    """Rows, and the names of the classes by number."""
    if file.suffix in {".json", ".jsonl"}:
        return [row for _, row in read_rows(file)], tuple(found.words)
    text = read_text(file)
    if file.suffix == ".tsv":  # GLUE's, in which quotation marks are characters like others
        lines = [line.split("\t") for line in text.splitlines()]
    else:
        lines = list(csv.reader(io.StringIO(text, newline="")))
    lines = [line for line in lines if line]
    if lines and not set(lines[0]) & {*found.first, *found.second}:
        return [dict(zip(found.bare, line, strict=False)) for line in lines], found.bare_order or tuple(found.words)
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]], tuple(found.words)


def _of_data_set(
    found: DataSet, data: str, splits: Sequence[str], revision: str, where: str
) -> tuple[Iterable[Mapping[str, Any]], Sequence[str]]:
    import datasets

    loaded = load(data or found.hub, "" if data else found.config, revision, where)
    known = [split for split in splits if isinstance(loaded, datasets.DatasetDict) and split in loaded]
    rows, _ = one_split(loaded, known[0] if known else "" if Path(data).is_file() else splits[0], where)
    label = _column(rows.column_names, found.label, where)
    names = getattr(rows.features[label], "names", None) or tuple(found.words)
    wanted = [name for name in rows.column_names if name in {*found.first, *found.second, label}]
    return rows.select_columns(wanted), names


def _read(
    found: DataSet, rows: Iterable[Mapping[str, Any]], names: Sequence[str], where: str
) -> Iterator[tuple[int, tuple[str, ...], int]]:
    classes = {name.lower(): place for place, name in enumerate(found.words)}
    columns: list[str] = []
    for number, row in enumerate(rows):
        place = f"{where}, row {number}"
        if not columns:
            wanted = (found.first, found.second, found.label) if found.second else (found.first, found.label)
            columns = [_column(list(row), options, where) for options in wanted]
        *sentences, said = (row.get(column) for column in columns)
        said = "" if said is None else str(said).strip()
        if said in _UNLABELLED:
            continue
        name = names[int(said)] if said.isdecimal() and int(said) < len(names) else said
        if name.lower() not in classes:
            raise UserError(f"unknown class {said!r}", where=place, todo=f"name one of {', '.join(found.words)}")
        if not all(isinstance(text, str) and text for text in sentences):
            raise UserError("a sentence is missing", where=place, todo="fix the row")
        yield number, tuple(map(str, sentences)), classes[name.lower()]


def _column(known: Sequence[str], options: Sequence[str], where: str) -> str:
    for name in options:
        if name in known:
            return name
    raise UserError(f"no column {options[0]!r} among {', '.join(known)}", where=where, todo="check the data set")
