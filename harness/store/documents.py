"""Documents of a run: files of one JSON object, such as ``result.json``, which show if they were damaged or edited.

A document ends with a field ``check``, as a record does: the CRC-32 of the text before it.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import UserError
from ..results import READ_VERSIONS
from ..texts import utf8
from .files import disk_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

_Stored = TypeVar("_Stored", bound=BaseModel)
_TAIL = b',\n "check": "%08x"\n}\n'
_TAIL_PATTERN = re.compile(rb',\n "check": "[0-9a-f]{8}"\n}\n\Z')
_UNCHECKED = READ_VERSIONS[0]
"""The schema version whose documents have no check."""


def write_document(path: Path, content: BaseModel) -> None:
    """Write a model as a document; on return it is on disk."""
    # sorted: the order of a set changes from process to process
    body = utf8(json.dumps(content.model_dump(), default=sorted, indent=1, ensure_ascii=False)).removesuffix(b"\n}")
    write_atomic(path, body + _TAIL % zlib.crc32(body))


def read_document(path: Path, kind: type[_Stored], todo: str) -> _Stored | None:
    """Read a document, or return ``None`` if there is none.

    Args:
        path: The file.
        kind: What it holds.
        todo: What to do if it is not what was written.

    Raises:
        UserError: It cannot be read, was damaged or edited, or another version wrote it.
    """
    with disk_errors(path, "read"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        return kind.model_validate(_content(data))
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))} {first['msg']}"
    except RecursionError:
        fault = "it is nested too deeply"
    except ValueError as error:
        fault = str(error)
    raise UserError(f"not a valid {path.name}: {fault}", where=str(path), todo=todo)


def _content(data: bytes) -> object:
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    version = content.get("schema_version", _UNCHECKED)
    if version not in READ_VERSIONS:
        known = " and ".join(map(str, READ_VERSIONS))
        raise ValueError(f"it has format {version!r}, and this version of AdaptBench reads {known}")
    found = _TAIL_PATTERN.search(data)
    if found is not None:
        body = data[: found.start()]
        if found[0] != _TAIL % zlib.crc32(body):
            raise ValueError("it does not have its checksum, so it was damaged or changed by hand")
        del content["check"]
    elif version != _UNCHECKED:
        raise ValueError("it has no checksum, so it was damaged or changed by hand")
    return content
