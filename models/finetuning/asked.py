"""What a training was asked for, noted beside it: the same command goes on, another one is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.store.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def same(out: Path, asked: Mapping[str, Any], name: str = "recipe.json") -> None:
    """Write ``out/recipe.json``, or refuse to go on with something else.

    Args:
        out: Folder of the training; made if it is missing.
        asked: What has an influence on the result, as JSON can hold it.
        name: Of the file.

    Raises:
        UserError: The folder holds another training, or a file that cannot be read.
    """
    file = out / name
    if not file.exists():
        write_atomic(file, (json.dumps(asked, indent=2, sort_keys=True) + "\n").encode())
        return
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read it: {error}", where=str(file), todo="give another --out") from error
    other = [name for name in sorted({*before, *asked}) if before.get(name) != asked.get(name)]
    if other:
        changes = ", ".join(f"{name} {before.get(name)}" for name in other)
        raise UserError(f"another training is there, with {changes}", where=str(out), todo="give another --out")
