"""Files of strangers: text, JSON and JSON lines. Whatever is wrong with one is a `UserError` that names the place."""

from __future__ import annotations

import codecs
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T", bool, dict[str, Any], list[Any], str)

_KINDS: Mapping[type, str] = {bool: "true or false", dict: "an object", list: "a list", str: "text"}
_SHOWN = 60
"""Characters of a value in a message."""
ALLOWED = "ADAPTBENCH_DATA_FOLDERS"
"""Environment variable: folders besides its own from which files that a data set names are read, as in ``PATH``."""


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text; a byte-order mark at its start is left out, line ends stay as they are.

    Raises:
        UserError: It cannot be read or is not UTF-8.
    """
    with _opening(path), Path(path).expanduser().open(encoding="utf-8-sig", newline="") as stream:
        return stream.read()


def read_bytes(path: str | Path) -> bytes:
    """Read a file; a UTF-8 byte-order mark at its start is left out.

    Raises:
        UserError: It cannot be read.
    """
    with _opening(path):
        return Path(path).expanduser().read_bytes().removeprefix(codecs.BOM_UTF8)


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a byte-order mark at its start is left out.

    Raises:
        UserError: It cannot be read or is not JSON; the message names the line.
    """
    return json_value(read_text(path), str(path))


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text without their ends; one is in memory at a time.

    Only line feeds and carriage returns end lines: a JSON text may hold other characters that do so elsewhere.

    Raises:
        UserError: It cannot be read or is not UTF-8.
    """
    with _opening(path), Path(path).expanduser().open(encoding="utf-8-sig") as stream:
        for line in stream:
            yield line.removesuffix("\n")


def read_json_lines(path: str | Path, *, finite: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the value of each line that is not empty, with its place; see `read_lines`.

    Args:
        path: The file.
        finite: Refuse NaN and infinities, which JSON has not.

    Raises:
        UserError: The file cannot be read, or a line is not JSON.
    """
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            place = f"{path}, line {number}"
            yield place, json_value(line, place, "write one JSON value per line", finite=finite)


def json_value(text: str | bytes, where: str, todo: str = "fix the file", *, finite: bool = False) -> Any:
    """Return the value of a JSON text.

    Args:
        text: Of one value; bytes are UTF-8, with or without a byte-order mark.
        where: What messages call it.
        todo: What they advise.
        finite: Refuse NaN and infinities, which JSON has not.

    Raises:
        UserError: It is not JSON, is nested too deeply, or has a number of thousands of digits.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(decoded, parse_constant=_refuse if finite else None)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in error.doc.rstrip("\n") else ""
        raise UserError(f"not JSON: {error.msg}", where=f"{where}{line}", todo=todo) from error
    except RecursionError as error:
        raise UserError("not JSON: it is nested too deeply", where=where, todo=todo) from error
    except ValueError as error:
        raise UserError(f"not JSON: {why_unread(error)}", where=where, todo=todo) from error


def why_unread(error: ValueError) -> str:
    """Say what is wrong with a text, without the advice for programmers that Python gives on long numbers."""
    return "a number has thousands of digits" if "integer string conversion" in str(error) else str(error)


def part(row: Mapping[str, Any], name: str, kind: type[T], where: str) -> T | None:
    """Return what a row of a data set has under a name; ``None`` if it has nothing.

    Args:
        row: The row.
        name: Of what is wanted.
        kind: The type that it must have.
        where: What messages call the row.

    Raises:
        UserError: It has another type.
    """
    value = row.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise UserError(f"its {name} is {shown(value)}, not {_KINDS[kind]}", where=where, todo="fix the file")


def shown(value: Any) -> str:
    """Return a value as a message shows it: as Python writes it, cut off after 60 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def within(folder: str | Path, name: str, *others: str | Path) -> Path:
    """Return the file that a data set calls ``name``, which must be its own.

    A path is judged as it is written: links below a folder were put there by whoever made it.

    Args:
        folder: That the name starts from.
        name: A path, as a stranger wrote it.
        others: Further folders that the file may be in; those of `ALLOWED` always are.

    Raises:
        UserError: It is in none of these folders.
    """
    home = Path(folder).expanduser().absolute()
    path = Path(os.path.normpath(home / name))
    allowed = [home, *others, *filter(None, os.environ.get(ALLOWED, "").split(os.pathsep))]
    if not any(path.is_relative_to(os.path.normpath(Path(one).expanduser().absolute())) for one in allowed):
        todo = f"if you trust that data set, name the folder of the file in the environment variable {ALLOWED}"
        raise UserError(f"the data set names the file {name!r}, which is not below it", where=str(folder), todo=todo)
    return path


@contextmanager
def _opening(path: str | Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8 text", where=str(path), todo="save it as UTF-8") from error
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in a path; no home for ~
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read it: {reason}", where=str(path), todo="check the path") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number that JSON has")
