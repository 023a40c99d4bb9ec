"""Image-classification data sets of Hugging Face's ``datasets``: on disk in any of its forms, or on the hub."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ..decoding import encoded_input, read
from ..hub import file_of, load, one_split
from .images import ImageSet, collect

if TYPE_CHECKING:
    from ...harness.contracts import Input


def hf_images(
    path: str, *, split: str = "", subset: str = "", revision: str = "", image: str = "", label: str = ""
) -> ImageSet:
    """Read a data set with a column of images and a column of classes.

    Args:
        path: A folder that ``save_to_disk`` wrote, a folder that ``load_dataset`` reads (parquet files, images by
            class), a parquet or arrow file, or the id of a data set on the hub. Code that comes with a data set is
            never run.
        split: Which split, if there are several.
        subset: Which configuration of a data set on the hub.
        revision: Which revision of a data set on the hub.
        image: Column of the images; without it, the only one of the type ``Image``.
        label: Column of the classes; without it, the only one of the type ``ClassLabel``.

    Raises:
        UserError: It cannot be had, the split or a column is not clear, or a row has no class or no image.
    """
    where = f"hf-images:{path}"
    rows, split = one_split(load(path, subset, revision, where), split, where)
    image, label = _columns(rows.features, image, label, where)
    positions = _positions(rows, label, where)
    encoded = _encoded(rows, image, where)
    classes = ((title, (_input(encoded, image, row, path) for row in own)) for title, own in positions.items())
    return collect(f"hf-images/{split}".rstrip("/"), classes, where=where)


def _columns(features: Any, image: str, label: str, where: str) -> tuple[str, str]:
    import datasets

    chosen = []
    for given, option, kind in ((image, "image", datasets.Image), (label, "label", datasets.ClassLabel)):
        fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
        if given and given not in features:
            raise UserError(f"no column {given!r}", where=where, todo=f"choose {option}= from {', '.join(features)}")
        if not given and len(fitting) != 1:
            raise UserError(
                f"{len(fitting) or 'no'} columns are of the type {kind.__name__}",
                where=where,
                todo=f"choose {option}= from {', '.join(fitting or features)}",
            )
        chosen.append(given or fitting[0])
    return chosen[0], chosen[1]


def _positions(rows: Any, label: str, where: str) -> dict[str, list[int]]:
    """Class -> its rows."""
    names: list[str] | None = getattr(rows.features[label], "names", None)
    found: dict[str, list[int]] = {}
    for row, value in enumerate(rows.with_format(None)[label]):
        if names is not None:
            title = names[value] if isinstance(value, int) and value >= 0 else ""
        else:
            title = str(value) if isinstance(value, str | int) else ""
        if not title:
            raise UserError(
                f"row {row} has no class but {value!r}", where=where, todo="choose a split whose classes are known"
            )
        found.setdefault(title, []).append(row)
    return found


def _encoded(rows: Any, image: str, where: str) -> Any:
    """Return the rows with the bytes of their images instead of the images."""
    import datasets

    if not isinstance(rows.features[image], datasets.Image):
        raise UserError(f"column {image!r} is of no images", where=where, todo="name a column of the type Image")
    return rows.with_format(None).select_columns([image]).cast_column(image, datasets.Image(decode=False))


def _input(encoded: Any, image: str, row: int, path: str) -> Input:
    return encoded_input(functools.partial(_bytes, encoded, image, row, path), f"hf-images:{path} row {row}")


def _bytes(encoded: Any, image: str, row: int, path: str) -> bytes:
    value: dict[str, Any] | None = encoded[row][image]
    if value is None or not (value["bytes"] or value["path"]):
        raise UserError(f"row {row} has no image", where=f"hf-images:{path}", todo="take the row out")
    content: bytes = value["bytes"] or read(str(file_of(path, value["path"])))
    return content
