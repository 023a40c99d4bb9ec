"""``adaptbench import``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..errors import UserError
from ..importing import Complete, ImportedCell, complete, read_results, store
from ..plugins import load_plugins
from ..store import RunDirectory
from .output import say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..results import CellResult


def import_command(paths: Sequence[Path], out: Path, plugins: Sequence[str], *, as_json: bool) -> None:
    """Read all files, then write what they hold into a run, and show it."""
    read = read_results(load_plugins(plugins).registry, paths)
    checked = [complete(one) if isinstance(one, ImportedCell) else one for one in read]
    cells = [one for one in checked if isinstance(one, Complete)]
    left_out = [one for one in checked if not isinstance(one, Complete)]
    if not cells:
        first = left_out[0]
        raise UserError(f"nothing of it can be imported: task {first.task}: {first.reason}", where=first.where)
    command = shlex.join(["adaptbench", "import", *map(str, paths), "--out", str(out)])
    new = store(RunDirectory(out), cells, command)
    if as_json:
        write_json(
            {
                "run": str(out),
                "cells": [{**_told(cell.result), "new": new[cell.result.key]} for cell in cells],
                "left_out": [one._asdict() for one in left_out],
            }
        )
        return
    say(f"{out}: {sum(new.values()):,} of {len(new):,} cells are new")
    write_columns([_line(cell.result) for cell in cells])
    for one in left_out:
        say(f"left out: {one.task} of {one.where}: {one.reason}")


def _told(result: CellResult) -> dict[str, object]:
    name = result.task_card.metrics[0].name
    estimate = result.metrics.get(name)
    return {
        "model": result.cell.model,
        "task": result.cell.task,
        "seed": result.cell.seed,
        "rule": f"{result.task_card.rule} v{result.task_card.rule_version}",
        "metric": name,
        "value": estimate.value if estimate else None,
        "samples": result.samples,
        "notes": list(result.notes),
    }


def _line(result: CellResult) -> list[str]:
    told = _told(result)
    return [str(told[name]) for name in ("model", "task", "metric")] + [
        f"{told['value']:.6g}",
        f"{result.samples:,} samples",
    ]
