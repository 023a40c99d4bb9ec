"""Rows of a table, from wherever people have them: hub data sets, parquet, JSON, JSON lines, TSV, CSV.

Images stay encoded until they are asked for.
"""

from __future__ import annotations

import csv
import functools
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.errors import BadSample, UserError
from ...harness.reading import read_text
from ..hub import file_of, load, one_split
from .images import LazyImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Table:
    """Rows that are read one by one, with the images of a column on demand.

    Args:
        rows: A ``datasets.Dataset``, or rows as mappings.
        where: What messages call the table.
        data: Folder, file or id of the data set that the rows are of.
    """

    def __init__(self, rows: Any, where: str, data: str = ".") -> None:
        self._rows, self.where, self._data = rows, where, data

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        names = getattr(self._rows, "column_names", None)
        if names is None:
            names = list(dict.fromkeys(name for row in self._rows for name in row))
        return list(names)

    def rows(self, *needed: str) -> Iterator[dict[str, Any]]:
        """Yield the rows without their images.

        Args:
            needed: Columns without which the table is not what it should be.

        Raises:
            UserError: A needed column is missing.
        """
        columns = self.columns
        for name in needed:
            if name not in columns:
                raise UserError(
                    f"no column {name!r} among {', '.join(columns)}", where=self.where, todo="check the data set"
                )
        rows = self._rows
        if hasattr(rows, "select_columns"):
            rows = rows.with_format(None).select_columns([name for name in columns if name not in self.image_columns])
        for row in rows:
            yield dict(row)

    def image(self, row: int, column: str = "image") -> LazyImage | None:
        """Return the image in a row - of several frames the middle one -, or ``None`` if the row has none.

        No image is read for it. Scoring needs none: where the table has no such column, there is an image that
        cannot be loaded.
        """
        if column in self.image_columns and not self._filled(column)[row]:
            return None
        return LazyImage(f"{self.where} row {row}", functools.partial(self._bytes, row, column))

    def _bytes(self, row: int, column: str) -> bytes:
        value = self._value(row, column)
        if value is None:
            raise BadSample("there is no image", where=f"{self.where} row {row}", todo="fix the data")
        try:
            content: bytes = value.get("bytes") or file_of(self._data, value["path"]).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadSample(f"cannot read the image: {reason}", where=str(value["path"])) from error
        return content

    def _value(self, row: int, column: str) -> Any:
        value = self._encoded(column)[row][column]
        if isinstance(value, list):
            value = value[len(value) // 2] if value else None
        return value if value and (value.get("bytes") or value.get("path")) else None

    @functools.lru_cache(maxsize=4)  # noqa: B019 - a table lives as long as its task
    def _filled(self, column: str) -> Sequence[bool]:
        """Whether each row has an image. Lengths tell, so that no image is read."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self._encoded(column).with_format("arrow")[:][column]
        if pa.types.is_struct(cells.type):
            fields = {field.name: field.type for field in cells.type if not pa.types.is_null(field.type)}
            parts = (pc.binary_length(pc.struct_field(cells, name)) for name in ("bytes", "path") if name in fields)
            none = pa.array([0] * len(cells), pa.int64())
            lengths = functools.reduce(pc.add, (pc.cast(pc.fill_null(part, 0), pa.int64()) for part in parts), none)
        else:
            lengths = pc.fill_null(pc.list_value_length(cells), 0)
        filled: list[bool] = pc.greater(lengths, 0).to_pylist()
        return filled

    @functools.lru_cache(maxsize=4)  # noqa: B019 - a table lives as long as its task
    def _encoded(self, column: str) -> Any:
        if column not in self.image_columns:
            todo = "name a data set that has it, or score answers given elsewhere"
            raise UserError(f"no column {column!r} of images", where=self.where, todo=todo)
        import datasets

        rows = self._rows.with_format(None).select_columns([column])
        encoded = datasets.Image(decode=False)
        feature = self._rows.features[column]
        several = hasattr(feature, "feature")
        if isinstance(getattr(feature, "feature", feature), dict):
            return rows  # a plain struct, which may have more than bytes and path
        return rows.cast_column(column, datasets.List(encoded) if several else encoded)

    @functools.cached_property
    def image_columns(self) -> list[str]:
        """Columns of images, or of lists of them; those that pandas writes are bytes, alone or in a struct."""
        import datasets

        def holds_images(feature: Any) -> bool:
            one = getattr(feature, "feature", feature)
            if isinstance(one, dict):
                return "bytes" in one
            return isinstance(one, datasets.Image) or getattr(one, "dtype", "") in {"binary", "large_binary"}

        features = getattr(self._rows, "features", None) or {}
        return [name for name, feature in features.items() if holds_images(feature)]


def hub_table(path: str, split: str = "", config: str = "", revision: str = "") -> Table:
    """Open one split of a data set: see `tasks.hub.load` for what ``path`` may be.

    Raises:
        UserError: It cannot be had, or the split is not clear.
    """
    where = f"{path}{f'/{config}' if config else ''}"
    rows, name = one_split(load(path, config, revision, where), "" if Path(path).is_file() else split, where)
    return Table(rows, f"{where} [{name}]", path)


def read_delimited(path: str | Path, delimiter: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a TSV or CSV file with a header; cells stay text, empty ones empty.

    Raises:
        UserError: It cannot be read, or a row has more cells than the header.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # an image in base64 is one cell
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    for row in reader:
        if None in row:
            raise UserError(
                "more cells than the header has", where=f"{path}, line {reader.line_num}", todo="fix the line"
            )
        yield {name: value or "" for name, value in row.items()}
