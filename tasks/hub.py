"""Data sets of Hugging Face's ``datasets``: on disk in any of its forms, or on the hub. Their code is never run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ..harness.errors import UserError
from ..harness.reading import within

_FILES = {".parquet": "parquet", ".arrow": "arrow"}
"""Ending of a single file -> the reader for it."""
_PATIENCE = 10
"""Seconds after which the hub is taken to be out of reach."""


def load(path: str, subset: str, revision: str, where: str) -> Any:
    """Return a ``Dataset`` or a ``DatasetDict``.

    Args:
        path: A folder that ``save_to_disk`` wrote or that ``load_dataset`` reads, a parquet or arrow file, or the
            id of a data set on the hub.
        subset: Which configuration of a data set on the hub.
        revision: Which revision of it.
        where: What messages call it.

    Raises:
        UserError: It cannot be had.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError("datasets is needed", where=where, todo="pip install 'adaptbench[datasets]'") from error
    place = Path(path).expanduser()
    try:
        if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
            return datasets.load_from_disk(str(place))
        if place.suffix in _FILES and place.is_file():
            return datasets.load_dataset(_FILES[place.suffix], data_files=str(place))
        if place.is_dir():
            return datasets.load_dataset(str(place), subset or None)
        _note_offline()
        return datasets.load_dataset(path, subset or None, revision=revision or None)
    except ConnectionError as error:
        raise UserError(
            f"it is not a folder here, and the hub cannot be reached: {error}",
            where=where,
            todo="name a folder or go online",
        ) from error
    except (OSError, ValueError, TypeError, LookupError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"datasets cannot load it: {error}", where=where, todo="check the name and the files"
        ) from error


def file_of(data: str, name: str) -> Path:
    """Return a file that a row of a data set names, which must be the data set's own.

    Args:
        data: As `load` was given it.
        name: The path in the row.

    Raises:
        UserError: The file is neither below the data set nor, where that is of the hub, in the cache.
    """
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(data).expanduser()
    if place.exists():
        return within(place.parent if place.is_file() else place, name)
    return within(datasets.config.HF_CACHE_HOME, name, datasets.config.HF_DATASETS_CACHE, HF_HUB_CACHE)


@functools.cache
def _note_offline() -> None:
    """Tell ``datasets`` if the hub cannot be reached.

    It would ask six times in 23 seconds, and complain each time, before it looks into its cache or gives up.
    """
    import datasets

    if datasets.config.HF_HUB_OFFLINE:
        return
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(datasets.config.HF_ENDPOINT, method="HEAD"), timeout=_PATIENCE):  # noqa: S310 - the hub
            pass
    except HTTPError:
        pass  # it answers
    except OSError:
        datasets.config.HF_HUB_OFFLINE = True


def one_split(found: Any, split: str, where: str) -> tuple[Any, str]:
    """Return the split of that name, or the only one there is, with its name.

    Raises:
        UserError: There is none of that name, or the name is missing and there are several.
    """
    import datasets

    splits = found if isinstance(found, datasets.DatasetDict) else {str(found.split or ""): found}
    name = next(iter(splits)) if len(splits) == 1 and not split else split
    if name not in splits:
        what = f"no split {split!r}" if split else "it has several splits"
        raise UserError(what, where=where, todo=f"choose split= from {', '.join(splits) or 'none'}")
    return splits[name], name
